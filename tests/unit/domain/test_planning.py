"""Check Idempotency: which work is new."""

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.contracts.states import CheckIdempotencyRequest
from ratchet.domain import identity
from ratchet.domain.errors import StaleRunError
from ratchet.domain.ledger import Verdict
from tests.unit import samples
from tests.unit.world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    return world


def test_the_snapshot_lists_accepted_uploads_in_precedence_order(world: World) -> None:
    world.accept(3)
    plan = world.plan(world.start())
    assert plan.outcome == "NEW_WORK"
    assert (plan.uploads, plan.work_seq) == (3, 4)
    assert plan.preprocess is not None
    manifest = world.store.read_json(plan.preprocess.arguments["--snapshot"])
    assert manifest["snapshot_id"] == plan.snapshot_id
    assert manifest["pipeline"] == "traffic"
    assert [(u["key"], u["precedence"]) for u in manifest["uploads"]] == [
        (f"incoming/traffic/{n}.csv", n - 1) for n in (1, 2, 3)
    ]
    assert manifest["uploads"][0]["accepted_uri"] == samples.verdict(1).accepted_uri


def test_the_glue_arguments_name_code_and_places_by_content(world: World) -> None:
    world.accept()
    plan = world.plan(world.start())
    assert plan.preprocess is not None
    compiled = samples.compiled()
    assert plan.preprocess.arguments == {
        "--script_uri": compiled.code.preprocess_uri,
        "--snapshot": f"s3://{samples.ARTIFACTS}/snapshots/traffic/{plan.snapshot_id}.json",
        "--definition": samples.definition_ref().uri,
        "--output": f"s3://{samples.ARTIFACTS}/steps/traffic/preprocess/{plan.preprocess.key}/",
        "--additional-python-modules": compiled.code.wheel_uri,
    }


def test_candidates_are_the_defaults_and_each_extra_set_over_them() -> None:
    world = World()
    world.apply(
        train={"hyperparameters": {"max_depth": 8, "eta": 0.05}, "candidates": [{"eta": 0.1}, {"max_depth": 8}]}
    )
    world.accept()
    plan = world.plan(world.start())
    assert plan.train is not None
    first, second = plan.train.candidates  # the third set is the first again
    assert (first.name, second.name) == ("c1", "c2")
    assert first.hyperparameters == {
        "max_depth": "8",
        "eta": "0.05",
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": samples.compiled().code.model_uri,
    }
    assert second.hyperparameters["eta"] == "0.1"
    assert first.job_name == "ratchet-dev-traffic-g1-c1"
    assert first.output_uri == f"s3://{samples.ARTIFACTS}/steps/traffic/train/{first.key}/"


