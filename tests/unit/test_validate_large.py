"""The job's doorway: what Glue hands it becomes a verdict in the ledger."""

import base64
import json
import logging
from pathlib import Path

import pytest

from ratchet import validate_large
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.adapters.memory_store import MemoryStore
from ratchet.domain.ingest import JudgeUpload
from tests.unit import samples

EVENT = Path(__file__).parents[2] / "events/validate_large/ok.json"
KEY = "incoming/traffic/history.parquet"
CONTENT = b"datetime,temp,weather_main,traffic_volume\n2017-03-01 00:00:00,280.5,Clear,500\n"


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    ledger, store = MemoryLedger(), MemoryStore()
    reference = samples.definition_ref()
    store.write_json(reference.uri, samples.stored_definition(samples.compiled()))
    store.write(f"s3://ratchet-dev-data/{KEY}", CONTENT)
    ledger.apply_definition("traffic", reference)
    judge = JudgeUpload(ledger, store, DuckDbValidator(memory_mb=512), lambda: samples.NOW)
    monkeypatch.setattr(validate_large, "build", lambda table: judge if table == "ledger" else None)
    return ledger


def test_the_job_judges_the_upload_of_its_event_and_says_so(
    ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    event = json.loads(EVENT.read_text())
    event["detail"]["object"]["version-id"] = "v1"
    packed = base64.b64encode(json.dumps(event).encode()).decode()
    with caplog.at_level(logging.INFO):
        result = validate_large.main(["job.py", "--JOB_NAME", "j", "--ledger_table_name", "ledger", "--event", packed])
    (verdict,) = ledger.verdicts("traffic")
    assert (
        (verdict.outcome, verdict.verdict_id) == (result.outcome, result.verdict_id) == ("ACCEPTED", result.verdict_id)
    )
    assert caplog.messages[-1] == f"traffic {KEY}: ACCEPTED, 1 rows"


def test_the_machines_memory_is_in_megabytes() -> None:
    assert 100 < validate_large.machine_memory_mb() < 100_000_000
