"""The ledger: what the system knows, and the protocol that keeps one run per pipeline and loses no upload."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol

from ratchet.contracts.base import Contract, Finding
from ratchet.contracts.run import (
    Candidate,
    Champion,
    DeploymentResult,
    Evaluation,
    Run,
    RunOutcome,
    RunPlan,
    Selection,
    TaskError,
    Verification,
)
from ratchet.domain.errors import StaleRunError
from ratchet.domain.identity import run_id


class DefinitionRef(Contract):
    """The definition a pipeline runs with, and what triggers need to know of it without reading S3."""

    definition_id: str
    uri: str
    data_hash: str
    settle_seconds: int
    on_upload: bool


class PipelineState(Contract):
    """A pipeline's one mutable item. It is behind when `work_seq > done_seq`."""

    pipeline: str
    definition: DefinitionRef | None = None
    applied_at: datetime | None = None
    work_seq: int = 0
    done_seq: int = 0
    fence: int = 0
    failures: int = 0  # FAILED runs in a row
    owner: str | None = None  # execution ARN
    claimed_at: datetime | None = None
    champion: Champion | None = None

    @property
    def behind(self) -> bool:
        return self.work_seq > self.done_seq


class Claim(Contract):
    """Ownership of a pipeline by one execution; every later write of the run is conditioned on it."""

    pipeline: str
    fence: int
    execution_arn: str

    @property
    def run_id(self) -> str:
        return run_id(self.pipeline, self.fence)


def claim_of(run: Run, execution_arn: str) -> Claim:
    """The claim a state machine's states act under."""
    return Claim(pipeline=run.pipeline, fence=run.fence, execution_arn=execution_arn)


class Upload(Contract):
    """The bytes of an object version. Key, version and time are of the first version seen and never change."""

    upload_id: str
    key: str
    version_id: str
    modified: datetime
    size: int

    @property
    def precedence(self) -> tuple[datetime, str]:
        """Decides which row wins on a key: the greater one."""
        return self.modified, self.upload_id


class Verdict(Contract):
    """What validation said of an upload under one data contract."""

    verdict_id: str
    upload_id: str
    data_hash: str
    outcome: Literal["ACCEPTED", "REJECTED"]
    key: str
    version_id: str
    modified: datetime
    judged_at: datetime
    rows: int = 0
    bad_rows: int = 0
    accepted_uri: str | None = None
    quarantine_uri: str | None = None
    report_uri: str | None = None
    finding: Finding | None = None

    @property
    def precedence(self) -> tuple[datetime, str]:
        return self.modified, self.upload_id


class Snapshot(Contract):
    """A pipeline's accepted uploads at one moment; the list itself stands at `manifest_uri`."""

    snapshot_id: str
    manifest_uri: str
    uploads: int
    created_at: datetime


class RunRecord(Contract):
    """All that is known of a run, as `ratchet show` prints it; `outcome` is None while it runs."""

    pipeline: str
    run_id: str
    fence: int
    execution_arn: str
    reason: str
    forced: bool = False
    started_at: datetime
    work_seq: int  # the work the run answers for
    ended_at: datetime | None = None
    outcome: RunOutcome | None = None
    because: str | None = None  # one sentence on the outcome
    plan: RunPlan | None = None
    selection: Selection | None = None
    evaluation: Evaluation | None = None
    deployment: DeploymentResult | None = None
    verification: Verification | None = None
    model_package_arn: str | None = None
    finding: Finding | None = None  # set when refused or failed
    error: TaskError | None = None
    timings: dict[str, float] = {}  # seconds by step

    @property
    def key(self) -> tuple[str, str] | None:
        """Snapshot and definition, once Check Idempotency found them."""
        if self.plan is None or self.plan.snapshot_id is None or self.plan.definition_id is None:
            return None
        return self.plan.snapshot_id, self.plan.definition_id


class Step(Contract):
    """A step's output by step key: reused by every later run that needs the same."""

    key: str
    kind: Literal["preprocess", "train"]
    run_id: str
    output_uri: str
    made_at: datetime
    candidate: Candidate | None = None  # of a train step


class Deployment(Contract):
    """An endpoint change under way; whoever sees it end answers the task token."""

    pipeline: str
    run_id: str
    fence: int
    endpoint_name: str
    wanted_config: str
    previous_config: str | None = None  # live before; None when the endpoint did not exist
    task_token: str
    started_at: datetime


