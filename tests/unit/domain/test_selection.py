"""Select Candidate: the best on the validation split, with its outputs proven to be there."""

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.domain.errors import EventInvalidError, StepOutputMissingError
from tests.unit import samples
from tests.unit.world import World

CANDIDATES = {"hyperparameters": {"max_depth": 8}, "candidates": [{"max_depth": 4}, {"max_depth": 2}]}


@pytest.fixture
def world() -> World:
    world = World()
    world.apply(train=CANDIDATES)
    world.accept()
    return world


def test_the_best_validation_score_wins_and_the_first_of_equals(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    selection = world.select(run, plan, world.train(plan, (-5.0, -3.0, -3.0)))
    assert selection.candidate.name == "c2"
    assert selection.candidate.validation_score == -3.0
    assert selection.model_name == "ratchet-dev-traffic-g1"
    assert selection.environment["SAGEMAKER_PROGRAM"] == "inference.py"
    assert [(m.role, m.job_name) for m in selection.models_to_score] == [
        ("candidate", "ratchet-dev-traffic-g1-score-candidate")
    ]


def test_every_output_is_recorded_by_its_key(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    world.select(run, plan, world.train(plan, (0.1, 0.2, 0.3)))
    assert plan.preprocess is not None
    assert plan.train is not None
    preprocess = world.ledger.step("traffic", plan.preprocess.key)
    assert preprocess is not None
    assert (preprocess.kind, preprocess.run_id) == ("preprocess", "traffic-g1")
    for planned, score in zip(plan.train.candidates, (0.1, 0.2, 0.3), strict=True):
        step = world.ledger.step("traffic", planned.key)
        assert step is not None
        assert step.candidate is not None
        assert step.candidate.validation_score == score


def test_a_model_of_an_earlier_run_may_win(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    world.select(run, plan, world.train(plan, (0.5, 0.9, 0.7)))
    world.close(run, RunOutcome.FAILED)
    world.apply(train={**CANDIDATES, "candidates": [{"max_depth": 4}, {"max_depth": 6}]})
    again = world.start()
    plan = world.plan(again)
    assert plan.train is not None
    assert [c.name for c in plan.train.candidates] == ["c3"]
    selection = world.select(again, plan, world.train(plan, (0.8,)))
    assert selection.candidate.training_job_name == "ratchet-dev-traffic-g1-c2-0"
    assert selection.model_name == "ratchet-dev-traffic-g2"


def test_a_champion_is_scored_beside_the_candidate(world: World) -> None:
    run = world.start()
    plan = world.plan(run).model_copy(update={"champion": samples.champion(fence=7)})
    world.preprocess(plan)
    selection = world.select(run, plan, world.train(plan, (0.1, 0.2, 0.3)))
    assert [m.role for m in selection.models_to_score] == ["candidate", "champion"]
    assert selection.models_to_score[1].model_name == "ratchet-dev-traffic-g7"


def test_a_champion_that_is_the_same_model_is_not_scored_twice(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    trained = world.train(plan, (0.9, 0.2, 0.3))
    same = samples.champion().model_copy(update={"model_uri": trained[0].model_uri})
    selection = world.select(run, plan.model_copy(update={"champion": same}), trained)
    assert [m.role for m in selection.models_to_score] == ["candidate"]


def test_a_model_that_is_not_where_the_job_said_is_an_error(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    trained = world.train(plan, (0.1, 0.2, 0.3))
    world.store.remove(trained[1].model_uri)
    with pytest.raises(StepOutputMissingError, match="traffic-g1-c2-0 reported"):
        world.select(run, plan, trained)


def test_preprocessing_without_its_summary_is_an_error(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    with pytest.raises(StepOutputMissingError, match=r"no summary\.json"):
        world.select(run, plan, world.train(plan, (0.1, 0.2, 0.3)))


def test_a_job_without_a_score_is_an_error(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    _, silent, _ = trained = world.train(plan, (0.1, 0.2, 0.3))
    world.jobs.ended[silent.training_job_name] = silent.model_copy(update={"metrics": ()})
    with pytest.raises(StepOutputMissingError, match=r"c2-0 reported no metric validation_score: .* must print"):
        world.select(run, plan, trained)


def test_a_job_that_was_stopped_is_an_error(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    trained = world.train(plan, (0.1, 0.2, 0.3))
    del world.jobs.ended["ratchet-dev-traffic-g1-c3-0"]
    with pytest.raises(StepOutputMissingError, match="c3-0 ended, but SageMaker does not call it Completed"):
        world.select(run, plan, trained)


def test_results_must_match_the_plan(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    with pytest.raises(EventInvalidError, match="1 jobs for 3 candidates"):
        world.select(run, plan, world.train(plan, (0.1,)))
    with pytest.raises(EventInvalidError, match=r"plan\.preprocess"):
        world.select(run, plan.model_copy(update={"preprocess": None}), ())
