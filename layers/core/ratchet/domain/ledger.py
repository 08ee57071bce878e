"""The ledger: what the system knows, and the protocol that keeps one run per pipeline and loses no upload."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Literal, Protocol, Self

from ratchet.contracts.base import Contract, Finding
from ratchet.contracts.run import (
    ApprovalAnswer,
    Candidate,
    Champion,
    Decision,
    DefinitionRef,
    DeploymentResult,
    Evaluation,
    Purpose,
    Run,
    RunOutcome,
    RunPlan,
    Selection,
    ShadowComparison,
    TaskError,
    Verification,
)
from ratchet.domain.errors import StaleRunError
from ratchet.domain.identity import run_id


class Retry(Contract):
    """The failed run's work is due again: what its next run is claimed with."""

    after: int  # fence of the run that failed
    at: datetime
    forced: bool = False
    definition: DefinitionRef | None = None


class PipelineState(Contract):
    """A pipeline's one mutable item. It is behind when `work_seq > done_seq`."""

    pipeline: str
    definition: DefinitionRef | None = None
    applied_at: datetime | None = None
    work_seq: int = 0
    done_seq: int = 0
    fence: int = 0
    failures: int = 0  # FAILED runs in a row for the same work
    retry: Retry | None = None  # due after the last failure, unless that was one too many
    owner: str | None = None  # execution ARN
    claimed_at: datetime | None = None
    champion: Champion | None = None
    asleep_since: datetime | None = None  # the champion's endpoint was deleted because nobody asked it

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
    """The bytes of one or more object versions. Key, version and time are of the oldest one seen so far."""

    upload_id: str
    key: str
    version_id: str
    modified: datetime
    size: int

    @property
    def precedence(self) -> tuple[datetime, str]:
        """Decides which row wins on a key: the greater one."""
        return self.modified, self.upload_id

    @property
    def age(self) -> tuple[datetime, str, str]:
        """Of two versions of the same bytes, the smaller one is the older; S3 dates them to the second."""
        return self.modified, self.key, self.version_id


class LargeValidation(Contract):
    """The last execution of validate_large for an object version."""

    key: str
    version_id: str
    data_hash: str
    attempt: int
    execution_arn: str
    started_at: datetime


class Verdict(Contract):
    """What validation said of an upload under one data contract; key and version are what the upload had then."""

    verdict_id: str
    upload_id: str
    data_hash: str
    outcome: Literal["ACCEPTED", "REJECTED"]
    key: str
    version_id: str
    judged_at: datetime
    rows: int = 0
    bad_rows: int = 0
    accepted_uri: str | None = None
    quarantine_uri: str | None = None
    report_uri: str | None = None
    finding: Finding | None = None
    remarks: tuple[str, ...] = ()  # sentences on what was accepted nevertheless; the report has the rest

    def of(self, upload: Upload) -> Self:
        """The verdict with the key and version that its upload has now: which of several was judged says nothing."""
        return self.model_copy(update={"key": upload.key, "version_id": upload.version_id})


def in_precedence(verdicts: Iterable[Verdict], uploads: Iterable[Upload]) -> list[Verdict]:
    """The verdicts in the order of their uploads' precedence, each with the key and version of its upload."""
    known = {upload.upload_id: upload for upload in uploads}
    ordered = sorted(verdicts, key=lambda verdict: known[verdict.upload_id].precedence)
    return [verdict.of(known[verdict.upload_id]) for verdict in ordered]


class Withdrawal(Contract):
    """An upload taken out for good: no later snapshot holds it, whatever contract accepts it."""

    upload_id: str
    reason: str
    by: str  # the caller's ARN
    at: datetime


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
    definition: DefinitionRef | None = None  # for this run alone; None is the pipeline's own
    by: str | None = None  # the person's ARN, when a person acted
    ended_at: datetime | None = None
    outcome: RunOutcome | None = None
    because: str | None = None  # one sentence on the outcome
    plan: RunPlan | None = None
    selection: Selection | None = None
    evaluation: Evaluation | None = None
    deployment: DeploymentResult | None = None
    verification: Verification | None = None
    comparison: ShadowComparison | None = None  # of a shadow
    unverified_seconds: float | None = None  # how long, at most, a candidate answered that was not what was judged
    approval: ApprovalAnswer | None = None
    model_package_arn: str | None = None
    finding: Finding | None = None  # set when refused or failed
    failures: int = 0  # set when failed: how often this work has failed now
    retry_at: datetime | None = None  # set when failed, unless it was one failure too many
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
    objects: int | None = None  # under output_uri; fewer later means that some were deleted
    seconds: float | None = None  # the job's billed time; None when the job left no trace of it
    dollars: float | None = None  # at list price; None when unknown


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
    ends_by: datetime | None = None  # later than this it counts as failed
    purpose: Purpose = Purpose.SERVE


