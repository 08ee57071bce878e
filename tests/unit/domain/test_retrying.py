"""Failed work is tried again twice, then it waits and an alarm says so."""

from datetime import timedelta

import pytest

from ratchet.contracts.closing import CloseRunResult
from ratchet.contracts.run import Run, RunOutcome, TaskError
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ports import ExecutionStatus
from tests.unit.world import World

ERROR = TaskError(error="States.TaskFailed", cause='{"TrainingJobName": "j", "FailureReason": "out of memory"}')


def fail(world: World, run: Run) -> CloseRunResult:
    world.plan(run)
    return world.close(run, RunOutcome.FAILED, error=ERROR)


def fire(world: World, name: str) -> Run | None:
    """Scheduler's part: the planned request at its time."""
    when, request = world.schedule.planned[name]
    world.clock.now = max(world.clock.now, when)
    before = len(world.workflow.started)
    world.start_run(request)
    return world.workflow.started[-1] if len(world.workflow.started) > before else None


def test_a_run_that_always_fails_is_tried_three_times_in_all(world: World) -> None:
    first = fail(world, world.start())
    assert (first.kind, first.stalled) == ("Run Failed", False)
    assert "it is tried again at 2026-03-01 12:05:00 UTC" in first.announcement.sentence
    again = fire(world, "traffic-g1-retry")
    assert again is not None
    assert (again.reason, again.settle_seconds) == ("retry", 0)
    assert fail(world, again).kind == "Run Failed"
    assert world.schedule.planned["traffic-g2-retry"][0] == world.clock.now + timedelta(minutes=30)
    last = fire(world, "traffic-g2-retry")
    assert last is not None
    third = fail(world, last)
    assert (third.kind, third.stalled) == ("Work Stalled", True)
    assert third.announcement.subject == "traffic: work stalled after 3 failures"
    assert "waits for new data, a new definition or --force" in third.announcement.sentence
    assert set(world.schedule.planned) == {"traffic-g1-retry", "traffic-g2-retry"}
    world.clock.advance(days=2)
    assert not world.reconcile().started
    assert not world.start_run(StartRunRequest(pipeline="traffic", reason="schedule")).started


@pytest.mark.parametrize("what", ["new data", "a new definition", "force"])
def test_stalled_work_moves_again_by(world: World, what: str) -> None:
    world.apply(retrain={"retry_after": []})
    assert fail(world, world.start()).stalled
    if what == "new data":
        world.accept()
    if what == "a new definition":
        world.apply(train={"hyperparameters": {"max_depth": 6}})
    assert world.start(forced=what == "force").fence == 2


def test_a_retry_delivered_twice_starts_one_run(world: World) -> None:
    fail(world, world.start())
    assert fire(world, "traffic-g1-retry") is not None
    assert fire(world, "traffic-g1-retry") is None


def test_a_retry_comes_to_nothing_once_new_data_was_trained(world: World) -> None:
    fail(world, world.start())
    world.accept()
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    assert fire(world, "traffic-g1-retry") is None
    assert world.state.retry is None


def test_a_forced_run_is_tried_again_as_a_forced_one(world: World) -> None:
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    fail(world, world.start(reason="manual", forced=True))
    again = fire(world, "traffic-g2-retry")
    assert again is not None
    assert world.plan(again).outcome == "NEW_WORK"


def test_a_retry_that_could_not_be_scheduled_is_started_by_reconcile(world: World) -> None:
    world.schedule.error = DependencyBusyError("throttled")
    assert fail(world, world.start()).kind == "Run Failed"
    world.clock.advance(minutes=9)
    assert not world.reconcile().started
    world.clock.advance(minutes=2)
    assert world.reconcile().started == ("traffic-g2",)
    assert world.workflow.started[-1].reason == "retry"


def test_closing_again_plans_the_same_retry(world: World) -> None:
    run = world.start()
    assert fail(world, run) == world.close(run, RunOutcome.FAILED, error=ERROR)
    assert len(world.schedule.planned) == 1


def test_reconcile_announces_stalled_work_too(world: World) -> None:
    world.apply(retrain={"retry_after": []})
    run = world.start()
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.ENDED
    world.clock.advance(minutes=10)
    report = world.reconcile()
    assert report.stalled == ("traffic-g1",)
    assert [kind for kind, _ in world.publisher.announced] == ["Work Stalled"]