def test_without_an_accepted_upload_there_is_nothing_to_do_and_the_run_is_closed(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    assert plan.outcome == "NOTHING_TO_DO"
    assert "no upload of traffic was accepted" in plan.because
    record = world.ledger.run("traffic", run.run_id)
    assert record is not None
    assert (record.outcome, record.because) == (RunOutcome.NOTHING_TO_DO, plan.because)
    state = world.state
    assert (state.owner, state.behind) == (None, False)


@pytest.mark.parametrize("outcome", [RunOutcome.DEPLOYED, RunOutcome.REFUSED])
def test_a_final_outcome_is_not_worked_out_again(world: World, outcome: RunOutcome) -> None:
    world.accept()
    if outcome is RunOutcome.DEPLOYED:
        world.deployed()
    else:
        run, plan, selection, evaluation = world.judged(candidate=0.5)
        world.close(run, outcome, plan=plan, selection=selection, evaluation=evaluation)
    assert world.ledger.claim("traffic", "schedule", True, samples.execution_arn, samples.NOW)
    nightly = samples.run(fence=2, reason="schedule")
    plan = world.plan(nightly)
    assert plan.outcome == "NOTHING_TO_DO"
    assert plan.because == "traffic-g1 already judged these 1 uploads under this definition"


def test_a_failed_run_is_not_final(world: World) -> None:
    world.accept()
    run = world.start()
    world.plan(run)
    world.close(run, RunOutcome.FAILED)
    assert world.plan(world.start("manual", forced=True)).outcome == "NEW_WORK"


def test_force_works_a_final_outcome_out_again_and_reuses_its_steps(world: World) -> None:
    world.accept()
    world.deployed()
    plan = world.plan(world.start("manual", forced=True))
    assert plan.outcome == "NEW_WORK"
    assert plan.preprocess is not None
    assert plan.train is not None
    assert plan.preprocess.known
    assert plan.train.candidates == ()
    (reused,) = plan.train.reused
    assert reused.validation_score == 0.93
    assert reused.training_job_name == "ratchet-dev-traffic-g1-c1-0"


def test_an_output_somebody_deleted_is_made_again(world: World) -> None:
    world.accept()
    world.deployed()
    plan = world.plan(world.start("manual", forced=True))
    assert plan.train is not None
    assert plan.preprocess is not None
    model = plan.train.reused[0].model_uri
    assert model is not None
    world.store.remove(model)
    world.store.remove(f"{plan.preprocess.output_uri}summary.json")
    world.close(world.workflow.started[-1], RunOutcome.FAILED)
    again = world.plan(world.start("manual", forced=True))
    assert again.preprocess is not None
    assert again.train is not None
    assert not again.preprocess.known
    assert [c.name for c in again.train.candidates] == ["c1"]


def test_another_gate_reuses_data_and_model(world: World) -> None:
    world.accept()
    world.deployed()
    world.apply(gate={"metric": "forecast_accuracy", "threshold": 0.8})
    plan = world.plan(world.start("schedule"))
    assert plan.preprocess is not None
    assert plan.train is not None
    assert plan.preprocess.known
    assert len(plan.train.reused) == 1


def test_another_contract_counts_only_what_it_judged(world: World) -> None:
    world.accept(2)
    world.deployed()
    world.apply(data={**samples.definition().model_dump(mode="json")["data"], "min_rows": 7})
    assert world.plan(world.start("schedule")).outcome == "NOTHING_TO_DO"


def test_the_champion_travels_with_the_plan(world: World) -> None:
    world.accept()
    world.deployed()
    world.accept()
    plan = world.plan(world.start())
    state = world.state
    assert plan.champion == state.champion


def test_uploads_accepted_after_the_work_counter_was_read_belong_to_the_next_run(world: World) -> None:
    """The counter is read before the verdicts: too many verdicts are harmless, too high a counter loses one."""
    world.accept()
    run = world.start()
    read = world.ledger.accepted

    def accepted_late(pipeline: str, data_hash: str) -> list[Verdict]:
        world.accept()
        return read(pipeline, data_hash)

    world.ledger.accepted = accepted_late  # type: ignore[method-assign]
    plan = world.plan(run)
    assert (plan.uploads, plan.work_seq) == (2, 2)
    world.close(run, RunOutcome.REFUSED)
    state = world.state
    assert (state.work_seq, state.done_seq) == (3, 2)


def test_a_run_that_lost_its_pipeline_plans_nothing(world: World) -> None:
    world.accept()
    run = world.start()
    stranger = CheckIdempotencyRequest(run=run, execution_arn=samples.execution_arn(99))
    with pytest.raises(StaleRunError, match="does not own"):
        world.check_idempotency(stranger)
    world.ledger.release(samples.claim())
    with pytest.raises(StaleRunError, match="does not own"):
        world.plan(run)


def test_asked_again_after_closing_it_answers_the_same(world: World) -> None:
    run = world.start()
    first = world.plan(run)
    assert world.plan(run) == first
    assert len(world.ledger.runs("traffic")) == 1


def test_asked_again_after_another_end_it_refuses(world: World) -> None:
    world.accept()
    run = world.start()
    world.plan(run)
    world.close(run, RunOutcome.FAILED)
    with pytest.raises(StaleRunError, match="closed already"):
        world.plan(run)


def test_nothing_to_do_starts_the_next_run_when_work_arrived_meanwhile(world: World) -> None:
    run = world.start()
    close = world.check_idempotency.close

    def close_late(request: object) -> object:
        world.accept()
        return close(request)  # type: ignore[arg-type]

    object.__setattr__(world.check_idempotency, "close", close_late)
    assert world.plan(run).outcome == "NOTHING_TO_DO"
    assert [r.run_id for r in world.workflow.started] == ["traffic-g1", "traffic-g2"]


def test_the_snapshot_is_identified_by_its_verdicts(world: World) -> None:
    world.accept(2)
    plan = world.plan(world.start())
    contract = samples.definition_ref().data_hash
    verdicts = [identity.verdict_id(samples.upload(n).upload_id, contract) for n in (1, 2)]
    assert plan.snapshot_id == identity.snapshot_id(verdicts)
    snapshot = world.ledger.snapshot("traffic", str(plan.snapshot_id))
    assert snapshot is not None
    assert snapshot.uploads == 2
