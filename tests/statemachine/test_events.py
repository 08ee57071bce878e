"""The corpus `events/` feeds the workflows as it feeds the functions."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from ratchet.contracts.ingest import ObjectCreatedEvent
from ratchet.contracts.run import Run
from ratchet.domain.object_events import object_created
from ratchet.domain.ports import ObjectVersion

EVENTS = Path(__file__).parents[2] / "events"


@pytest.mark.parametrize("path", sorted((EVENTS / "ingest").glob("*.json")), ids=lambda path: path.stem)
def test_an_ingest_event_is_what_the_rule_lets_through(path: Path) -> None:
    document = json.loads(path.read_text())
    assert (document["source"], document["detail-type"]) == ("aws.s3", "Object Created")
    assert ObjectCreatedEvent.model_validate(document).detail.object.key.startswith("incoming/")


@pytest.mark.parametrize("path", sorted((EVENTS / "validate_large").glob("*.json")), ids=lambda path: path.stem)
def test_a_large_uploads_event_is_what_the_function_hands_on(path: Path) -> None:
    document = json.loads(path.read_text())
    event = ObjectCreatedEvent.model_validate(document)
    seen = event.detail.object
    version = ObjectVersion(seen.key, seen.version_id, datetime.fromisoformat(event.time), seen.size)
    assert document == object_created(event.detail.bucket.name, version, by="ingest")


@pytest.mark.parametrize("path", sorted((EVENTS / "retrain").glob("*.json")), ids=lambda path: path.stem)
def test_a_retrain_input_is_a_run(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document.keys() == {"run"}
    run = Run.model_validate(document["run"])
    assert run.run_id == f"{run.pipeline}-g{run.fence}"
