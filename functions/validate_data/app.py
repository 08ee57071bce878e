"""Validate Data: judges an uploaded object version under its pipeline's data contract."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult, VerdictOutcome
from ratchet.domain.ingest import JudgeUpload
from ratchet.observability import alarm, count, doorway, logger
from ratchet.settings import ValidateDataSettings


def build() -> JudgeUpload:
    """The use case over AWS and DuckDB."""
    settings = ValidateDataSettings.load()
    return JudgeUpload(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        store=S3Store(),
        validate=DuckDbValidator(memory_mb=settings.aws_lambda_function_memory_size),
        clock=utc_now,
    )


@doorway(ObjectCreatedEvent, build)
def handler(event: ObjectCreatedEvent, judge_upload: JudgeUpload) -> ValidateDataResult:
    """Answers with the verdict; a rejection is an answer too."""
    result = judge_upload(event)
    logger.info(
        "judged",
        extra={
            "pipeline": result.pipeline,
            "key": event.detail.object.key,
            "outcome": result.outcome,
            "rows": result.rows,
        },
    )
    count(f"Upload{result.outcome.title()}", result.pipeline)
    alarm("UploadsRejected", result.outcome == VerdictOutcome.REJECTED)
    if result.outcome == VerdictOutcome.ACCEPTED:
        alarm("RowsQuarantined", 100 * result.bad_rows / result.rows, "Percent")
    return result
