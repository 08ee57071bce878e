"""A run starts at the first step whose output is not there: recorded, left behind by a run that died, or deleted."""

from typing import Any

import pytest

from ratchet.contracts.run import GlueJobRun, Run, RunOutcome, RunPlan, TaskError
from ratchet.domain.prices import glue_dollars, instance_dollars
from tests.unit.world import World

STOPPED = TaskError(error="ExecutionStopped", cause="stopped by hand")
GRID = {"hyperparameters": {"max_depth": 8}, "candidates": [{"max_depth": 4}]}


@pytest.fixture
def world() -> World:
    world = World()
    world.apply(train=GRID)
    world.accept()
    return world


def stop(world: World, run: Run) -> RunPlan:
    """Ends the run as killed from outside; the plan of the run that follows."""
    world.close(run, RunOutcome.FAILED, error=STOPPED)
    return world.plan(world.start(forced=True))


def keys(plan: RunPlan) -> tuple[bool, list[str], list[str]]:
    assert plan.preprocess is not None
    assert plan.train is not None
    return plan.preprocess.known, [c.name for c in plan.train.candidates], [c.name for c in plan.train.reused]


def test_nothing_is_reused_of_a_run_that_died_at_once(world: World) -> None:
    run = world.start()
    world.plan(run)
    assert keys(stop(world, run)) == (False, ["c1", "c2"], [])


def test_preprocessing_that_ended_before_its_run_died_is_adopted(world: World) -> None:
    run = world.start()
    world.preprocess(world.plan(run))
    plan = stop(world, run)
    assert keys(plan) == (True, ["c1", "c2"], [])
    assert plan.preprocess is not None
    again = world.workflow.started[-1]
    world.select(again, plan, world.train(plan, (0.9, 0.91)))
    assert world.ledger.step("traffic", plan.preprocess.key) is not None


def test_training_that_ended_before_its_run_died_is_adopted_with_its_score(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    trained = world.train(plan, (0.91,))  # the second candidate never ended
    later = stop(world, run)
    assert keys(later) == (True, ["c2"], ["c1"])
    assert later.train is not None
    adopted = later.train.reused[0]
    assert (adopted.model_uri, adopted.validation_score) == (trained[0].model_uri, 0.91)
    step = world.ledger.step("traffic", adopted.key)
    assert step is not None
    assert (step.seconds, step.dollars) == (40, instance_dollars("ml.m5.large", 40))


@pytest.mark.parametrize("fault", ["unknown to SageMaker", "another job's", "without a score"])
def test_a_model_whose_job_cannot_be_vouched_for_is_trained_again(world: World, fault: str) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    (result,) = world.train(plan, (0.91,))
    name = result.training_job_name
    changes: dict[str, dict[str, Any]] = {
        "another job's": {"model_uri": "s3://a/b"},
        "without a score": {"metrics": ()},
    }
    if fault in changes:
        world.jobs.ended[name] = result.model_copy(update=changes[fault])
    else:
        del world.jobs.ended[name]
    assert keys(stop(world, run)) == (True, ["c1", "c2"], [])


@pytest.mark.parametrize("part", ["summary.json", "train/", "validation/", "holdout/"])
def test_preprocessing_with_something_deleted_runs_again(world: World, part: str) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    world.select(run, plan, world.train(plan, (0.9, 0.91)))
    assert plan.preprocess is not None
    for uri in world.store.list(f"{plan.preprocess.output_uri}{part}"):
        world.store.remove(uri)
    assert keys(stop(world, run)) == (False, [], ["c1", "c2"])


def test_one_file_of_many_deleted_is_noticed(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    assert plan.preprocess is not None
    second = f"{plan.preprocess.output_uri}train/part-1.parquet"
    world.store.write(second, b"rows")
    world.select(run, plan, world.train(plan, (0.9, 0.91)))
    world.store.remove(second)
    assert keys(stop(world, run))[0] is False


def test_a_deleted_model_is_trained_again(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    first, _ = trained = world.train(plan, (0.9, 0.91))
    world.select(run, plan, trained)
    world.store.remove(first.model_uri)
    assert keys(stop(world, run)) == (True, ["c1"], ["c2"])


def test_a_step_knows_what_it_cost(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    assert plan.preprocess is not None
    job = GlueJobRun.model_validate({"ExecutionTime": 90, "WorkerType": "G.1X", "NumberOfWorkers": 2, "Id": "jr"})
    ran = plan.model_copy(update={"preprocess": plan.preprocess.model_copy(update={"job": job})})
    world.select(run, ran, world.train(plan, (0.9, 0.91)))
    step = world.ledger.step("traffic", plan.preprocess.key)
    assert step is not None
    assert (step.seconds, step.dollars, step.objects) == (90, glue_dollars(90, 2), 4)


def test_a_changed_hyperparameter_trains_and_does_not_preprocess(world: World) -> None:
    world.apply()
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    world.apply(train={"hyperparameters": {"max_depth": 6}})
    assert keys(world.plan(world.start())) == (True, ["c1"], [])
