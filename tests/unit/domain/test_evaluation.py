"""Evaluate Model: from scores in S3 to a decision that people and machines can read."""

import json
from typing import Any

import pytest

from ratchet.contracts.run import Evaluation, RunOutcome
from ratchet.contracts.states import EvaluateModelRequest
from ratchet.domain.errors import ScoringIncompleteError, StaleRunError
from tests.unit import samples
from tests.unit.world import World, jsonl


def decision_of(world: World, evaluation: Evaluation) -> dict[str, Any]:
    document: dict[str, Any] = world.store.read_json(evaluation.decision_uri)
    return document


def test_a_first_good_model_is_promoted(world: World) -> None:
    *_, evaluation = world.judged(until="2026-01-31T23:00:00")
    assert evaluation.outcome == "PROMOTE"
    assert (evaluation.champion, evaluation.finding) == (None, None)
    assert evaluation.naive == pytest.approx(0.8, abs=0.01)
    assert evaluation.trained_until == "2026-01-31T23:00:00"
    assert evaluation.sentence.startswith("traffic-g1 is promoted: forecast_accuracy 0.951 reaches the threshold")


def test_the_decision_document_holds_every_number_and_rule(world: World) -> None:
    world.deployed(candidate=0.08)
    world.accept()
    *_, evaluation = world.judged(candidate=0.05)
    document = decision_of(world, evaluation)
    assert json.loads(json.dumps(document)) == document
    assert [(r["name"], r["passed"]) for r in document["rules"]] == [
        ("threshold", True),
        ("beat_naive", True),
        ("champion", True),
    ]
    assert document["rules"][2]["numbers"]["blocks"] == 28
    assert document["scores"]["candidate"] == evaluation.candidate
    assert document["champion"]["run_id"] == "traffic-g1"
    assert document["candidate"]["validation_score"] == 0.93
    assert document["holdout"]["span"] == "672 holdout rows from 2026-02-01 00:00 to 2026-02-28 23:00"
    assert document["uploads"] == 2
    assert "holdout_uses" not in document


def test_a_refusal_says_what_where_why_and_what_to_do(world: World) -> None:
    run, _, _, evaluation = world.judged(candidate=0.3)
    assert evaluation.outcome == "REFUSE"
    finding = evaluation.finding
    assert finding is not None
    assert finding.what == "The candidate of traffic-g1 was refused and is not deployed."
    assert finding.where.startswith("gate.threshold, on 672 holdout rows from 2026-02-01")
    assert evaluation.decision_uri in finding.where
    assert "misses the threshold 0.900" in finding.why
    assert "gate.threshold" in finding.fix
    record = world.ledger.run("traffic", run.run_id)
    assert record is not None
    assert (record.evaluation, record.finding) == (evaluation, finding)


def test_a_worse_model_leaves_the_champion(world: World) -> None:
    world.deployed(candidate=0.03)
    world.accept()
    run, plan, selection, _ = world.judged()
    world.score(selection, candidate=0.06, champion=0.03)
    evaluation = world.evaluate(run, plan, selection)
    assert evaluation.outcome == "REFUSE"
    assert evaluation.champion == pytest.approx(0.97, abs=0.001)
    assert evaluation.finding is not None
    assert "the champion serves on" in evaluation.finding.fix


def test_a_champion_trained_on_the_holdout_is_not_compared_there(world: World) -> None:
    world.deployed(until="2026-02-20T00:00:00")
    world.accept()
    *_, evaluation = world.judged(candidate=0.01)
    assert evaluation.outcome == "REFUSE"
    assert "too little evidence against the champion: its training left 215 fresh" in evaluation.sentence


def test_lineage_is_written_for_refused_models_too(world: World) -> None:
    _, plan, selection, evaluation = world.judged(candidate=0.3)
    model = world.ledger.model("traffic", selection.model_name)
    assert model is not None
    assert plan.preprocess is not None
    assert (model.outcome, model.run_id) == ("REFUSE", "traffic-g1")
    assert (model.snapshot_id, model.definition_id) == (plan.snapshot_id, plan.definition_id)
    assert (model.preprocess_key, model.train_key) == (plan.preprocess.key, selection.candidate.key)
    assert model.decision_uri == evaluation.decision_uri


def again(world: World) -> Evaluation:
    run = world.start("manual", forced=True)
    plan = world.plan(run)
    selection = world.select(run, plan, ())
    world.score(selection)
    return world.evaluate(run, plan, selection)


