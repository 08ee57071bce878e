"""Clean Up Endpoints: every hour, what nobody asks and nothing needs is deleted."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.event_bus import EventBus
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.sagemaker_hosting import SageMakerHosting
from ratchet.contracts.cleanup import CleanupReport, CleanupRequest
from ratchet.domain.cleaning import CleanUp
from ratchet.observability import doorway, logger, metrics
from ratchet.settings import CleanupEndpointsSettings


def build() -> CleanUp:
    """The use case over AWS."""
    settings = CleanupEndpointsSettings.load()
    return CleanUp(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        store=S3Store(),
        hosting=SageMakerHosting(),
        endpoints=SageMakerEndpoints(),
        publisher=EventBus(settings.event_bus_name),
        clock=utc_now,
        resource_prefix=settings.resource_prefix,
    )


@doorway(CleanupRequest, build)
def handler(request: CleanupRequest, clean_up: CleanUp) -> CleanupReport:
    """What went, or would go."""
    report = clean_up(dry_run=request.dry_run)
    logger.info("swept", **report.model_dump(exclude_defaults=True))
    metrics.add_metric(name="EndpointDeleted", unit="Count", value=report.deleted)
    return report
