"""The endpoint: recorded before it is changed, answered once it has changed, verified before it is believed."""

from datetime import timedelta
from typing import Any

import pytest

from ratchet.contracts.run import DeploymentResult, Run, Selection, Watch
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.errors import DependencyBusyError, PredictionMismatchError, StaleRunError
from ratchet.domain.ledger import Deployment
from ratchet.domain.ports import EndpointDescription, Prediction
from ratchet.domain.resuming import Failure, ending
from ratchet.domain.settling import Action, next_action, put_back, remove
from ratchet.domain.verifying import difference
from tests.unit import samples
from tests.unit.fakes import FakeClock, FakeEndpoints
from tests.unit.world import ENDPOINT, World

CANDIDATE, CHAMPION = "ratchet-dev-traffic-g2", "ratchet-dev-traffic-g1"
LATER = samples.NOW + timedelta(minutes=1)
EARLIER = samples.NOW - timedelta(minutes=1)


def judged(world: World) -> tuple[Run, Selection]:
    run, _, selection, _ = world.judged()
    return run, selection


def live(status: str, config: str = CHAMPION, reason: str = "") -> EndpointDescription:
    return EndpointDescription(ENDPOINT, config, status, LATER, reason)


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (None, Action.CREATE),
        (live("Failed"), Action.DELETE),
        (live("OutOfService"), Action.DELETE),
        (live("UpdateRollbackFailed"), Action.UPDATE),
        (live("Creating"), Action.WAIT),
        (live("Updating", CANDIDATE), Action.WAIT),
        (live("RollingBack"), Action.WAIT),
        (live("InService"), Action.UPDATE),
        (live("InService", CANDIDATE), Action.NONE),
    ],
)
def test_the_next_action(found: EndpointDescription | None, action: Action) -> None:
    assert next_action(found, CANDIDATE) is action


def under_way() -> Deployment:
    return samples.deployment(fence=2)


def test_the_wanted_configuration_in_service_is_success() -> None:
    end = ending(under_way(), live("InService", CANDIDATE), LATER)
    assert end == DeploymentResult(
        endpoint_name=ENDPOINT, endpoint_config_name=CANDIDATE, seconds=60.0, started_at=samples.NOW
    )


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "SystemUpdating"])
def test_what_goes_on_has_not_ended(status: str) -> None:
    assert ending(under_way(), live(status), LATER) is None


def test_in_service_on_the_old_configuration_before_the_update_is_not_a_rollback() -> None:
    before = EndpointDescription(ENDPOINT, CHAMPION, "InService", EARLIER)
    assert ending(under_way(), before, LATER) is None


def test_in_service_on_the_old_configuration_after_the_update_is_a_rollback() -> None:
    end = ending(under_way(), live("InService", reason="alarm p99"), LATER)
    assert end == Failure("EndpointRolledBackError", f"endpoint {ENDPOINT} is back on {CHAMPION}: alarm p99")


def test_a_failed_endpoint_gives_sagemakers_reason() -> None:
    end = ending(under_way(), live("Failed", CANDIDATE, "ping health check"), LATER)
    assert end == Failure("EndpointFailedError", f"endpoint {ENDPOINT} failed: ping health check")


@pytest.mark.parametrize("status", ["OutOfService", "UpdateRollbackFailed"])
def test_an_endpoint_that_stays_in_a_wrong_state_has_failed(status: str) -> None:
    end = ending(under_way(), live(status, CANDIDATE), LATER)
    assert end == Failure("EndpointFailedError", f"endpoint {ENDPOINT} is {status}: SageMaker gave no reason")
    before = EndpointDescription(ENDPOINT, CHAMPION, status, EARLIER)
    assert ending(under_way(), before, LATER) is None, "so it was before the update began"


def test_an_endpoint_may_be_invisible_for_a_moment_but_not_for_ever() -> None:
    assert ending(under_way(), None, LATER) is None
    gone = ending(under_way(), None, samples.NOW + timedelta(minutes=6))
    assert isinstance(gone, Failure)
    assert gone.error == "EndpointFailedError"