class Approval(Contract):
    """A request for a person's decision; it stays when it is decided."""

    pipeline: str
    run_id: str
    fence: int
    work_seq: int  # the work the candidate answers for
    task_token: str
    requested_at: datetime
    expires_at: datetime
    superseded_at: datetime | None = None  # newer work arrived; the decision is still the person's
    decision: Decision | None = None
    by: str | None = None  # the caller's ARN
    reason: str | None = None
    decided_at: datetime | None = None


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
    saw_withdrawn: tuple[str, ...] = ()  # uploads in its snapshot that were withdrawn since


class ChampionChange(Contract):
    """One line of a pipeline's champion history, which is only ever added to."""

    pipeline: str
    fence: int
    champion: Champion
    since: datetime
    cause: Literal["promoted", "rolled back"]
    reason: str
    by: str  # the execution, or the caller's ARN
    previous: str | None = None  # the model that served before


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
        """Maps the object version `seen` to its upload, and returns the upload as it is stored then.

        An older version than the stored one takes its place; that is work when the upload was accepted, both or
        neither, because the upload's place in snapshots may be another one now.
        """
        ...

    def objects(self, pipeline: str) -> dict[tuple[str, str], str]:
        """(key, version id) → upload id of every version ever judged."""
        ...

    def upload_of(self, pipeline: str, key: str, version_id: str) -> Upload | None:
        """What an object version that was read before holds: the upload, with its oldest version."""
        ...

    def put_large(self, pipeline: str, large: LargeValidation) -> None: ...

    def large(self, pipeline: str, key: str, version_id: str) -> LargeValidation | None: ...

    def larges(self, pipeline: str) -> list[LargeValidation]:
        """The last large validation of every object version that had one."""
        ...

    def uploads(self, pipeline: str, prefix: str = "") -> list[Upload]:
        """The uploads whose id begins with `prefix`, each with its oldest version."""
        ...

    def withdraw(self, pipeline: str, withdrawal: Withdrawal) -> bool:
        """Takes a known upload out and counts that as work, both or neither. False when it was out already.

        UploadUnknownError when the pipeline never saw the upload.
        """
        ...

    def withdrawals(self, pipeline: str) -> list[Withdrawal]: ...

    def verdict(self, pipeline: str, verdict_id: str) -> Verdict | None: ...

    def verdicts(self, pipeline: str) -> list[Verdict]: ...

    def accept(self, pipeline: str, verdict: Verdict) -> bool:
        """Records the verdict and counts it as work, both or neither. False when it stood there already.

        UploadUnknownError when the upload was not recorded.
        """
        ...

    def reject(self, pipeline: str, verdict: Verdict) -> bool:
        """Records the verdict. False when it stood there already."""
        ...

    def accepted(self, pipeline: str, data_hash: str) -> list[Verdict]:
        """The accepted verdicts under a data contract, those of withdrawn uploads left out: see `in_precedence`."""
        ...

    def claim(
        self,
        pipeline: str,
        reason: str,
        forced: bool,
        execution_arn_for: Callable[[int], str],
        now: datetime,
        *,
        definition: DefinitionRef | None = None,
        retry_of: int | None = None,
    ) -> RunRecord | None:
        """Takes the pipeline for a new run and records that run; None if it is owned or has no work.

        A `definition` for this run alone is work by itself, and answers for none of the pipeline's. `retry_of` is the
        fence of a failed run: its work is claimed again, unless another run has closed since.
        PipelineUnknownError when no definition was applied.
        """
        ...

    def renew(self, claim: Claim, now: datetime) -> None:
        """Dates a claim anew: its owner is alive. StaleRunError when the claim is not the pipeline's."""
        ...

    def release(self, claim: Claim) -> None:
        """Undoes a claim whose execution never started; harmless when the claim is gone."""
        ...

    def put_to_sleep(self, pipeline: str, model_name: str, now: datetime) -> bool:
        """Notes that the champion's endpoint is about to be deleted; it stays the champion.

        False when a run owns the pipeline, or another model is the champion by now.
        """
        ...

    def wake(self, pipeline: str) -> None:
        """Forgets that the champion's endpoint was deleted: it is wanted again."""
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

    def models(self, pipeline: str) -> list[Model]:
        """Every judged model, oldest first."""
        ...

    def mark_model(self, pipeline: str, model_name: str, withdrawn: str) -> None:
        """Notes that the model saw an upload that is withdrawn; noting it twice changes nothing."""
        ...

    def champions(self, pipeline: str) -> list[ChampionChange]:
        """The champion history, oldest first."""
        ...

    def begin_deployment(self, claim: Claim, deployment: Deployment) -> None:
        """Records an endpoint change before SageMaker is called. StaleRunError when the claim is not the pipeline's."""
        ...

    def deployment(self, pipeline: str) -> Deployment | None: ...

    def end_deployment(self, deployment: Deployment) -> None:
        """Forgets this deployment; one with another task token, be it of the same run, stays."""
        ...

    def request_approval(self, claim: Claim, approval: Approval) -> None:
        """Records that a person is asked. StaleRunError when the claim is not the pipeline's."""
        ...

    def approval(self, pipeline: str, run_id: str) -> Approval | None: ...

    def decide_approval(self, pipeline: str, run_id: str, answer: ApprovalAnswer, now: datetime) -> Approval:
        """Records the first decision and returns the request as it stands then: a later one changes nothing.

        ApprovalUnknownError when nobody was asked.
        """
        ...

    def supersede_approval(self, pipeline: str, run_id: str, now: datetime) -> bool:
        """Marks an undecided request: newer work arrived. False when it was marked, decided or never made."""
        ...

    def close(self, claim: Claim, run: RunRecord, champion: Champion | None = None) -> PipelineState:
        """Records the ended run, releases the pipeline, advances `done_seq` to the run's work, plans the retry of a
        failed one and, when given, sets the champion and adds to its history: all or nothing.

        Returns the state it leaves. StaleRunError when the claim is not the pipeline's.
        """
        ...