def test_the_champion_itself_is_not_deployed_twice(world: World) -> None:
    world.deployed()
    evaluation = again(world)
    assert evaluation.outcome == "REFUSE"
    assert "the champion itself, which serves already" in evaluation.sentence


def test_the_champion_itself_is_deployed_anew_as_a_changed_definition_says(world: World) -> None:
    world.deployed()
    world.apply(deploy={"memory_mb": 4096})
    evaluation = again(world)
    assert evaluation.outcome == "PROMOTE"
    assert "as the changed definition says" in evaluation.sentence


def test_a_row_without_a_score_stops_the_judge(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan)
    selection = world.select(run, plan, world.train(plan))
    output = selection.models_to_score[0].output_uri
    world.store.write(f"{output}part-0.jsonl.out", jsonl([{"row": 0, "SageMakerOutput": {"prediction": 1.0}}]))
    with pytest.raises(ScoringIncompleteError, match="671 rows: 1, 2, 3, 4, 5, …"):
        world.evaluate(run, plan, selection)


def test_a_run_whose_claim_is_gone_judges_nothing(world: World) -> None:
    run, plan, selection, _ = world.judged()
    world.ledger.release(samples.claim())
    with pytest.raises(StaleRunError):
        world.evaluate_model(EvaluateModelRequest(run=run, plan=plan, selection=selection))


DATA = {
    "target": "late",
    "task": "classification",
    "columns": {"late": {"type": "string"}, "carrier": {"type": "string"}},
}
GATE = {
    "metric": "accuracy",
    "threshold": 0.6,
    "holdout": 0.2,
    "slices": {"columns": ["carrier"], "max_regression": 0.2},
}


def classified(world: World, wrong: int, champion_wrong: int = 0) -> Evaluation:
    """400 flights, a third of them late; each model is wrong on its number of them."""
    rows: list[dict[str, Any]] = [
        {
            "row": n,
            "actual": "late" if n % 3 == 0 else "on time",
            "naive": "on time",
            "time": None,
            "record": {"carrier": "UA" if n % 2 else "AA"},
        }
        for n in range(400)
    ]
    run = world.start()
    plan = world.plan(run)
    world.preprocess(plan, rows)
    selection = world.select(run, plan, world.train(plan))
    for model in selection.models_to_score:
        errors = wrong if model.role == "candidate" else champion_wrong
        answers = []
        for row in rows:
            late = (row["actual"] == "late") != (row["row"] < errors)
            probabilities = {"late": 0.8 if late else 0.1, "on time": 0.2 if late else 0.9}
            output = {"prediction": "late" if late else "on time", "probabilities": probabilities}
            answers.append({"row": row["row"], "SageMakerOutput": output})
        world.store.write(f"{model.output_uri}part-0.jsonl.out", jsonl(answers))
    evaluation = world.evaluate(run, plan, selection)
    outcome = RunOutcome.REFUSED
    world.close(run, outcome, plan=plan, selection=selection, evaluation=evaluation)
    return evaluation


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc"])
def test_a_classification_is_judged_on_the_same_terms(metric: str) -> None:
    world = World()
    world.apply(data=DATA, gate={**GATE, "metric": metric})
    world.accept()
    good = classified(world, wrong=20)
    assert good.outcome == "PROMOTE"
    world.accept()
    bad = classified(world, wrong=180)
    assert bad.outcome == "REFUSE"
    assert good.candidate > bad.candidate


def test_a_hash_split_counts_how_often_its_holdout_judged() -> None:
    world = World()
    world.apply(data=DATA, gate=GATE)
    uses = []
    for _ in range(3):
        world.accept()
        uses.append(decision_of(world, classified(world, wrong=20))["holdout_uses"])
    assert uses == [1, 2, 3]


def test_slices_of_a_classification_are_compared_with_the_champion() -> None:
    world = World()
    world.apply(data=DATA, gate=GATE)
    world.accept()
    run = world.start()
    plan = world.plan(run).model_copy(update={"champion": samples.champion()})
    world.close(run, RunOutcome.FAILED)
    state = world.state
    world.ledger._change(state, champion=plan.champion)
    world.accept()
    document = decision_of(world, classified(world, wrong=10, champion_wrong=60))
    slices = next(rule for rule in document["rules"] if rule["name"] == "slices")["numbers"]["slices"]
    assert [(item["column"], item["value"], item["rows"]) for item in slices] == [
        ("carrier", "AA", 200),
        ("carrier", "UA", 200),
    ]
