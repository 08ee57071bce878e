"""Evaluate Model: joins the scores, asks the gate, and writes the decision down for people and machines."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ratchet.contracts.base import Finding
from ratchet.contracts.run import Champion, EvaluateModelRequest, Evaluation, Run
from ratchet.domain.definition import CompiledDefinition, Definition, GateSection
from ratchet.domain.gate import RESAMPLES, SEED, Decision, Holdout, Rule, judge
from ratchet.domain.ledger import Ledger, Model, note
from ratchet.domain.metrics import Answers, Floats
from ratchet.domain.ports import Clock, ObjectStore
from ratchet.domain.scores import HoldoutRow, classes_of, holdout_rows, label, predictions, utc_time
from ratchet.domain.selection import steps_of
from ratchet.domain.withdrawing import mark_new_model

_FIX = {
    "threshold": "Add more or better data or features; lower gate.threshold only if less is good enough.",
    "beat_naive": "Look at the features: a model that a repeated past beats has learned too little from them.",
    "champion": "Nothing needs to be done: the champion serves on, and the next upload brings fresh rows.",
    "slices": "Look at the rows of the named slice, or allow more with gate.slices.max_regression.",
}


@dataclass(frozen=True)
class EvaluateModel:
    """The judge: it neither trains nor deploys, and everything it decides stands in S3 and the ledger."""

    ledger: Ledger
    store: ObjectStore
    clock: Clock
    artifacts_bucket: str

    def __call__(self, request: EvaluateModelRequest) -> Evaluation:
        run, plan, selection = request.run, request.plan, request.selection
        preprocess, train = steps_of(plan)
        definition = CompiledDefinition.model_validate(self.store.read_json(train.definition_uri)).definition
        rows = holdout_rows(self.store, selection.holdout_uri)
        decision = self._decide(definition, request, rows)
        summary = self.store.read_json(f"{preprocess.output_uri}summary.json")
        evaluation = self._evaluation(run, definition.gate, decision, rows, summary.get("trained_until"))
        document = decision_document(request, definition, decision, evaluation, rows)
        if definition.data.timestamp is None:
            document["holdout_uses"] = self._holdout_uses(run)
        self.store.write_json(evaluation.decision_uri, document)
        model = self._model(request, evaluation)
        self.ledger.put_model(run.pipeline, model)
        mark_new_model(self.ledger, self.store, run.pipeline, model)
        note(self.ledger, run, evaluation=evaluation, finding=evaluation.finding)
        return evaluation

    def _decide(self, definition: Definition, request: EvaluateModelRequest, rows: list[HoldoutRow]) -> Decision:
        scored = {
            model.role: predictions(self.store, model.output_uri, (row.row for row in rows))
            for model in request.selection.models_to_score
        }
        classes = classes_of(rows, scored.values()) if definition.data.task == "classification" else None
        return judge(
            definition.gate,
            _holdout(definition, rows, classes, request.plan.champion),
            _answers(rows, scored["candidate"], classes),
            _answers(rows, scored["champion"], classes) if "champion" in scored else None,
            self._same_model(request),
        )

    def _same_model(self, request: EvaluateModelRequest) -> Rule | None:
        """When the candidate is the champion's own model, only a changed definition is a reason to deploy it again."""
        champion = request.plan.champion
        if champion is None or champion.model_uri != request.selection.candidate.model_uri:
            return None
        earlier = self.ledger.run(request.run.pipeline, champion.run_id)
        if earlier and earlier.plan and earlier.plan.definition_id == request.plan.definition_id:
            return Rule("champion", False, "it is the champion itself, which serves already")
        return Rule("champion", True, "it is the champion itself, to be deployed as the changed definition says")

    def _evaluation(
        self, run: Run, gate: GateSection, decision: Decision, rows: list[HoldoutRow], trained_until: str | None
    ) -> Evaluation:
        decision_uri = f"s3://{self.artifacts_bucket}/runs/{run.pipeline}/{run.run_id}/decision.json"
        return Evaluation(
            outcome="PROMOTE" if decision.promote else "REFUSE",
            metric=gate.metric,
            candidate=decision.candidate,
            champion=decision.champion,
            naive=decision.naive,
            threshold=gate.threshold,
            sentence=sentence_of(run, decision),
            finding=None if decision.promote else finding_of(run, decision, rows, decision_uri),
            decision_uri=decision_uri,
            trained_until=trained_until,
        )

    def _holdout_uses(self, run: Run) -> int:
        """A hash split gives every run nearly the same holdout: the more often it judged, the less it is worth."""
        others = (r for r in self.ledger.runs(run.pipeline) if r.run_id != run.run_id)
        return 1 + sum(record.evaluation is not None for record in others)

    def _model(self, request: EvaluateModelRequest, evaluation: Evaluation) -> Model:
        plan, selection = request.plan, request.selection
        return Model(
            model_name=selection.model_name,
            run_id=request.run.run_id,
            model_uri=str(selection.candidate.model_uri),
            image_uri=selection.image_uri,
            snapshot_id=str(plan.snapshot_id),
            definition_id=str(plan.definition_id),
            preprocess_key=steps_of(plan)[0].key,
            train_key=selection.candidate.key,
            training_job_name=selection.candidate.training_job_name,
            hyperparameters=selection.candidate.hyperparameters,
            decision_uri=evaluation.decision_uri,
            outcome=evaluation.outcome,
            judged_at=self.clock(),
        )


