"""Validate Data: judges an uploaded object version under its pipeline's data contract."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult, VerdictOutcome
from ratchet.domain.ingest import JudgeUpload
from ratchet.domain.large import LargePath
from ratchet.observability import alarm, count, doorway, logger
from ratchet.settings import ValidateDataSettings


def build() -> JudgeUpload:
    """The use case over AWS and DuckDB."""
    settings = ValidateDataSettings.load()
    ledger, limit = DynamoDbLedger(settings.ledger_table_name), settings.large_upload_bytes
    workflow = StepFunctions(validate_large_machine_arn=settings.validate_large_state_machine_arn)
    return JudgeUpload(
        ledger=ledger,
        store=S3Store(),
        validate=DuckDbValidator(memory_mb=settings.aws_lambda_function_memory_size, most_bytes=limit),
        clock=utc_now,
        large=LargePath(ledger, workflow, utc_now, limit),
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
    alarm("RowsQuarantined", result.quarantined_percent, "Percent")
    return result
