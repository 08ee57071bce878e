"""Close Run: four ends, each recorded once, and the pipeline free for the next."""

import json

import pytest

from ratchet.contracts.closing import CloseRunRequest
from ratchet.contracts.run import Run, RunOutcome, TaskError
from ratchet.domain.errors import DependencyBusyError, EventInvalidError, StaleRunError
from tests.unit import samples
from tests.unit.world import ENDPOINT, World

MISMATCH = TaskError(
    error="PredictionMismatchError", cause=json.dumps({"errorMessage": "holdout row 7: 1.0, the judge saw 2.0"})
)


def test_deployed_makes_the_champion_and_frees_the_pipeline(world: World) -> None:
    run = world.deployed()
    state, record = world.state, world.record(run)
    assert (state.owner, state.behind) == (None, False)
    assert state.champion is not None
    assert record.evaluation is not None
    assert record.selection is not None
    assert state.champion.run_id == run.run_id
    assert state.champion.model_uri == record.selection.candidate.model_uri
    assert state.champion.endpoint_config_name == "ratchet-dev-traffic-g1"
    assert state.champion.trained_until == "2026-01-31T23:00:00"
    assert state.champion.score == record.evaluation.candidate
    assert record.outcome is RunOutcome.DEPLOYED
    assert record.finding is None
    assert record.timings == {"total": 90.0, "deployment": 90.0}
    assert record.because is not None
    assert record.because.startswith("traffic-g1 is deployed: forecast_accuracy 0.951")


def test_refused_keeps_the_champion_and_tells_people_why(world: World) -> None:
    world.deployed()
    world.accept()
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    champion = world.state.champion
    result = world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    assert world.state.champion == champion
    assert result.announcement.subject == "traffic: candidate refused"
    assert result.announcement.finding == evaluation.finding
    assert (
        result.announcement.links.items()
        >= {
            "show": "ratchet show traffic-g2",
            "report": "ratchet report traffic-g2",
            "decision": evaluation.decision_uri,
        }.items()
    )
    assert result.announcement.numbers["forecast_accuracy candidate"] == evaluation.candidate


def test_closing_starts_the_next_run_when_work_arrived_meanwhile(world: World) -> None:
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.accept()
    result = world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    assert result.next_run_id == "traffic-g2"
    assert world.workflow.started[-1].run_id == "traffic-g2"


def test_closing_twice_answers_the_same(world: World) -> None:
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    first = world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    assert world.close(run, RunOutcome.REFUSED) == first
    assert len(world.ledger.runs("traffic")) == 1


def test_a_closed_run_stays_what_it_became(world: World) -> None:
    """Promote Champion may have written, and its answer been lost: the failure path then finds it done."""
    run = world.deployed()
    result = world.close(run, RunOutcome.FAILED, error=MISMATCH)
    assert result.outcome is RunOutcome.DEPLOYED
    assert world.endpoints.calls == [f"create {ENDPOINT} ratchet-dev-traffic-g1"]


def test_a_next_run_that_does_not_start_does_not_undo_the_close(world: World, caplog: pytest.LogCaptureFixture) -> None:
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.accept()
    world.workflow.start_error = DependencyBusyError("Rate exceeded")
    result = world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    assert (result.outcome, result.next_run_id) == (RunOutcome.REFUSED, None)
    assert "reconcile will start it" in caplog.text
    assert world.state.owner is None
    assert world.state.behind


def test_a_deployed_run_needs_all_that_makes_a_champion(world: World) -> None:
    run, plan, selection, evaluation = world.judged()
    with pytest.raises(EventInvalidError, match="evaluation and deployment"):
        world.close(run, RunOutcome.DEPLOYED, plan=plan, selection=selection, evaluation=evaluation)
    with pytest.raises(EventInvalidError, match=r"selection\.candidate\.model_uri"):
        world.close_run._close(  # the record knows a selection, so only a bad one is refused
            CloseRunRequest(
                run=run,
                execution_arn=world.arn(run),
                outcome=RunOutcome.DEPLOYED,
                selection=selection.model_copy(
                    update={"candidate": selection.candidate.model_copy(update={"model_uri": None})}
                ),
            ),
            world.record(run),
        )
    assert world.state.owner == world.arn(run)


def deploying(world: World) -> Run:
    """The second run has the endpoint, and is not verified yet."""
    world.deployed()
    world.accept()
    run, _, selection, _ = world.judged(candidate=0.02)
    world.deploy(run, selection)
    world.endpoints.finish(ENDPOINT)
    world.resume_deployment(ENDPOINT)
    return run


def test_failed_puts_the_endpoint_back_before_it_closes(world: World) -> None:
    run = deploying(world)
    for _ in range(2):
        with pytest.raises(DependencyBusyError, match="on its way back"):
            world.close(run, RunOutcome.FAILED, error=MISMATCH)
        assert world.state.owner == world.arn(run), "the pipeline stays owned while its endpoint moves"
    assert world.endpoints.calls[-1] == f"update {ENDPOINT} ratchet-dev-traffic-g1"
    world.endpoints.finish(ENDPOINT)
    result = world.close(run, RunOutcome.FAILED, error=MISMATCH)
    assert result.outcome is RunOutcome.FAILED
    state = world.state
    assert state.champion is not None
    assert (state.owner, state.champion.run_id, state.failures) == (None, "traffic-g1", 1)


def test_failed_without_a_champion_deletes_the_unverified_endpoint(world: World) -> None:
    run, _, selection, _ = world.judged()
    world.deploy(run, selection)
    world.endpoints.finish(ENDPOINT)
    world.close(run, RunOutcome.FAILED, error=MISMATCH)
    assert world.endpoints.live == {}
    assert world.ledger.deployment("traffic") is None


def test_failed_does_not_loop_on_the_same_work(world: World) -> None:
    run = world.start()
    world.plan(run)
    result = world.close(run, RunOutcome.FAILED, error=TaskError(error="States.Timeout", cause=""))
    assert result.next_run_id is None
    assert not world.state.behind


def test_failed_before_its_plan_answers_for_the_work_it_was_claimed_for(world: World) -> None:
    run = world.start()
    world.accept()
    result = world.close(run, RunOutcome.FAILED, error=TaskError(error="Lambda.Unknown", cause=""))
    assert result.next_run_id == "traffic-g2"


def test_only_the_owner_may_close_or_touch_the_endpoint(world: World) -> None:
    run = deploying(world)
    calls = list(world.endpoints.calls)
    stranger = CloseRunRequest(
        run=run, execution_arn=samples.execution_arn(99), outcome=RunOutcome.FAILED, error=MISMATCH
    )
    with pytest.raises(StaleRunError):
        world.close_run(stranger)
    world.ledger.release(samples.claim(fence=2))
    with pytest.raises(StaleRunError):
        world.close(run, RunOutcome.FAILED, error=MISMATCH)
    assert world.endpoints.calls == calls


def test_failed_reads_from_the_ledger_what_its_request_lacks(world: World) -> None:
    run = deploying(world)
    with pytest.raises(DependencyBusyError):
        world.close(run, RunOutcome.FAILED, error=MISMATCH)
    world.endpoints.finish(ENDPOINT)
    announcement = world.close(run, RunOutcome.FAILED, error=MISMATCH).announcement
    record = world.record(run)
    assert record.evaluation is not None
    assert record.plan is not None
    assert announcement.links["decision"] == record.evaluation.decision_uri
    assert announcement.finding is not None
    assert announcement.finding.where == f"state Verify Endpoint of execution {world.arn(run)}"
    assert announcement.finding.why == "holdout row 7: 1.0, the judge saw 2.0"