def test_a_first_endpoint_is_created_under_the_recorded_deployment(world: World) -> None:
    run, selection = judged(world)
    world.deploy(run, selection)
    assert world.endpoints.calls == [f"create {ENDPOINT} {CHAMPION}"]
    config = world.endpoints.configs[CHAMPION]
    assert config.model_name == selection.model_name
    assert config.deploy == samples.definition().deploy
    assert config.tags == {"ratchet:pipeline": "traffic", "ratchet:run": "traffic-g1", "ratchet:stage": "test"}
    assert config.captures_uri == f"s3://{samples.ARTIFACTS}/captures"
    deployment = world.ledger.deployment("traffic")
    assert deployment is not None
    assert (deployment.wanted_config, deployment.previous_config, deployment.task_token) == (CHAMPION, None, "token-1")


def test_the_deployment_is_recorded_before_sagemaker_is_called(world: World) -> None:
    run, selection = judged(world)
    seen = []
    create = world.endpoints.create

    def watch(name: str, config_name: str, tags: dict[str, str]) -> None:
        seen.append(world.ledger.deployment("traffic"))
        create(name, config_name, tags)

    world.endpoints.create = watch  # type: ignore[method-assign]
    world.deploy(run, selection)
    assert seen[0] is not None


def test_a_run_that_lost_its_pipeline_touches_no_endpoint(world: World) -> None:
    run, selection = judged(world)
    stale = world.ledger.run("traffic", run.run_id)
    world.ledger.release(samples.claim())
    with pytest.raises(StaleRunError, match="no plan"):
        world.deploy(run, selection)
    world.start()
    assert stale is not None
    world.ledger._runs["traffic"][run.run_id] = stale
    with pytest.raises(StaleRunError, match="does not own"):
        world.deploy(run, selection)
    assert world.endpoints.calls == []


def test_a_live_endpoint_is_updated_and_answered_by_its_event(world: World) -> None:
    world.deployed()
    world.accept()
    run, selection = judged(world)
    world.deploy(run, selection)
    assert world.endpoints.calls[-1] == f"update {ENDPOINT} {CANDIDATE}"
    answered = len(world.workflow.answers)
    assert "still on its way" in world.resume_deployment(ENDPOINT)
    assert len(world.workflow.answers) == answered
    world.endpoints.finish(ENDPOINT)
    assert world.resume_deployment(ENDPOINT) == "traffic-g2: in service"
    token, result = world.workflow.answers[-1]
    assert (token, result.endpoint_config_name, result.seconds) == ("token-1", CANDIDATE, 90.0)


def test_late_and_doubled_events_find_nothing_to_answer(world: World) -> None:
    world.deployed()
    answered = len(world.workflow.answers)
    assert world.resume_deployment(ENDPOINT) == f"no deployment of {ENDPOINT} is under way"
    assert world.resume_deployment("somebody-elses-endpoint") == "no deployment of somebody-elses-endpoint is under way"
    assert len(world.workflow.answers) == answered


def test_a_rollback_fails_the_task_with_the_reason(world: World) -> None:
    world.deployed()
    world.accept()
    run, selection = judged(world)
    world.deploy(run, selection)
    world.endpoints.roll_back(ENDPOINT, "the new variant is not healthy")
    world.resume_deployment(ENDPOINT)
    token, (error, cause) = world.workflow.answers[-1]
    assert (token, error) == ("token-1", "EndpointRolledBackError")
    assert "the new variant is not healthy" in cause


def test_a_retry_waits_with_the_new_token_and_calls_nothing_twice(world: World) -> None:
    run, selection = judged(world)
    world.deploy(run, selection, attempt=1)
    world.deploy(run, selection, attempt=2)
    assert len(world.endpoints.calls) == 1
    world.endpoints.finish(ENDPOINT)
    world.resume_deployment(ENDPOINT)
    assert [token for token, _ in world.workflow.answers] == ["token-2"]


def test_a_retry_after_the_endpoint_arrived_answers_the_token_itself(world: World) -> None:
    run, selection = judged(world)
    world.deploy(run, selection, attempt=1)
    world.endpoints.finish(ENDPOINT)
    world.deploy(run, selection, attempt=2)
    token, result = world.workflow.answers[-1]
    assert (token, result.endpoint_config_name) == ("token-2", CHAMPION)
    assert world.ledger.deployment("traffic") is None


