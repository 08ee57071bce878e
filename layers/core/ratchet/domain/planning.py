"""Check Idempotency: which of a run's work is new, and under which identities the rest is done."""

from dataclasses import dataclass

from ratchet.contracts.closing import CloseRunRequest
from ratchet.contracts.run import (
    Candidate,
    Champion,
    DefinitionRef,
    PreprocessPlan,
    Rollout,
    Run,
    RunOutcome,
    RunPlan,
    Scaling,
    TrainPlan,
    Watch,
)
from ratchet.contracts.states import CheckIdempotencyRequest
from ratchet.domain import identity
from ratchet.domain.closing import CloseRun
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.errors import StaleRunError
from ratchet.domain.ledger import Ledger, PipelineState, RunRecord, Snapshot, Step, Verdict, claim_of
from ratchet.domain.ports import Clock, ObjectStore, TrainingJobs
from ratchet.domain.selection import trained_step, validation_score, with_result
from ratchet.domain.snapshots import manifest

PARTS = ("train", "validation", "holdout")
MODEL_FILE = "/output/model.tar.gz"


@dataclass(frozen=True)
class CheckIdempotency:
    """Builds the run's plan; when nothing is new it closes the run itself."""

    ledger: Ledger
    store: ObjectStore
    jobs: TrainingJobs
    close: CloseRun
    clock: Clock
    artifacts_bucket: str
    resource_prefix: str

    def __call__(self, request: CheckIdempotencyRequest) -> RunPlan:
        run = request.run
        record = self.ledger.run(run.pipeline, run.run_id)
        if record is not None and record.outcome is not None:
            return self._answer_again(request, record)
        # work_seq before the verdicts: the run then answers for every acceptance counted in it.
        state, definition, record = self._owned(request, record)
        verdicts = self.ledger.accepted(run.pipeline, definition.data_hash)
        plan = self._plan(run, state, definition, verdicts)
        # A run with a definition of its own answers for none of the pipeline's work.
        answers_for = record.work_seq if record.definition else state.work_seq
        known = record.model_copy(update={"plan": plan, "work_seq": answers_for, "because": plan.because})
        self.ledger.put_run(claim_of(run, request.execution_arn), known)
        if plan.outcome == "NOTHING_TO_DO":
            self._close(request)
        return plan

    def _owned(
        self, request: CheckIdempotencyRequest, record: RunRecord | None
    ) -> tuple[PipelineState, DefinitionRef, RunRecord]:
        run = request.run
        state = self.ledger.pipeline(run.pipeline)
        owns = state is not None and (state.owner, state.fence) == (request.execution_arn, run.fence)
        if state is None or state.definition is None or record is None or not owns:
            raise StaleRunError(f"{run.run_id} does not own pipeline {run.pipeline}; a later claim does, or none")
        return state, record.definition or state.definition, record

    def _answer_again(self, request: CheckIdempotencyRequest, record: RunRecord) -> RunPlan:
        """Lambda may deliver a request again after its answer was lost."""
        if record.outcome is not RunOutcome.NOTHING_TO_DO or record.plan is None:
            raise StaleRunError(f"{record.run_id} is closed already: {record.outcome}")
        self._close(request)
        return record.plan

    def _close(self, request: CheckIdempotencyRequest) -> None:
        self.close(
            CloseRunRequest(run=request.run, execution_arn=request.execution_arn, outcome=RunOutcome.NOTHING_TO_DO)
        )

    def _plan(self, run: Run, state: PipelineState, definition: DefinitionRef, verdicts: list[Verdict]) -> RunPlan:
        if not verdicts:
            because = f"no upload of {run.pipeline} was accepted under the current data contract"
            return RunPlan(outcome="NOTHING_TO_DO", because=because, work_seq=state.work_seq)
        snapshot_id = identity.snapshot_id([verdict.verdict_id for verdict in verdicts])
        final = self.ledger.final_run(run.pipeline, snapshot_id, definition.definition_id)
        if final and not run.forced:
            return RunPlan(
                outcome="NOTHING_TO_DO",
                because=f"{final} already judged these {len(verdicts)} uploads under this definition",
                snapshot_id=snapshot_id,
                definition_id=definition.definition_id,
                work_seq=state.work_seq,
                uploads=len(verdicts),
            )
        manifest_uri = self._store_snapshot(run.pipeline, snapshot_id, verdicts)
        compiled = CompiledDefinition.model_validate(self.store.read_json(definition.uri))
        preprocess = self._preprocess(snapshot_id, manifest_uri, definition, compiled)
        return RunPlan(
            outcome="NEW_WORK",
            because=f"{len(verdicts)} uploads under definition {definition.definition_id[:12]}",
            snapshot_id=snapshot_id,
            definition_id=definition.definition_id,
            work_seq=state.work_seq,
            uploads=len(verdicts),
            preprocess=preprocess,
            train=self._train(run, preprocess, definition, compiled),
            champion=state.champion,
            rollout=self._rollout(run.pipeline, compiled.definition.deploy, state.champion),
        )

    def _rollout(self, pipeline: str, deploy: DeploySection, champion: Champion | None) -> Rollout:
        """A shadow needs a champion at the endpoint that the candidate is to have."""
        endpoint = identity.endpoint_name(self.resource_prefix, pipeline, deploy.mode)
        serves_there = champion is not None and champion.endpoint_name == endpoint
        shadow = deploy.strategy == "shadow" and serves_there
        scaling = deploy.autoscaling
        return Rollout(
            trial=deploy.verify == "before",
            approval=deploy.approval == "required",
            shadow=shadow,
            bake_seconds=int(deploy.bake.total_seconds()) if shadow and deploy.bake else 0,
            watch=Watch.model_validate(deploy.alarms.model_dump()),
            scaling=Scaling.model_validate(scaling.model_dump()) if scaling else None,
        )

    def _store_snapshot(self, pipeline: str, snapshot_id: str, verdicts: list[Verdict]) -> str:
        uri = f"s3://{self.artifacts_bucket}/snapshots/{pipeline}/{snapshot_id}.json"
        self.store.write_json(uri, manifest(pipeline, snapshot_id, verdicts))
        snapshot = Snapshot(snapshot_id=snapshot_id, manifest_uri=uri, uploads=len(verdicts), created_at=self.clock())
        self.ledger.put_snapshot(pipeline, snapshot)
        return uri

    def _preprocess(
        self, snapshot_id: str, manifest_uri: str, definition: DefinitionRef, compiled: CompiledDefinition
    ) -> PreprocessPlan:
        key = identity.preprocess_key(snapshot_id, compiled)
        output = f"s3://{self.artifacts_bucket}/steps/{compiled.pipeline}/preprocess/{key}/"
        return PreprocessPlan(
            key=key,
            known=self._is_complete(output, self.ledger.step(compiled.pipeline, key)),
            output_uri=output,
            script_uri=compiled.code.preprocess_uri,
            arguments={
                "--script_uri": compiled.code.preprocess_uri,
                "--snapshot": manifest_uri,
                "--definition": definition.uri,
                "--output": output,
                "--additional-python-modules": compiled.code.wheel_uri,
            },
        )

    def _is_complete(self, output: str, step: Step | None) -> bool:
        """Whether every object that the job wrote is still there; a run that died may have left it unrecorded."""
        found = self.store.list(output)
        written = all(any(uri.startswith(f"{output}{part}/") for uri in found) for part in PARTS)
        recorded = step.objects if step is not None and step.objects is not None else 0
        # The job writes its summary last.
        return f"{output}summary.json" in found and written and len(found) >= recorded

    def _train(
        self, run: Run, preprocess: PreprocessPlan, definition: DefinitionRef, compiled: CompiledDefinition
    ) -> TrainPlan:
        candidates = [self._trained(run, candidate) for candidate in self._candidates(run, preprocess.key, compiled)]
        return TrainPlan(
            image_uri=compiled.image_uri,
            train_uri=f"{preprocess.output_uri}train/",
            validation_uri=f"{preprocess.output_uri}validation/",
            definition_uri=definition.uri,
            max_runtime_seconds=int(compiled.definition.train.max_runtime.total_seconds()),
            candidates=tuple(candidate for candidate in candidates if candidate.model_uri is None),
            reused=tuple(candidate for candidate in candidates if candidate.model_uri is not None),
        )

    def _candidates(self, run: Run, preprocess_key: str, compiled: CompiledDefinition) -> list[Candidate]:
        train = compiled.definition.train
        sets = {
            identity.train_key(preprocess_key, compiled, hyperparameters): hyperparameters
            for hyperparameters in ({**train.hyperparameters, **extra} for extra in ({}, *train.candidates))
        }
        return [
            Candidate(
                name=f"c{number}",
                key=key,
                job_name=identity.job_name(self.resource_prefix, run.run_id, f"c{number}"),
                hyperparameters={
                    **{name: str(value) for name, value in hyperparameters.items()},
                    "sagemaker_program": "train.py",
                    "sagemaker_submit_directory": compiled.code.model_uri,
                },
                output_uri=f"s3://{self.artifacts_bucket}/steps/{run.pipeline}/train/{key}/",
            )
            for number, (key, hyperparameters) in enumerate(sets.items(), start=1)
        ]

    def _trained(self, run: Run, candidate: Candidate) -> Candidate:
        """The candidate with the model an earlier run trained for the same key, when that still exists."""
        step = self.ledger.step(run.pipeline, candidate.key)
        earlier = step.candidate if step else None
        if earlier is None or earlier.model_uri is None or not self.store.exists(earlier.model_uri):
            return self._adopted(run, candidate)
        result = {"training_job_name", "model_uri", "validation_score"}
        return candidate.model_copy(update=earlier.model_dump(include=result))

    def _adopted(self, run: Run, candidate: Candidate) -> Candidate:
        """A job may have ended after its run had died: its model stands under the key, and SageMaker has its score."""
        for uri in self.store.list(candidate.output_uri):
            if not uri.endswith(MODEL_FILE):
                continue
            result = self.jobs.completed(uri.removeprefix(candidate.output_uri).partition("/")[0])
            if result is not None and result.model_uri == uri and validation_score(result) is not None:
                adopted = with_result(candidate, result)
                self.ledger.put_step(run.pipeline, trained_step(run, adopted, result, self.clock()))
                return adopted
        return candidate
