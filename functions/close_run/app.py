"""Ends a run: promotes under the fence, records, releases the pipeline, starts the next run if there is work."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.run_jobs import RunJobs
from ratchet.adapters.run_schedule import RunSchedule
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.closing import CloseRunRequest, CloseRunResult
from ratchet.domain.closing import CloseRun
from ratchet.domain.starting import StartRun
from ratchet.observability import alarm, count, doorway, logger
from ratchet.settings import CloseRunSettings


def build() -> CloseRun:
    """The use case over AWS."""
    settings = CloseRunSettings.load()
    ledger = DynamoDbLedger(settings.ledger_table_name)
    return CloseRun(
        ledger=ledger,
        endpoints=SageMakerEndpoints(),
        start_run=StartRun(ledger, StepFunctions(settings.retrain_state_machine_arn), utc_now),
        clock=utc_now,
        resource_prefix=settings.resource_prefix,
        jobs=RunJobs(settings.resource_prefix, settings.preprocess_job_name),
        schedule=RunSchedule(*settings.schedule),
    )


@doorway(CloseRunRequest, build)
def handler(request: CloseRunRequest, close_run: CloseRun) -> CloseRunResult:
    """Closes, and says what people are to be told."""
    result = close_run(request)
    logger.info(result.announcement.sentence, outcome=result.outcome, next_run_id=result.next_run_id)
    count(f"Run{result.outcome.title().replace('_', '')}", request.run.pipeline)
    alarm("WorkStalled", result.stalled)
    return result
