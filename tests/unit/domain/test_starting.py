"""Starting a run: one claim, one execution."""

import pytest

from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.errors import DependencyBusyError, PipelineUnknownError
from tests.unit.world import World


def request(reason: str = "upload", forced: bool = False) -> StartRunRequest:
    return StartRunRequest(pipeline="traffic", reason=reason, forced=forced)


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    return world


def test_a_pipeline_that_is_behind_gets_one_run(world: World) -> None:
    first, second = world.start_run(request()), world.start_run(request())
    assert first.started
    assert [run.run_id for run in world.workflow.started] == ["traffic-g1"]
    assert not second.started
    assert second.because == "traffic-g1 runs; it will find the new work when it closes"


@pytest.mark.parametrize(
    ("reason", "forced", "settle"),
    [
        ("upload", False, 60),
        ("schedule", False, 60),
        ("reconcile", False, 60),
        ("manual", False, 0),
        ("upload", True, 0),
    ],
)
def test_only_people_do_not_wait_for_uploads_to_settle(world: World, reason: str, forced: bool, settle: int) -> None:
    world.start_run(request(reason, forced))
    assert world.workflow.started[0].settle_seconds == settle


def test_a_pipeline_that_is_not_behind_runs_only_when_forced(world: World) -> None:
    world.plan(world.start())  # no upload yet: closes itself
    assert world.start_run(request("schedule")).because == "everything accepted so far is answered for"
    assert world.start_run(request("manual", forced=True)).run_id == "traffic-g2"


@pytest.mark.parametrize(("reason", "started"), [("upload", False), ("reconcile", False), ("schedule", True)])
def test_with_on_upload_off_only_schedules_and_people_start_runs(reason: str, started: bool) -> None:
    world = World()
    world.apply(on_upload=False)
    assert world.start_run(request(reason)).started is started
    assert world.start_run(request("manual", forced=not started)).started is not started


def test_an_execution_that_does_not_start_leaves_the_pipeline_free(world: World) -> None:
    world.workflow.start_error = DependencyBusyError("StartExecution: Rate exceeded")
    with pytest.raises(DependencyBusyError, match="Rate exceeded"):
        world.start_run(request())
    world.workflow.start_error = None
    assert world.start_run(request()).run_id == "traffic-g2"
    assert [run.run_id for run in world.ledger.runs("traffic")] == ["traffic-g2"]


def test_an_unknown_pipeline_is_named(world: World) -> None:
    with pytest.raises(PipelineUnknownError, match="'weather'"):
        world.start_run(StartRunRequest(pipeline="weather", reason="manual"))
