"""What a run does to which endpoint, by its definition: trials, shadows, another mode, and the way back."""

from datetime import timedelta
from typing import Any

import pytest

from ratchet.contracts.run import (
    DeploymentResult,
    Purpose,
    Run,
    RunOutcome,
    RunPlan,
    Selection,
    TaskError,
    VariantHealth,
)
from ratchet.contracts.states import CompareShadowRequest
from ratchet.domain.audit import Audit
from ratchet.domain.errors import DependencyBusyError, EventInvalidError, ShadowInconclusiveError, ShadowWorseError
from ratchet.domain.ports import EndpointDescription
from ratchet.domain.resuming import Failure, ending
from ratchet.domain.settling import remove
from ratchet.domain.waking import Wake
from tests.unit import samples
from tests.unit.world import ENDPOINT, World

INSTANCE, TRIAL = f"{ENDPOINT}-Instance", f"{ENDPOINT}-Trial"
CANARY = {"mode": "instance", "instances": 2, "strategy": "canary", "percent": 50, "bake": "5m"}
SHADOW = {"mode": "instance", "strategy": "shadow", "bake": "5m"}
LATER = samples.NOW + timedelta(minutes=1)


def world_with(**deploy: Any) -> World:
    world = World()
    world.apply(deploy=deploy)
    world.accept()
    return world


def judged(world: World) -> tuple[Run, RunPlan, Selection]:
    run, plan, selection, _ = world.judged()
    return run, plan, selection


def next_judged(world: World) -> tuple[Run, RunPlan, Selection]:
    world.accept()
    return judged(world)


def test_instances_have_an_endpoint_of_their_own_with_its_alarms() -> None:
    world = world_with(**CANARY)
    world.deployed()
    assert world.endpoints.calls == [f"create {INSTANCE} ratchet-dev-traffic-g1"]
    assert world.endpoints.watched[INSTANCE].latency_p99_ms == 1000
    state = world.ledger.pipeline("traffic")
    assert state is not None
    assert state.champion is not None
    assert state.champion.endpoint_name == INSTANCE
    assert state.champion.watch == world.endpoints.watched[INSTANCE]


def test_the_next_model_comes_by_the_strategy() -> None:
    world = world_with(**CANARY)
    world.deployed()
    run, _, selection = next_judged(world)
    world.deploy(run, selection)
    assert world.endpoints.strategies[INSTANCE] == "canary"
    deployment = world.ledger.deployment("traffic")
    assert deployment is not None
    assert deployment.ends_by is not None
    assert deployment.ends_by - deployment.started_at > timedelta(minutes=30 + 2 * 5)


def test_another_mode_makes_another_endpoint_and_the_old_one_goes_after_promotion() -> None:
    world = world_with()
    world.deployed()
    world.apply(deploy=CANARY)
    world.accept()
    run, plan, selection, evaluation = world.judged()
    world.deploy(run, selection)
    assert {ENDPOINT, INSTANCE} <= world.endpoints.live.keys()
    assert world.endpoints.live[ENDPOINT].config_name == "ratchet-dev-traffic-g1", "it serves until then"
    world.endpoints.finish(INSTANCE)
    world.resume_deployment(INSTANCE)
    found = {
        "plan": plan,
        "selection": selection,
        "evaluation": evaluation,
        "deployment": world.workflow.answers[-1][1],
    }
    world.close(run, RunOutcome.DEPLOYED, **found)
    assert world.endpoints.live.keys() == {INSTANCE}
    assert world.endpoints.watched.keys() == {INSTANCE}


def test_a_failed_change_of_mode_leaves_only_the_champion() -> None:
    world = world_with()
    world.deployed()
    world.apply(deploy=CANARY)
    run, _, selection = next_judged(world)
    world.deploy(run, selection)
    world.endpoints.finish(INSTANCE)
    world.close(run, RunOutcome.FAILED, error=TaskError(error="PredictionMismatchError", cause="row 3"))
    assert world.endpoints.live.keys() == {ENDPOINT}


def test_bounds_of_the_instance_count_are_set_on_promotion() -> None:
    world = world_with(mode="instance", autoscaling={"min": 1, "max": 4})
    world.deployed()
    assert (world.endpoints.scaled[INSTANCE].min, world.endpoints.scaled[INSTANCE].max) == (1, 4)


def asleep_and_woken() -> World:
    """A champion that scales, whose endpoint was deleted for want of requests and made anew by the next one."""
    world = world_with(mode="instance", autoscaling={"min": 1, "max": 4})
    world.deployed()
    champion = world.state.champion
    assert champion is not None
    assert world.ledger.put_to_sleep("traffic", champion.model_name, world.clock())
    remove(world.endpoints, INSTANCE)
    assert not world.endpoints.scales(INSTANCE)
    assert not Wake(world.ledger, world.endpoints)("traffic")
    return world


