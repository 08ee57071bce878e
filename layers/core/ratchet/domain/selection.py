"""Select Candidate: the best model on the validation split goes before the judge."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ratchet.contracts.run import (
    Candidate,
    GlueJobRun,
    ModelToScore,
    PreprocessPlan,
    Run,
    RunPlan,
    Selection,
    TrainingResult,
    TrainPlan,
)
from ratchet.contracts.states import SelectCandidateRequest, TrainedCandidate
from ratchet.domain import identity
from ratchet.domain.errors import EventInvalidError, StepOutputMissingError
from ratchet.domain.ledger import Ledger, Step, note
from ratchet.domain.ports import Clock, ObjectStore, TrainingJobs
from ratchet.domain.prices import glue_job_dollars, instance_dollars

VALIDATION_METRIC = "validation_score"  # as the training job's MetricDefinitions name it

# Script mode serves from the model's own code folder.
SERVING_ENVIRONMENT = {
    "SAGEMAKER_PROGRAM": "inference.py",
    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
}


@dataclass(frozen=True)
class SelectCandidate:
    """Records every step output by its key, then chooses; the holdout plays no part in it."""

    ledger: Ledger
    store: ObjectStore
    jobs: TrainingJobs
    clock: Clock
    artifacts_bucket: str
    resource_prefix: str

    def __call__(self, request: SelectCandidateRequest) -> Selection:
        run, plan = request.run, request.plan
        preprocess, train = steps_of(plan)
        self._record_preprocess(run, preprocess)
        trained = [
            self._record_trained(run, candidate, job.training_job_name)
            for candidate, job in _paired(train, request.trained)
        ]
        best = best_candidate([*train.reused, *trained])
        selection = Selection(
            candidate=best,
            model_name=identity.model_name(self.resource_prefix, run.run_id),
            image_uri=train.image_uri,
            environment=SERVING_ENVIRONMENT,
            holdout_uri=f"{preprocess.output_uri}holdout/",
            models_to_score=tuple(self._models_to_score(run, plan, best)),
        )
        note(self.ledger, run, selection=selection)
        return selection

    def _record_preprocess(self, run: Run, preprocess: PreprocessPlan) -> None:
        output = preprocess.output_uri
        found = self.store.list(output)
        if f"{output}summary.json" not in found:
            raise StepOutputMissingError(f"preprocessing left no summary.json under {output}")
        if preprocess.known and self.ledger.step(run.pipeline, preprocess.key) is not None:
            return
        job = preprocess.job or GlueJobRun()
        step = Step(
            key=preprocess.key,
            kind="preprocess",
            run_id=run.run_id,
            output_uri=output,
            made_at=self.clock(),
            objects=len(found),
            seconds=job.seconds,
            dollars=glue_job_dollars(job.seconds, job.worker_type, job.workers),
        )
        self.ledger.put_step(run.pipeline, step)

    def _record_trained(self, run: Run, planned: Candidate, job: str) -> Candidate:
        result = self.jobs.completed(job)
        if result is None:
            raise StepOutputMissingError(f"training job {job} ended, but SageMaker does not call it Completed")
        if not self.store.exists(result.model_uri):
            raise StepOutputMissingError(f"training job {job} reported {result.model_uri}, which is not there")
        candidate = with_result(planned, result)
        if candidate.validation_score is None:
            raise StepOutputMissingError(
                f"training job {job} reported no metric {VALIDATION_METRIC}: its script must print the line "
                f"{VALIDATION_METRIC}=<number> for the validation channel, and NaN is no number"
            )
        self.ledger.put_step(run.pipeline, trained_step(run, candidate, result, self.clock()))
        return candidate

    def _models_to_score(self, run: Run, plan: RunPlan, best: Candidate) -> Iterator[ModelToScore]:
        yield self._to_score(run, "candidate", identity.model_name(self.resource_prefix, run.run_id))
        # A champion that is the very same model has the same scores.
        if plan.champion is not None and plan.champion.model_uri != best.model_uri:
            yield self._to_score(run, "champion", plan.champion.model_name)

    def _to_score(self, run: Run, role: str, model_name: str) -> ModelToScore:
        return ModelToScore(
            role=role,
            model_name=model_name,
            job_name=identity.job_name(self.resource_prefix, run.run_id, f"score-{role}"),
            output_uri=f"s3://{self.artifacts_bucket}/runs/{run.pipeline}/{run.run_id}/scores/{role}/",
        )


def steps_of(plan: RunPlan) -> tuple[PreprocessPlan, TrainPlan]:
    """The plan's two steps; a plan with new work has both."""
    if plan.preprocess is None or plan.train is None:
        raise EventInvalidError("plan.preprocess and plan.train: both are needed once there is new work")
    return plan.preprocess, plan.train


def best_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """The greatest validation score; the first of equals."""
    return max(candidates, key=_score)


def _score(candidate: Candidate) -> float:
    return -math.inf if candidate.validation_score is None else candidate.validation_score


def with_result(candidate: Candidate, result: TrainingResult) -> Candidate:
    """The candidate with what its training job left."""
    return candidate.model_copy(
        update={
            "training_job_name": result.training_job_name,
            "model_uri": result.model_uri,
            "validation_score": validation_score(result),
        }
    )


def trained_step(run: Run, candidate: Candidate, result: TrainingResult, now: datetime) -> Step:
    """The record by which later runs find the model, and what it cost."""
    dollars = instance_dollars(result.instance_type, result.billable_seconds) if result.instance_type else None
    return Step(
        key=candidate.key,
        kind="train",
        run_id=run.run_id,
        output_uri=candidate.output_uri,
        made_at=now,
        candidate=candidate,
        seconds=result.billable_seconds,
        dollars=dollars,
    )


def _paired(train: TrainPlan, jobs: Sequence[TrainedCandidate]) -> Iterator[tuple[Candidate, TrainedCandidate]]:
    if len(jobs) != len(train.candidates):
        raise EventInvalidError(f"trained: {len(jobs)} jobs for {len(train.candidates)} candidates")
    return zip(train.candidates, jobs, strict=True)


def validation_score(result: TrainingResult) -> float | None:
    """The score that the training script printed; None when it printed none."""
    scores = [metric["Value"] for metric in result.metrics if metric.get("MetricName") == VALIDATION_METRIC]
    return float(str(scores[0])) if scores else None