def after_close(state: PipelineState, run: RunRecord, champion: Champion | None) -> PipelineState:
    """The state that a closing run leaves; only failures of the same work add up."""
    failures, retry = 0, None
    if run.outcome is RunOutcome.FAILED:
        same_work = run.work_seq <= state.done_seq
        failures = state.failures + 1 if same_work else 1
        retry = _retry_of(run, state.definition, failures)
    elif run.outcome is RunOutcome.ROLLED_BACK:
        failures, retry = state.failures, state.retry
    return state.model_copy(
        update={
            "owner": None,
            "claimed_at": None,
            "done_seq": state.done_seq if run.outcome is RunOutcome.ROLLED_BACK else max(state.done_seq, run.work_seq),
            "failures": failures,
            "retry": retry,
            "champion": champion or state.champion,
            "asleep_since": None if champion else state.asleep_since,
        }
    )


def champion_change(state: PipelineState, run: RunRecord, champion: Champion) -> ChampionChange:
    """The history's line for the champion that `run` leaves in place of the state's."""
    return ChampionChange(
        pipeline=run.pipeline,
        fence=run.fence,
        champion=champion,
        since=run.ended_at or run.started_at,
        cause="rolled back" if run.outcome is RunOutcome.ROLLED_BACK else "promoted",
        reason=run.because or run.reason,
        by=run.by or run.execution_arn,
        previous=state.champion.model_name if state.champion else None,
    )


def _retry_of(run: RunRecord, definition: DefinitionRef | None, failures: int) -> Retry | None:
    waits = definition.retry_seconds if definition else ()
    if failures > len(waits) or run.ended_at is None:
        return None
    due = run.ended_at + timedelta(seconds=waits[failures - 1])
    return Retry(after=run.fence, at=due, forced=run.forced, definition=run.definition)


def new_run(
    state: PipelineState,
    reason: str,
    forced: bool,
    execution_arn_for: Callable[[int], str],
    now: datetime,
    *,
    definition: DefinitionRef | None = None,
) -> RunRecord:
    """The record of the run that claims the pipeline next."""
    fence = state.fence + 1
    return RunRecord(
        pipeline=state.pipeline,
        run_id=run_id(state.pipeline, fence),
        fence=fence,
        execution_arn=execution_arn_for(fence),
        reason=reason,
        forced=forced,
        started_at=now,
        work_seq=state.done_seq if definition else state.work_seq,
        definition=definition,
    )


def can_claim(state: PipelineState, forced: bool, definition: DefinitionRef | None, retry_of: int | None) -> bool:
    """Whether a run may take the pipeline now; the claiming write holds the same to what it finds."""
    if state.owner is not None:
        return False
    if retry_of is not None:
        return state.retry is not None and state.retry.after == retry_of
    return state.behind or forced or definition is not None


def note(ledger: Ledger, run: Run, **found: object) -> RunRecord:
    """Adds to an open run's record; StaleRunError when the run no longer owns its pipeline."""
    record = ledger.run(run.pipeline, run.run_id)
    if record is None:
        raise StaleRunError(f"the ledger does not know {run.run_id}; its claim was released")
    known = record.model_copy(update=found)
    ledger.put_run(claim_of(run, record.execution_arn), known)
    return known
