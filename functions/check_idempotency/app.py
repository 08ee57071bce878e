"""Says which of a run's work is new, and under which identities the rest is done."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.sagemaker_jobs import SageMakerJobs
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.run import RunPlan
from ratchet.contracts.states import CheckIdempotencyRequest
from ratchet.domain.closing import CloseRun
from ratchet.domain.planning import CheckIdempotency
from ratchet.domain.starting import StartRun
from ratchet.observability import count, doorway, logger
from ratchet.settings import CheckIdempotencySettings


def build() -> CheckIdempotency:
    """The use case over AWS."""
    settings = CheckIdempotencySettings.load()
    ledger = DynamoDbLedger(settings.ledger_table_name)
    start_run = StartRun(ledger, StepFunctions(settings.retrain_state_machine_arn), utc_now)
    return CheckIdempotency(
        ledger=ledger,
        store=S3Store(),
        jobs=SageMakerJobs(),
        close=CloseRun(ledger, SageMakerEndpoints(), start_run, utc_now, settings.resource_prefix),
        clock=utc_now,
        artifacts_bucket=settings.artifacts_bucket_name,
        resource_prefix=settings.resource_prefix,
    )


@doorway(CheckIdempotencyRequest, build)
def handler(request: CheckIdempotencyRequest, check_idempotency: CheckIdempotency) -> RunPlan:
    """The plan; with nothing to do the run is closed already."""
    plan = check_idempotency(request)
    logger.info("planned", outcome=plan.outcome, because=plan.because, uploads=plan.uploads)
    count(f"Plan{plan.outcome.title().replace('_', '')}", request.run.pipeline)
    return plan