def test_a_woken_endpoint_scales_as_soon_as_it_serves() -> None:
    world = asleep_and_woken()
    world.resume_deployment(INSTANCE)
    assert not world.endpoints.scales(INSTANCE), "there is nothing to scale yet"
    world.endpoints.finish(INSTANCE)
    assert world.resume_deployment(INSTANCE) == f"{INSTANCE} scales again"
    assert world.endpoints.scaled[INSTANCE].max == 4
    assert world.resume_deployment(INSTANCE) == f"no deployment of {INSTANCE} is under way"


def test_a_woken_endpoint_whose_event_is_lost_scales_after_the_next_sweep() -> None:
    world = asleep_and_woken()
    world.endpoints.finish(INSTANCE)
    assert [found.what for found in Audit(world.ask)().findings] == ["serves without the bounds it is to scale in"]
    assert world.reconcile().scaled == (INSTANCE,)
    assert world.endpoints.scales(INSTANCE)
    assert world.reconcile().scaled == ()


def test_a_trial_touches_the_live_endpoint_not_at_all() -> None:
    world = world_with(verify="before")
    world.deployed()
    run, plan, selection = next_judged(world)
    assert plan.rollout is not None
    assert plan.rollout.trial
    before = world.endpoints.live[ENDPOINT]
    world.deploy(run, selection, purpose=Purpose.TRIAL)
    world.endpoints.finish(TRIAL)
    assert world.resume_deployment(TRIAL) == "traffic-g2: in service"
    token, result = world.workflow.answers[-1]
    assert (token, result.endpoint_name) == ("trial-1", TRIAL)
    assert world.endpoints.live[ENDPOINT] == before
    assert TRIAL not in world.endpoints.watched
    record = world.ledger.run("traffic", "traffic-g2")
    assert record is not None
    assert record.deployment is None, "nobody was answered by it"


@pytest.mark.parametrize("outcome", ["deploys", "fails", "dies"])
def test_a_trial_is_left_by_nobody(outcome: str) -> None:
    world = world_with(verify="before")
    world.deployed()
    run, _, selection = next_judged(world)
    world.deploy(run, selection, purpose=Purpose.TRIAL)
    world.endpoints.finish(TRIAL)
    world.resume_deployment(TRIAL)
    if outcome == "deploys":
        world.deploy(run, selection)
    elif outcome == "fails":
        world.close(run, RunOutcome.FAILED, error=TaskError(error="PredictionMismatchError", cause="row 3"))
    else:
        world.ledger.release(samples.claim(2))
        assert world.reconcile().removed == (TRIAL,)
    assert TRIAL not in world.endpoints.live
    assert ENDPOINT in world.endpoints.live


def test_a_late_copy_of_the_trials_event_does_not_forget_the_deployment_after_it() -> None:
    world = world_with(verify="before")
    world.deployed()
    run, _, selection = next_judged(world)
    world.deploy(run, selection, purpose=Purpose.TRIAL)
    trial = world.ledger.deployment("traffic")
    assert trial is not None
    world.endpoints.finish(TRIAL)
    world.resume_deployment(TRIAL)
    world.deploy(run, selection)
    world.ledger.end_deployment(trial)  # what a slow copy of the event does last
    assert world.ledger.deployment("traffic") is not None


def test_a_shadow_serves_the_champion_and_copies_to_the_candidate() -> None:
    world = world_with(**SHADOW)
    world.deployed()
    run, plan, selection = next_judged(world)
    assert plan.rollout is not None
    assert (plan.rollout.shadow, plan.rollout.bake_seconds) == (True, 300)
    world.deploy(run, selection, purpose=Purpose.SHADOW)
    config = "ratchet-dev-traffic-g2-Twin"
    assert world.endpoints.configs[config].model_name == "ratchet-dev-traffic-g1"
    assert world.endpoints.configs[config].shadow == "ratchet-dev-traffic-g2"
    assert world.endpoints.watched_configs[INSTANCE] == config
    assert world.endpoints.calls[-1] == f"update {INSTANCE} {config}"
    world.endpoints.finish(INSTANCE)
    world.resume_deployment(INSTANCE)
    world.deploy(run, selection)
    assert world.endpoints.calls[-1] == f"update {INSTANCE} ratchet-dev-traffic-g2"


@pytest.mark.parametrize("before", [None, {}])
def test_without_a_champion_at_that_endpoint_there_is_no_shadow(before: dict[str, Any] | None) -> None:
    world = world_with(**SHADOW)
    if before is not None:
        world = world_with(**before)
        world.deployed()
        world.apply(deploy=SHADOW)
    _, plan, _ = next_judged(world)
    assert plan.rollout is not None
    assert not plan.rollout.shadow


WELL = VariantHealth(requests=900, errors_4xx=0, errors_5xx=0, latency_p99_ms=30)


def compared(candidate: VariantHealth, champion: VariantHealth = WELL, ago: timedelta = timedelta(0)) -> Any:
    world = world_with(**SHADOW)
    world.deployed()
    run, plan, _ = next_judged(world)
    world.endpoints.healths = {False: champion, True: candidate}
    since = world.clock() - ago
    shadow = DeploymentResult(endpoint_name=INSTANCE, endpoint_config_name="c", seconds=9, started_at=since)
    comparison = world.compare_shadow(CompareShadowRequest(run=run, plan=plan, shadow=shadow))
    record = world.ledger.run("traffic", run.run_id)
    assert record is not None
    assert record.comparison == comparison
    assert world.endpoints.measured == [(INSTANCE, "c")] * 2
    return comparison


