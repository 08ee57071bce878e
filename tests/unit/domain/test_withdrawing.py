"""A withdrawn upload is in no later snapshot, and whoever asks a model learns that it saw it."""

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.domain.errors import UploadUnknownError
from ratchet.domain.ledger import Upload
from ratchet.domain.withdrawing import Withdrawn, WithdrawUpload
from tests.unit import samples
from tests.unit.world import World

BY = "arn:aws:iam::123456789012:user/ada"


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    world.accept(2)
    return world


def withdraw(world: World, upload: Upload) -> Withdrawn:
    return WithdrawUpload(world.ledger, world.store, world.clock)("traffic", upload, "a wrong file", BY)


def test_the_next_run_lacks_it(world: World) -> None:
    world.deployed()
    assert withdraw(world, samples.upload(1)).new
    plan = world.plan(world.start())
    assert (plan.outcome, plan.uploads) == ("NEW_WORK", 1)


def test_models_that_saw_it_are_marked_and_the_serving_one_named(world: World) -> None:
    world.deployed()
    done = withdraw(world, samples.upload(1))
    assert (done.models, done.serving) == (("ratchet-dev-traffic-g1",), "ratchet-dev-traffic-g1")
    model = world.ledger.model("traffic", "ratchet-dev-traffic-g1")
    assert model is not None
    assert model.saw_withdrawn == (samples.upload(1).upload_id,)


def test_a_model_that_came_later_is_not_marked(world: World) -> None:
    withdraw(world, samples.upload(1))
    world.deployed()
    model = world.ledger.model("traffic", "ratchet-dev-traffic-g1")
    assert model is not None
    assert model.saw_withdrawn == ()
    assert withdraw(world, samples.upload(1)).models == ()


def test_a_model_whose_run_took_its_snapshot_before_is_marked_when_it_is_judged(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    assert withdraw(world, samples.upload(2)).models == ()
    world.preprocess(plan)
    selection = world.select(run, plan, world.train(plan))
    world.score(selection)
    world.evaluate(run, plan, selection)
    model = world.ledger.model("traffic", selection.model_name)
    assert model is not None
    assert model.saw_withdrawn == (samples.upload(2).upload_id,)


def test_withdrawing_again_changes_nothing(world: World) -> None:
    assert withdraw(world, samples.upload(1)).new
    before = world.ledger.pipeline("traffic")
    assert not withdraw(world, samples.upload(1)).new
    assert world.ledger.pipeline("traffic") == before


def test_without_any_upload_left_there_is_nothing_to_train(world: World) -> None:
    world.deployed()
    for number in (1, 2):
        withdraw(world, samples.upload(number))
    assert world.plan(world.start()).outcome == "NOTHING_TO_DO"
    state = world.state
    assert state.champion is not None
    assert world.ledger.runs("traffic")[-1].outcome is RunOutcome.NOTHING_TO_DO


def test_what_nobody_saw_cannot_be_withdrawn(world: World) -> None:
    with pytest.raises(UploadUnknownError):
        withdraw(world, samples.upload(9))
