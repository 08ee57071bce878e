"""Leftovers: when a run that failed or died is closed, no job of it goes on."""

from datetime import timedelta

import pytest

from ratchet.contracts.run import RunOutcome, TaskError
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.leftovers import started_jobs
from ratchet.domain.ports import ExecutionStatus, StartedJobs
from tests.unit import samples
from tests.unit.world import World

STOPPED = TaskError(error="States.Timeout", cause="")


def test_a_failed_run_stops_every_job_it_may_have_started(world: World) -> None:
    world.deployed()
    world.accept()
    run, plan, *_ = world.judged(candidate=0.4)
    world.close(run, RunOutcome.FAILED, error=STOPPED)
    assert plan.preprocess is not None
    (stopped,) = world.at_work.stopped
    assert stopped == StartedJobs(
        training=frozenset({"ratchet-dev-traffic-g2-c1"}),
        transform=frozenset({"ratchet-dev-traffic-g2-score-candidate", "ratchet-dev-traffic-g2-score-champion"}),
        preprocess_output=plan.preprocess.output_uri,
        since=world.record(run).started_at - timedelta(minutes=1),
    )


def test_preprocessing_that_was_done_before_is_not_looked_for(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    world.close(run, RunOutcome.FAILED, error=STOPPED)
    again = world.start(forced=True)
    world.plan(again)
    assert started_jobs(world.record(again)).preprocess_output is None


def test_a_run_that_came_to_no_plan_started_no_job(world: World) -> None:
    world.close(world.start(), RunOutcome.FAILED, error=STOPPED)
    assert world.at_work.stopped == []


def test_a_run_that_came_to_its_end_left_nothing(world: World) -> None:
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    assert world.at_work.stopped == []


def test_the_pipeline_stays_owned_until_nobody_writes_where_the_next_run_will(world: World) -> None:
    run = world.start()
    world.plan(run)
    world.at_work.writing = [["jr_1"], ["jr_1"]]
    for _ in range(2):
        with pytest.raises(DependencyBusyError, match="traffic-g1 left jr_1 at work"):
            world.close(run, RunOutcome.FAILED, error=STOPPED)
        assert world.state.owner == world.arn(run)
    world.close(run, RunOutcome.FAILED, error=STOPPED)
    assert world.state.owner is None


def test_only_the_owners_jobs_are_stopped(world: World) -> None:
    run = world.start()
    world.plan(run)
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.ENDED
    world.reconcile()
    (first,) = world.at_work.stopped
    assert first.training == {"ratchet-dev-traffic-g1-c1"}
    world.close(run, RunOutcome.FAILED, error=STOPPED)
    assert world.at_work.stopped == [first], "closed already"


@pytest.mark.parametrize(("minutes", "closed"), [(4, ()), (6, ("traffic-g1",))])
def test_a_run_deleted_with_its_state_machine_is_closed_and_not_forgotten(
    world: World, minutes: float, closed: tuple[str, ...]
) -> None:
    run = world.start()
    world.plan(run)
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.UNKNOWN
    world.clock.now = samples.NOW + timedelta(minutes=minutes)
    report = world.reconcile()
    assert (report.closed, report.released) == (closed, ())
    assert len(world.at_work.stopped) == len(closed)
