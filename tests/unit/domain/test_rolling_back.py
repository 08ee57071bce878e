"""The previous champion back: under the fence, verified before it is recorded, and never over a run."""

from collections.abc import Callable

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.domain.announcements import announcement_of, kind_of
from ratchet.domain.errors import EndpointRolledBackError, PredictionMismatchError, RollbackRefusedError
from ratchet.domain.ledger import RunRecord
from ratchet.domain.ports import ExecutionStatus, Prediction
from ratchet.domain.rolling_back import RollBack
from tests.unit import samples
from tests.unit.world import ENDPOINT, World

BY = "arn:aws:iam::123456789012:user/ada"


@pytest.fixture
def world() -> World:
    """g1 was champion, g2 is."""
    world = World()
    world.apply()
    world.accept()
    world.deployed(candidate=0.1)
    world.accept()
    world.deployed(candidate=0.02, until="2026-01-01T00:00:00")
    return world


def roll_back(world: World, meanwhile: Callable[[], None] | None = None) -> RunRecord:
    """The endpoint's update ends while the command sleeps."""
    judged = world.ledger.run("traffic", "traffic-g1")
    assert judged is not None
    if judged.selection is not None and not world.endpoints.predictions:
        world.answer_like(judged.selection)
    act = RollBack(
        world.ledger,
        world.endpoints,
        world.workflow,
        world.verify_endpoint,
        world.clock,
        lambda _: (meanwhile or (lambda: world.endpoints.finish(ENDPOINT)))(),
        poll_seconds=1,
    )
    return act("traffic", "it forecasts weekends badly", BY)


def test_the_previous_champion_serves_and_the_history_says_who_and_why(world: World) -> None:
    record = roll_back(world)
    state = world.state
    assert state.champion is not None
    assert (state.champion.run_id, state.owner) == ("traffic-g1", None)
    assert world.endpoints.live[ENDPOINT].config_name == "ratchet-dev-traffic-g1"
    assert record.verification is not None
    assert record.verification.rows == 20
    last = world.ledger.champions("traffic")[-1]
    assert (last.cause, last.by, last.previous) == ("rolled back", BY, "ratchet-dev-traffic-g2")
    assert last.reason.endswith("it forecasts weekends badly")
    assert world.ledger.run("traffic", "traffic-g3") == record


def test_people_are_told(world: World) -> None:
    record = roll_back(world)
    assert kind_of(record) == "Champion Rolled Back"
    told = announcement_of(record)
    assert told.subject == "traffic: champion rolled back"
    assert told.sentence == "traffic-g1 serves again instead of traffic-g2: it forecasts weekends badly"


def test_nothing_that_waits_is_answered_for_by_a_rollback(world: World) -> None:
    world.accept()
    roll_back(world)
    assert world.state.behind
    assert world.plan(world.start()).uploads == 3


def test_a_run_that_owns_the_pipeline_is_not_disturbed(world: World) -> None:
    world.accept()
    run = world.start()
    with pytest.raises(RollbackRefusedError, match="traffic-g3 owns the pipeline; wait until it has ended"):
        roll_back(world)
    assert world.state.owner == world.arn(run)
    assert world.endpoints.live[ENDPOINT].config_name == "ratchet-dev-traffic-g2"


def test_there_is_an_end_to_going_back(world: World) -> None:
    roll_back(world)
    with pytest.raises(RollbackRefusedError, match="replaced no other champion"):
        roll_back(world)


def test_a_pipeline_without_a_champion_has_nothing_to_go_back_to() -> None:
    world = World()
    world.apply()
    with pytest.raises(RollbackRefusedError, match="no champion yet"):
        RollBack(
            world.ledger,
            world.endpoints,
            world.workflow,
            world.verify_endpoint,
            world.clock,
            lambda _: None,
            poll_seconds=1,
        )("traffic", "why not", BY)


def test_an_endpoint_that_would_not_go_back_leaves_the_champion(world: World) -> None:
    with pytest.raises(EndpointRolledBackError, match="image gone"):
        roll_back(world, lambda: world.endpoints.roll_back(ENDPOINT, "image gone"))
    unchanged(world)


def test_an_endpoint_that_answers_otherwise_than_it_was_judged_leaves_the_champion(world: World) -> None:
    world.endpoints.predictions = [Prediction({"prediction": -1.0}, 5.0)] * 20
    with pytest.raises(PredictionMismatchError):
        roll_back(world)
    world.endpoints.finish(ENDPOINT)
    unchanged(world)


def unchanged(world: World) -> None:
    state = world.state
    assert state.champion is not None
    assert (state.champion.run_id, state.owner, len(world.ledger.champions("traffic"))) == ("traffic-g2", None, 2)
    assert world.endpoints.live[ENDPOINT].config_name == "ratchet-dev-traffic-g2"
    assert all(run.outcome is not RunOutcome.ROLLED_BACK for run in world.ledger.runs("traffic"))


def test_a_long_update_keeps_its_claim(world: World) -> None:
    moments = []

    def wait() -> None:
        world.clock.advance(minutes=2)
        moments.append(world.state.claimed_at)
        world.workflow.statuses[str(world.state.owner)] = ExecutionStatus.UNKNOWN
        assert not world.reconcile().released
        if len(moments) == 5:
            world.endpoints.finish(ENDPOINT)

    roll_back(world, wait)
    assert len(set(moments)) == 5


def test_a_command_that_died_is_undone_by_reconcile(world: World) -> None:
    claimed = world.ledger.claim("traffic", "rollback", True, samples.execution_arn, world.clock())
    assert claimed is not None
    world.endpoints.update(ENDPOINT, "ratchet-dev-traffic-g1")
    world.endpoints.finish(ENDPOINT)
    world.workflow.statuses[claimed.execution_arn] = ExecutionStatus.UNKNOWN
    world.clock.advance(minutes=6)
    assert world.reconcile().released == ("traffic-g3",)
    world.endpoints.finish(ENDPOINT)
    assert world.endpoints.live[ENDPOINT].config_name == "ratchet-dev-traffic-g2"
