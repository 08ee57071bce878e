"""Writes a run's report: one HTML page that needs nothing but itself."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.report.page import page_of
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_jobs import SageMakerJobs
from ratchet.contracts.report import RunEndedEvent, WriteReportRequest, WriteReportResult
from ratchet.domain.reporting import WriteReport
from ratchet.observability import doorway, logger
from ratchet.settings import WriteReportSettings


def build() -> WriteReport:
    """The use case over AWS."""
    settings = WriteReportSettings.load()
    return WriteReport(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        store=S3Store(),
        jobs=SageMakerJobs(),
        clock=utc_now,
        page_of=page_of,
        artifacts_bucket=settings.artifacts_bucket_name,
    )


@doorway(RunEndedEvent | WriteReportRequest, build)
def handler(event: RunEndedEvent | WriteReportRequest, write_report: WriteReport) -> WriteReportResult:
    """Writes the page, over an earlier one of the same run."""
    result = write_report(event.request)
    logger.info("report written", pipeline=event.request.pipeline, run_id=event.request.run_id, **result.model_dump())
    return result
