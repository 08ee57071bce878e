"""The job of the workflow validate_large: what validate_data does, where there is room for the upload."""

import base64
import logging
import os
import sys
from collections.abc import Sequence

from ratchet.adapters.clock import utc_now
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult
from ratchet.domain.ingest import JudgeUpload

_LOGGER = logging.getLogger(__name__)


def build(ledger_table_name: str) -> JudgeUpload:
    """The use case over AWS and DuckDB; without a larger place to send an upload to."""
    return JudgeUpload(
        ledger=DynamoDbLedger(ledger_table_name),
        store=S3Store(),
        validate=DuckDbValidator(memory_mb=machine_memory_mb() // 2),  # the worker's JVM has the other half
        clock=utc_now,
    )


def main(argv: Sequence[str]) -> ValidateDataResult:
    """Judges the upload that `--event` names (the event in base64): the verdict is in the ledger then."""
    event = ObjectCreatedEvent.model_validate_json(base64.b64decode(argv[argv.index("--event") + 1]))
    result = build(argv[argv.index("--ledger_table_name") + 1])(event)
    _LOGGER.info("%s %s: %s, %d rows", result.pipeline, event.detail.object.key, result.outcome, result.rows)
    return result


def machine_memory_mb() -> int:
    """The memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(sys.argv)
