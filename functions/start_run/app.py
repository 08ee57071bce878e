"""Starts a retrain run when its pipeline is behind and nobody runs it: every trigger's one door."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.starting import RunRequestedEvent, StartRunRequest, StartRunResult
from ratchet.domain.starting import StartRun
from ratchet.observability import doorway, logger
from ratchet.settings import StartRunSettings


def build() -> StartRun:
    """The use case over AWS."""
    settings = StartRunSettings.load()
    return StartRun(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        workflow=StepFunctions(settings.retrain_state_machine_arn),
        clock=utc_now,
    )


@doorway(RunRequestedEvent | StartRunRequest, build)
def handler(event: RunRequestedEvent | StartRunRequest, start_run: StartRun) -> StartRunResult:
    """Claims the pipeline, then starts the execution."""
    result = start_run(event.request)
    logger.info("start run", started=result.started, run_id=result.run_id, because=result.because)
    return result
