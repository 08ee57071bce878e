"""Evaluate Model: joins the scores, asks the gate, and writes the decision down for people and machines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ratchet.contracts.base import Finding
from ratchet.contracts.run import Champion, Evaluation, Run
from ratchet.contracts.states import EvaluateModelRequest
from ratchet.domain.comparing import RESAMPLES, SEED
from ratchet.domain.definition import CLASSIFICATION_METRICS, CompiledDefinition, Definition, GateSection, Metric
from ratchet.domain.errors import ScoringIncompleteError
from ratchet.domain.gate import Decision, Holdout, Rule, judge, naive_score
from ratchet.domain.judged import Judged, read_judged
from ratchet.domain.ledger import Ledger, Model, note
from ratchet.domain.metrics import Floats, score
from ratchet.domain.ports import Clock, ObjectStore
from ratchet.domain.scores import utc_time
from ratchet.domain.selection import steps_of
from ratchet.domain.withdrawing import mark_new_model

_NAMED = 5  # classes an error names

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
        run, plan = request.run, request.plan
        preprocess, train = steps_of(plan)
        definition = CompiledDefinition.model_validate(self.store.read_json(train.definition_uri)).definition
        summary = self.store.read_json(f"{preprocess.output_uri}summary.json")
        judged = self._read(definition, request)
        holdout = holdout_of(definition, judged, plan.champion, summary.get("naive") or {})
        decision = judge(
            definition.gate,
            holdout,
            judged.answers["candidate"],
            judged.answers.get("champion"),
            self._same_model(request),
        )
        evaluation = self._evaluation(run, definition.gate, decision, judged, summary.get("trained_until"))
        document = decision_document(request, definition, decision, evaluation, judged)
        document["metrics"] = all_scores(holdout, judged)
        document["naive"] = summary.get("naive")
        document["holdout"]["fresh_rows"] = int(holdout.fresh.sum())
        if definition.data.timestamp is None:
            document["holdout_uses"] = self._holdout_uses(run)
        self.store.write_json(evaluation.decision_uri, document)
        model = self._model(request, evaluation)
        self.ledger.put_model(run.pipeline, model)
        mark_new_model(self.ledger, self.store, run.pipeline, model)
        note(self.ledger, run, evaluation=evaluation, finding=evaluation.finding)
        return evaluation

    def _read(self, definition: Definition, request: EvaluateModelRequest) -> Judged:
        slices = definition.gate.slices
        return read_judged(
            self.store,
            request.selection.holdout_uri,
            {model.role: model.output_uri for model in request.selection.models_to_score},
            classification=definition.data.task == "classification",
            columns=slices.columns if slices else (),
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
        self, run: Run, gate: GateSection, decision: Decision, judged: Judged, trained_until: str | None
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
            finding=None if decision.promote else finding_of(run, decision, judged, decision_uri),
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


def finding_of(run: Run, decision: Decision, judged: Judged, decision_uri: str) -> Finding:
    """What people are told of a refusal."""
    first = decision.failed[0]
    return Finding(
        what=f"The candidate of {run.run_id} was refused and is not deployed.",
        where=f"gate.{first.name}, on {span_of(judged)}; every number is in {decision_uri}",
        why="; ".join(rule.sentence for rule in decision.failed),
        fix=_FIX[first.name],
    )


def span_of(judged: Judged) -> str:
    """The holdout's size, and its first and last time when it has one."""
    if judged.times is None:
        return f"{len(judged.rows)} holdout rows"
    first, last = (
        np.datetime_as_string(time, unit="m").replace("T", " ") for time in (judged.times.min(), judged.times.max())
    )
    return f"{len(judged.rows)} holdout rows from {first} to {last}"


def decision_document(
    request: EvaluateModelRequest,
    definition: Definition,
    decision: Decision,
    evaluation: Evaluation,
    judged: Judged,
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
        "holdout": {"uri": selection.holdout_uri, "rows": len(judged.rows), "span": span_of(judged)},
        "candidate": {"model_name": selection.model_name, **selection.candidate.model_dump(mode="json")},
        "champion": champion.model_dump(mode="json") if champion else None,
        "snapshot_id": plan.snapshot_id,
        "definition_id": plan.definition_id,
        "uploads": plan.uploads,
        "trained_until": evaluation.trained_until,
        "statistics": {"resamples": RESAMPLES, "seed": SEED},
    }


def holdout_of(definition: Definition, judged: Judged, champion: Champion | None, naive: Mapping[str, Any]) -> Holdout:
    """The joined rows as the gate takes them; `naive` is what preprocessing says of the naive forecast."""
    return Holdout(
        actual=judged.actual,
        naive=judged.naive,
        fresh=_fresh(judged, champion),
        days=None if judged.times is None else judged.times.astype("datetime64[D]"),
        slices=judged.columns,
        naive_shares=_shares(judged.classes, naive.get("shares")),
        naive_is=naive.get("words") or "the naive forecast",
        positive=_positive(definition.gate, judged.classes),
    )


def _fresh(judged: Judged, champion: Champion | None) -> NDArray[np.bool_]:
    """Rows newer than all that the champion was trained on."""
    until = utc_time(champion.trained_until) if champion else None
    if until is None or judged.times is None:
        return np.ones(len(judged.rows), dtype=bool)
    newer: NDArray[np.bool_] = judged.times > np.datetime64(until.replace(tzinfo=None), "us")
    return newer


def _positive(gate: GateSection, classes: Sequence[str] | None) -> int | None:
    if gate.positive is None or classes is None:
        return None
    if gate.positive not in classes:
        raise ScoringIncompleteError(
            f"gate.positive names the class {gate.positive!r}, which neither the holdout nor a model knows; they know"
            f" {', '.join(classes[:_NAMED])}"
        )
    return classes.index(gate.positive)


def _shares(classes: Sequence[str] | None, shares: Mapping[str, float] | None) -> Floats | None:
    if classes is None or not shares:
        return None
    return np.array([shares.get(name, 0.0) for name in classes])


def all_scores(holdout: Holdout, judged: Judged) -> dict[str, dict[str, float | None]]:
    """Every metric that fits the task, of each model and of the naive forecast, on the whole holdout."""
    fitting = [name for name in get_args(Metric) if (name in CLASSIFICATION_METRICS) == (judged.classes is not None)]
    table: dict[str, dict[str, float | None]] = {}
    for name in fitting:
        table[name] = {
            role: score(name, judged.actual, answers, holdout.positive) for role, answers in judged.answers.items()
        }
        table[name]["naive"] = naive_score(name, holdout)
    return table
