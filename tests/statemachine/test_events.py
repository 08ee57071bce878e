"""The corpus `events/` feeds the workflows as it feeds the functions."""

import json
from pathlib import Path

import pytest

from ratchet.contracts.ingest import ObjectCreatedEvent
from ratchet.contracts.run import Run

EVENTS = Path(__file__).parents[2] / "events"


@pytest.mark.parametrize("path", sorted((EVENTS / "ingest").glob("*.json")), ids=lambda path: path.stem)
def test_an_ingest_event_is_what_the_rule_lets_through(path: Path) -> None:
    document = json.loads(path.read_text())
    assert (document["source"], document["detail-type"]) == ("aws.s3", "Object Created")
    assert ObjectCreatedEvent.model_validate(document).detail.object.key.startswith("incoming/")


@pytest.mark.parametrize("path", sorted((EVENTS / "retrain").glob("*.json")), ids=lambda path: path.stem)
def test_a_retrain_input_is_a_run(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document.keys() == {"run"}
    run = Run.model_validate(document["run"])
    assert run.run_id == f"{run.pipeline}-g{run.fence}"
