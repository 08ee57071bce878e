"""The doorway of validate_data: every event of the corpus through the real judge, over the fakes."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.adapters.memory_store import MemoryStore
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult
from ratchet.domain.errors import EventInvalidError
from ratchet.domain.ingest import JudgeUpload
from ratchet.domain.large import LargePath
from tests.unit import samples
from tests.unit.fakes import FakeWorkflow

ROOT = Path(__file__).parents[3]
EVENTS = ROOT / "events" / "validate_data"
LIMIT = 512 << 20
MARCH = b"datetime,temp,weather_main,traffic_volume\n2017-03-01 00:00:00,280.5,Clear,500\n"


@pytest.fixture(scope="module")
def app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validate_data_app", ROOT / "functions" / "validate_data" / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Context(LambdaContext):
    """What Lambda hands to a handler, as far as logs and metrics read it."""

    _function_name = "validate_data"
    _memory_limit_in_mb = 3008
    _invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:validate_data"
    _aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"


class _Store(MemoryStore):
    """Holds whatever object version an event names: empty when the event says so."""

    def holding(self, event: dict[str, Any]) -> "_Store":
        named = event["detail"]["object"]
        uri = f"s3://{event['detail']['bucket']['name']}/{named['key']}"
        version = self.write(uri, MARCH if named["size"] else b"")
        named["version-id"] = version.version_id
        return self


def read(case: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{case}.json").read_text())
    return event


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("ok", "ACCEPTED"),
        ("unicode_key", "ACCEPTED"),
        ("multipart", "LARGE"),
        ("empty_object", "REJECTED"),
        ("no_pipeline", "REJECTED"),
        ("unknown_pipeline", "REJECTED"),
        ("folder_marker", "IGNORED"),
    ],
)
def test_every_event_of_the_corpus_ends_in_an_answer(app: ModuleType, case: str, outcome: str) -> None:
    event, store, ledger = read(case), _Store(), MemoryLedger()
    reference = samples.definition_ref()
    store.write_json(reference.uri, samples.stored_definition(samples.compiled()))
    ledger.apply_definition("traffic", reference)
    large = LargePath(ledger, FakeWorkflow(), lambda: samples.NOW, LIMIT)
    judge = JudgeUpload(ledger, store.holding(event), DuckDbValidator(memory_mb=512), lambda: samples.NOW, large)
    answer = ValidateDataResult.model_validate(app.handler(event, Context(), use_case=judge))
    assert answer.outcome == outcome
    assert (answer.finding is None) == (outcome != "REJECTED")
    assert answer.announcement.upload_key == event["detail"]["object"]["key"]


def test_the_corpus_is_covered_and_valid() -> None:
    events = {path.stem: ObjectCreatedEvent.model_validate_json(path.read_text()) for path in EVENTS.glob("*.json")}
    assert {event.detail.object.key.split("/")[0] for event in events.values()} == {"incoming"}
    assert len(events) == 7


def test_an_event_of_an_unversioned_bucket_is_refused_by_name(app: ModuleType) -> None:
    event = read("ok")
    del event["detail"]["object"]["version-id"]
    with pytest.raises(EventInvalidError, match=r"detail\.object\.version-id"):
        app.handler(event, Context(), use_case=None)