def test_somebody_elses_update_is_waited_for(world: World) -> None:
    world.deployed()
    world.accept()
    run, selection = judged(world)
    world.endpoints.update(ENDPOINT, "by-hand")
    with pytest.raises(DependencyBusyError, match="somebody else's update"):
        world.deploy(run, selection)
    assert world.ledger.deployment("traffic") is None


def test_a_retry_that_asks_for_the_change_anew_dates_it_anew(world: World) -> None:
    """Else an endpoint that was changed between the two attempts would look rolled back before it began."""
    world.deployed()
    world.accept()
    run, selection = judged(world)
    update = world.endpoints.update

    def lose(name: str, config_name: str, deploy: DeploySection | None = None) -> None:
        raise DependencyBusyError("Rate exceeded")

    world.endpoints.update = lose  # type: ignore[method-assign]
    with pytest.raises(DependencyBusyError, match="Rate exceeded"):
        world.deploy(run, selection, attempt=1)
    world.clock.advance(seconds=10)
    world.endpoints.live[ENDPOINT] = EndpointDescription(ENDPOINT, CHAMPION, "InService", world.clock())
    world.clock.advance(seconds=10)
    world.endpoints.update = update  # type: ignore[method-assign]
    world.deploy(run, selection, attempt=2)
    world.endpoints.live[ENDPOINT] = EndpointDescription(
        ENDPOINT, CHAMPION, "InService", world.clock() - timedelta(seconds=10)
    )
    assert "still on its way" in world.resume_deployment(ENDPOINT)


def test_a_failed_endpoint_is_deleted_and_made_anew(world: World) -> None:
    run, selection = judged(world)
    world.endpoints.live[ENDPOINT] = live("Failed")
    with pytest.raises(DependencyBusyError, match="made anew"):
        world.deploy(run, selection, attempt=1)
    world.endpoints.live[ENDPOINT] = live("Deleting")
    with pytest.raises(DependencyBusyError, match="being deleted"):
        world.deploy(run, selection, attempt=2)
    del world.endpoints.live[ENDPOINT]
    world.deploy(run, selection, attempt=3)
    assert world.endpoints.calls == [f"delete {ENDPOINT}", f"create {ENDPOINT} {CHAMPION}"]


@pytest.fixture
def endpoints() -> FakeEndpoints:
    return FakeEndpoints(FakeClock())


def test_put_back_returns_only_when_the_champion_serves(endpoints: FakeEndpoints) -> None:
    champion = samples.champion()
    endpoints.serve(ENDPOINT, CANDIDATE)
    for _ in range(2):
        with pytest.raises(DependencyBusyError, match=f"back to {CHAMPION}"):
            put_back(endpoints, champion, {})
    assert endpoints.calls == [f"update {ENDPOINT} {CHAMPION}"]
    endpoints.finish(ENDPOINT)
    put_back(endpoints, champion, {})


def test_put_back_turns_the_alarms_to_the_champion_again(endpoints: FakeEndpoints) -> None:
    watch = Watch(errors_5xx=0.01, errors_4xx=0.1, latency_p99_ms=250)
    champion = samples.champion().model_copy(update={"watch": watch})
    endpoints.serve(ENDPOINT, CHAMPION)  # SageMaker rolled the change back by itself
    endpoints.watch(ENDPOINT, CANDIDATE, watch)
    put_back(endpoints, champion, {})
    assert endpoints.watched_configs[ENDPOINT] == CHAMPION


def test_put_back_makes_a_lost_endpoint_anew(endpoints: FakeEndpoints) -> None:
    with pytest.raises(DependencyBusyError):
        put_back(endpoints, samples.champion(), {})
    assert endpoints.calls == [f"create {ENDPOINT} {CHAMPION}"]