def test_a_shadow_as_good_as_the_champion_says_what_was_compared() -> None:
    assert "900 copies: 0.0% errors and p99 30 ms" in compared(WELL).sentence


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"errors_5xx": 180}, "errors_5xx 20.0% against 0.0%"),
        ({"errors_4xx": 180}, "errors_4xx 20.0% against 0.0%"),
        ({"latency_p99_ms": 1500}, "p99 1500 ms against 30 ms"),
    ],
)
def test_a_worse_shadow_fails_with_what_is_worse(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ShadowWorseError, match=says):
        compared(WELL.model_copy(update=change))


def test_a_shadow_no_worse_than_a_champion_that_is_unwell_passes() -> None:
    slow = WELL.model_copy(update={"latency_p99_ms": 2000})
    compared(slow, champion=slow)


def test_a_shadow_without_requests_proves_nothing() -> None:
    with pytest.raises(ShadowInconclusiveError, match="got 3 requests"):
        compared(WELL.model_copy(update={"requests": 3}))


@pytest.mark.parametrize("ago", [timedelta(minutes=-1), timedelta(days=16)], ids=["to come", "forgotten"])
def test_a_shadow_of_a_time_without_metrics_is_refused(ago: timedelta) -> None:
    with pytest.raises(EventInvalidError, match=r"shadow\.started_at: .* is not within the 15 days before"):
        compared(WELL, ago=ago)


def test_in_service_is_no_success_before_the_variants_have_their_weight() -> None:
    wanted = samples.deployment(fence=2)
    live = EndpointDescription(ENDPOINT, wanted.wanted_config, "InService", LATER, full_weight=False)
    assert ending(wanted, live, LATER) is None


def test_a_change_that_takes_too_long_is_a_failure() -> None:
    wanted = samples.deployment(fence=2).model_copy(update={"ends_by": samples.NOW + timedelta(hours=1)})
    live = EndpointDescription(ENDPOINT, "old", "Updating", samples.NOW)
    assert ending(wanted, live, samples.NOW + timedelta(minutes=59)) is None
    end = ending(wanted, live, samples.NOW + timedelta(minutes=61))
    assert isinstance(end, Failure)
    assert (end.error, "longer than" in end.cause) == ("EndpointFailedError", True)


def test_a_rollback_names_its_alarm() -> None:
    world = world_with(**CANARY)
    world.deployed()
    run, _, selection = next_judged(world)
    world.deploy(run, selection)
    world.endpoints.alarms = [f"{INSTANCE}-5XX: 0.2 was greater than 0.01"]
    world.endpoints.roll_back(INSTANCE, "an alarm went off")
    world.resume_deployment(INSTANCE)
    _, (error, cause) = world.workflow.answers[-1]
    assert error == "EndpointRolledBackError"
    assert f"alarm {INSTANCE}-5XX: 0.2 was greater than 0.01" in cause


def test_a_mismatch_after_the_shift_says_for_how_long_the_candidate_answered() -> None:
    world = world_with()
    world.deployed()
    run, _, selection = next_judged(world)
    world.deploy(run, selection)
    world.endpoints.finish(ENDPOINT)
    world.resume_deployment(ENDPOINT)
    error = TaskError(error="PredictionMismatchError", cause="holdout row 3")
    with pytest.raises(DependencyBusyError, match="on its way back"):
        world.close(run, RunOutcome.FAILED, error=error)
    world.endpoints.finish(ENDPOINT)
    result = world.close(run, RunOutcome.FAILED, error=error)
    assert world.endpoints.live[ENDPOINT].config_name == "ratchet-dev-traffic-g1"
    assert "answered for 180 s at most" in result.announcement.sentence
    assert "Verify Endpoint" in result.announcement.sentence


@pytest.mark.parametrize("rolls_back", [False, True])
@pytest.mark.parametrize("before", [0, 1, 2], ids="{} events before the end".format)
def test_events_twice_late_and_in_any_order_have_one_result(before: int, rolls_back: bool) -> None:
    """Whatever an event was sent for, what counts is the endpoint when it arrives."""
    world = world_with(**CANARY)
    world.deployed()
    run, _, selection = next_judged(world)
    world.deploy(run, selection)
    answered = len(world.workflow.answers)
    for number in range(3):
        if number == before:
            world.endpoints.roll_back(INSTANCE, "alarm") if rolls_back else world.endpoints.finish(INSTANCE)
        for endpoint in (INSTANCE, INSTANCE, ENDPOINT, TRIAL):  # twice, and those of the pipeline's other endpoints
            world.resume_deployment(endpoint)
    world.resume_deployment(INSTANCE)  # late
    (answer,) = world.workflow.answers[answered:]
    assert answer[0] == "token-1"
    assert isinstance(answer[1], tuple) is rolls_back
    assert world.ledger.deployment("traffic") is None
