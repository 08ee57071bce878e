"""What starts a run besides an upload, and what becomes of a start that was lost."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import Result

from cli.stack import Stack
from ratchet.contracts.run import RunOutcome
from ratchet.domain.identity import upload_id
from tests.e2e.once import Tiny, files, later, points, until


@pytest.fixture
def idle(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest) -> Tiny:
    """Two accepted uploads that nobody trains: uploads do not start its runs."""
    tiny = Tiny(request.param, stack, tmp_path)
    tiny.apply("retrain.on_upload=false")
    tiny.put(files([1, 2]))
    until(lambda: len(stack.ledger.verdicts(tiny.name)) == 2 or None)
    return tiny


@pytest.mark.parametrize("idle", ["asked"], indirect=True)
def test_an_event_on_the_bus_starts_a_run_and_repeated_starts_no_other(idle: Tiny, stack: Stack) -> None:
    events = stack.session.client("events")
    entry = {
        "EventBusName": stack.outputs.event_bus_name,
        "Source": "planning",
        "DetailType": "Run Requested",
        "Detail": json.dumps({"pipeline": idle.name}),
    }
    answer = events.put_events(Entries=[entry, entry])  # type: ignore[list-item]
    assert answer["FailedEntryCount"] == 0
    run = idle.await_end(1)
    assert (run.reason, run.outcome) == ("event", RunOutcome.DEPLOYED)
    events.put_events(Entries=[entry])  # type: ignore[list-item]
    assert [run.run_id for run in idle.settled()] == ["asked-g1"]


@pytest.mark.parametrize("idle", ["taken-out"], indirect=True)
def test_the_run_after_a_withdrawal_is_without_the_upload(
    idle: Tiny, stack: Stack, ratchet: Callable[..., Result]
) -> None:
    started = json.loads(ratchet("run", idle.name, "--json").stdout)
    assert started["started"]
    first = idle.await_end(1)
    kept, out = (upload_id([points(number)]) for number in (1, 2))
    assert set(idle.snapshot(first)) == {kept, out}

    told = json.loads(ratchet("withdraw", f"incoming/{idle.name}/2.csv", "--reason", "wrong file", "--json").stdout)

    assert told["upload"]["upload_id"] == out
    assert told["run"]["run_id"] == "taken-out-g2"
    second = idle.await_end(2)
    assert second.outcome in (RunOutcome.DEPLOYED, RunOutcome.REFUSED), second.finding
    assert idle.snapshot(second) == [kept]
    marks = {model.run_id: model.saw_withdrawn for model in stack.ledger.models(idle.name)}
    assert marks == {"taken-out-g1": (out,), "taken-out-g2": ()}


@pytest.mark.parametrize("idle", ["lost-start"], indirect=True)
def test_a_claim_whose_start_was_lost_gives_way(idle: Tiny, stack: Stack) -> None:
    """Whoever claims a pipeline may die before StartExecution, and then nothing of the run exists but its claim."""
    claimed = stack.ledger.claim(
        idle.name, "manual", False, lambda fence: f"{stack.outputs.retrain_state_machine_arn}:lost", datetime.now(UTC)
    )
    assert claimed is not None
    sweep = later(stack)
    assert sweep(idle.name).released == ("lost-start-g1",)
    idle.apply("retrain.on_upload=true")  # another definition: work that an upload's trigger may start
    run = idle.last()
    assert (run.run_id, run.outcome) == ("lost-start-g2", RunOutcome.DEPLOYED), run.finding
    assert len(idle.snapshot(run)) == 2