def sentence_of(run: Run, decision: Decision) -> str:
    """The decision in one sentence."""
    if decision.promote:
        return f"{run.run_id} is promoted: {'; '.join(rule.sentence for rule in decision.rules)}."
    return f"{run.run_id} is refused: {'; '.join(rule.sentence for rule in decision.failed)}."


def finding_of(run: Run, decision: Decision, rows: list[HoldoutRow], decision_uri: str) -> Finding:
    """What people are told of a refusal."""
    first = decision.failed[0]
    return Finding(
        what=f"The candidate of {run.run_id} was refused and is not deployed.",
        where=f"gate.{first.name}, on {span_of(rows)}; every number is in {decision_uri}",
        why="; ".join(rule.sentence for rule in decision.failed),
        fix=_FIX[first.name],
    )


def span_of(rows: list[HoldoutRow]) -> str:
    """The holdout's size, and its first and last time when it has one."""
    times = [row.time for row in rows if row.time is not None]
    when = f" from {min(times):%Y-%m-%d %H:%M} to {max(times):%Y-%m-%d %H:%M}" if times else ""
    return f"{len(rows)} holdout rows{when}"


def decision_document(
    request: EvaluateModelRequest,
    definition: Definition,
    decision: Decision,
    evaluation: Evaluation,
    rows: list[HoldoutRow],
) -> dict[str, Any]:
    """Everything the decision rests on, for `ratchet show`, the model registry and whoever doubts it later."""
    plan, selection, champion = request.plan, request.selection, request.plan.champion
    return {
        "pipeline": request.run.pipeline,
        "run_id": request.run.run_id,
        "outcome": evaluation.outcome,
        "sentence": evaluation.sentence,
        "finding": evaluation.finding.model_dump() if evaluation.finding else None,
        "gate": definition.gate.model_dump(mode="json"),
        "scores": {"candidate": decision.candidate, "champion": decision.champion, "naive": decision.naive},
        "rules": [asdict(rule) for rule in decision.rules],
        "holdout": {"uri": selection.holdout_uri, "rows": len(rows), "span": span_of(rows)},
        "candidate": {"model_name": selection.model_name, **selection.candidate.model_dump(mode="json")},
        "champion": champion.model_dump(mode="json") if champion else None,
        "snapshot_id": plan.snapshot_id,
        "definition_id": plan.definition_id,
        "uploads": plan.uploads,
        "trained_until": evaluation.trained_until,
        "statistics": {"resamples": RESAMPLES, "seed": SEED},
    }


def _holdout(
    definition: Definition, rows: list[HoldoutRow], classes: list[str] | None, champion: Champion | None
) -> Holdout:
    timed = definition.data.timestamp is not None
    until = utc_time(champion.trained_until) if champion else None
    columns = definition.gate.slices.columns if definition.gate.slices else ()
    return Holdout(
        actual=_column([row.actual for row in rows], classes),
        naive=_column([row.naive for row in rows], classes),
        fresh=np.array([until is None or row.time is None or row.time > until for row in rows]),
        days=np.array([f"{row.time:%Y-%m-%d}" for row in rows], dtype="datetime64[D]") if timed else None,
        slices={name: np.array([label(row.record.get(name)) for row in rows]) for name in columns},
    )


def _answers(rows: list[HoldoutRow], by_row: dict[int, dict[str, Any]], classes: list[str] | None) -> Answers:
    answers = [by_row[row.row] for row in rows]
    values = _column([answer["prediction"] for answer in answers], classes)
    if classes is None:
        return Answers(values)
    named = [{label(k): float(p) for k, p in answer.get("probabilities", {}).items()} for answer in answers]
    return Answers(values, np.array([[by_class.get(name, 0.0) for name in classes] for by_class in named]))


def _column(values: list[Any], classes: list[str] | None) -> Floats:
    """Numbers as they are and classes as their codes; null becomes NaN."""
    codes = None if classes is None else {name: float(code) for code, name in enumerate(classes)}
    plain = [math.nan if v is None else float(v) if codes is None else codes[label(v)] for v in values]
    return np.array(plain, dtype=np.float64)