@pytest.mark.parametrize("status", ["Failed", "OutOfService"])
def test_put_back_replaces_a_failed_endpoint(endpoints: FakeEndpoints, status: str) -> None:
    endpoints.live[ENDPOINT] = live(status, CANDIDATE)
    for _ in range(2):
        with pytest.raises(DependencyBusyError):
            put_back(endpoints, samples.champion(), {})
    assert endpoints.calls == [f"delete {ENDPOINT}", f"create {ENDPOINT} {CHAMPION}"]


def test_without_a_champion_an_unverified_endpoint_is_deleted(endpoints: FakeEndpoints) -> None:
    endpoints.serve(ENDPOINT, CANDIDATE)
    remove(endpoints, ENDPOINT)
    remove(endpoints, ENDPOINT)
    assert endpoints.calls == [f"delete {ENDPOINT}"]


@pytest.mark.parametrize("status", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_without_a_champion_an_endpoint_gone_wrong_is_deleted(endpoints: FakeEndpoints, status: str) -> None:
    endpoints.live[ENDPOINT] = live(status, CANDIDATE)
    remove(endpoints, ENDPOINT)
    assert endpoints.calls == [f"delete {ENDPOINT}"]


def test_without_a_champion_an_endpoint_on_its_way_is_waited_for(endpoints: FakeEndpoints) -> None:
    endpoints.live[ENDPOINT] = live("Creating", CANDIDATE)
    with pytest.raises(DependencyBusyError, match="is Creating"):
        remove(endpoints, ENDPOINT)
    endpoints.live[ENDPOINT] = live("Deleting", CANDIDATE)
    remove(endpoints, ENDPOINT)


DEPLOYMENT = DeploymentResult(endpoint_name=ENDPOINT, endpoint_config_name=CHAMPION, seconds=90)


def test_an_endpoint_that_answers_like_the_judge_is_verified(world: World) -> None:
    run, selection = judged(world)
    world.answer_like(selection)
    verification = world.verify(run, selection, DEPLOYMENT)
    assert (verification.rows, verification.largest_difference) == (20, 0.0)
    assert (verification.latency_p50_ms, verification.latency_max_ms) == (12.0, 12.0)
    assert len({record["datetime"] for record in world.endpoints.asked}) == 20
    assert "traffic_volume" not in world.endpoints.asked[0]


def test_a_small_holdout_is_verified_whole(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan, [{"row": n, "actual": 1.0, "naive": None, "time": None, "record": {}} for n in range(3)])
    selection = world.select(run, plan, world.train(plan))
    world.score(selection)
    world.answer_like(selection, count=3)
    assert world.verify(run, selection, DEPLOYMENT).rows == 3


def test_a_different_answer_names_the_row_and_both_values(world: World) -> None:
    run, selection = judged(world)
    world.answer_like(selection)
    world.endpoints.predictions[3] = Prediction({"prediction": 17.25}, 12.0)
    with pytest.raises(
        PredictionMismatchError, match=r"row 99: the endpoint answers prediction 17.25, the judge saw \d"
    ):
        world.verify(run, selection, DEPLOYMENT)


@pytest.mark.parametrize(
    ("expected", "answered"),
    [
        ({"prediction": 1000.0}, {"prediction": 1000.01}),
        ({"prediction": 1.0}, {"prediction": "1.0"}),
        ({"prediction": "late"}, {"prediction": "on time"}),
        ({"prediction": 1.0}, {}),
        ({"prediction": 1.0}, [1.0]),
        ({"prediction": "a", "probabilities": {"a": 0.9}}, {"prediction": "a", "probabilities": {"a": 0.8}}),
        ({"prediction": "a"}, {"prediction": "a", "probabilities": {"a": 0.8}}),
    ],
)
def test_answers_that_differ(expected: dict[str, Any], answered: Any) -> None:
    with pytest.raises(PredictionMismatchError):
        difference(1, expected, answered)


def test_answers_within_the_tolerance_are_the_same() -> None:
    assert difference(1, {"prediction": 5000}, {"prediction": 5000.004}) == pytest.approx(0.004)
    assert difference(1, {"prediction": 0.0}, {"prediction": 5e-7}) == 5e-7
    same = {"prediction": "a", "probabilities": {"a": 0.9}}
    assert difference(1, same, same) == 0.0