class Model(Contract):
    """Where a judged model came from."""

    model_name: str
    run_id: str
    model_uri: str
    image_uri: str
    snapshot_id: str
    definition_id: str
    preprocess_key: str
    train_key: str
    training_job_name: str | None = None
    hyperparameters: dict[str, str] = {}
    decision_uri: str
    outcome: str  # PROMOTE | REFUSE
    judged_at: datetime


class Ledger(Protocol):
    """The port. Every write of the protocol is one conditional write or transaction; every read is consistent.

    Throttling and write conflicts raise DependencyBusyError from any method.
    """

    def pipeline(self, name: str) -> PipelineState | None: ...

    def pipelines(self) -> list[PipelineState]: ...

    def apply_definition(self, name: str, definition: DefinitionRef) -> bool:
        """Points the pipeline at a definition; another one than before is work. Returns whether it was."""
        ...

    def record_object(self, pipeline: str, seen: Upload) -> Upload:
        """Maps the object version `seen` to its upload, and returns the upload as it was first stored."""
        ...

    def objects(self, pipeline: str) -> dict[tuple[str, str], str]:
        """(key, version id) → upload id of every version ever judged."""
        ...

    def verdict(self, pipeline: str, verdict_id: str) -> Verdict | None: ...

    def verdicts(self, pipeline: str) -> list[Verdict]: ...

    def accept(self, pipeline: str, verdict: Verdict) -> bool:
        """Records the verdict and counts it as work, both or neither. False when it stood there already."""
        ...

    def reject(self, pipeline: str, verdict: Verdict) -> bool:
        """Records the verdict. False when it stood there already."""
        ...

    def accepted(self, pipeline: str, data_hash: str) -> list[Verdict]:
        """The accepted verdicts under a data contract, in order of precedence."""
        ...

    def claim(
        self, pipeline: str, reason: str, forced: bool, execution_arn_for: Callable[[int], str], now: datetime
    ) -> RunRecord | None:
        """Takes the pipeline for a new run and records that run; None if it is owned or has no work.

        PipelineUnknownError when no definition was applied.
        """
        ...

    def release(self, claim: Claim) -> None:
        """Undoes a claim whose execution never started; harmless when the claim is gone."""
        ...

    def put_snapshot(self, pipeline: str, snapshot: Snapshot) -> None: ...

    def snapshot(self, pipeline: str, snapshot_id: str) -> Snapshot | None: ...

    def run(self, pipeline: str, run_id: str) -> RunRecord | None: ...

    def runs(self, pipeline: str) -> list[RunRecord]:
        """Every run, oldest first."""
        ...

    def put_run(self, claim: Claim, run: RunRecord) -> None:
        """Stores what an open run found out. StaleRunError when the claim is not the pipeline's."""
        ...

    def final_run(self, pipeline: str, snapshot_id: str, definition_id: str) -> str | None:
        """The id of the run that ended DEPLOYED or REFUSED for the same work."""
        ...

    def step(self, pipeline: str, key: str) -> Step | None: ...

    def put_step(self, pipeline: str, step: Step) -> None: ...

    def put_model(self, pipeline: str, model: Model) -> None: ...

    def model(self, pipeline: str, model_name: str) -> Model | None: ...

    def begin_deployment(self, claim: Claim, deployment: Deployment) -> None:
        """Records an endpoint change before SageMaker is called. StaleRunError when the claim is not the pipeline's."""
        ...

    def deployment(self, pipeline: str) -> Deployment | None: ...

    def end_deployment(self, pipeline: str, fence: int) -> None:
        """Forgets the deployment of that fence; a newer one stays."""
        ...

    def close(self, claim: Claim, run: RunRecord, champion: Champion | None = None) -> None:
        """Records the ended run, releases the pipeline, advances `done_seq` to the run's work and, when given,
        sets the champion: all or nothing. StaleRunError when the claim is not the pipeline's."""
        ...


def note(ledger: Ledger, run: Run, **found: object) -> RunRecord:
    """Adds to an open run's record; StaleRunError when the run no longer owns its pipeline."""
    record = ledger.run(run.pipeline, run.run_id)
    if record is None:
        raise StaleRunError(f"the ledger does not know {run.run_id}; its claim was released")
    known = record.model_copy(update=found)
    ledger.put_run(claim_of(run, record.execution_arn), known)
    return known
