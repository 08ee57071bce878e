"""The ledger in one DynamoDB table. Why each write is conditioned as it is: docs/decisions/0003-ledger-protocol.md."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_table import ABSENT, EXISTS, ConditionFailedError, PipelineTable, Write, plain, record_of
from ratchet.contracts.run import ApprovalAnswer, Champion, DefinitionRef, RunOutcome
from ratchet.domain.errors import (
    ApprovalUnknownError,
    DependencyBusyError,
    PipelineUnknownError,
    StaleRunError,
    UploadUnknownError,
)
from ratchet.domain.identity import run_key
from ratchet.domain.ledger import (
    Approval,
    ChampionChange,
    Claim,
    Deployment,
    LargeValidation,
    Model,
    PipelineState,
    RunRecord,
    Snapshot,
    Step,
    Upload,
    Verdict,
    Withdrawal,
    after_close,
    can_claim,
    champion_change,
    in_precedence,
    new_run,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_OWNED = "#owner = :arn AND #fence = :fence"
_STATE = "STATE"
_DEPLOYMENT = "DEPLOYMENT"
_LONGEST_KEY = 900  # bytes; a sort key holds 1,024, which an S3 key alone may fill
_CLAIM_ATTEMPTS = 3


class DynamoDbLedger:
    """The Ledger port over one table with the string keys PK and SK."""

    def __init__(self, table_name: str, client: "DynamoDBClient | None" = None) -> None:
        self._table = PipelineTable(table_name, client)

    def pipeline(self, name: str) -> PipelineState | None:
        return self._table.get(name, _STATE, PipelineState)

    def pipelines(self) -> list[PipelineState]:
        states = self._table.each(self._table.pipelines(), _STATE, PipelineState)
        return sorted(states, key=lambda state: state.pipeline)

    def apply_definition(self, name: str, definition: DefinitionRef) -> bool:
        point = self._update(
            name,
            "SET #pipeline = :name, #definition_id = :id, #definition = :definition, #applied_at = :now,"
            " #done_seq = if_not_exists(#done_seq, :zero), #fence = if_not_exists(#fence, :zero) ADD #work_seq :one",
            "attribute_not_exists(#definition_id) OR #definition_id <> :id",
            name=name,
            id=definition.definition_id,
            definition=plain(definition),
            now=utc_now().isoformat(),
            zero=0,
            one=1,
        )
        try:
            self._table.transact(point, self._table.listing(name))
        except ConditionFailedError:
            return False
        return True

    def record_object(self, pipeline: str, seen: Upload) -> Upload:
        oldest = self._record_upload(pipeline, seen)
        # Last: a version that is mapped is not looked at again, should this attempt die between the two.
        self._table.put(pipeline, _object_sk(seen.key, seen.version_id), seen)
        return oldest

    def objects(self, pipeline: str) -> dict[tuple[str, str], str]:
        seen = self._table.all(pipeline, "OBJECT#", Upload)
        return {(upload.key, upload.version_id): upload.upload_id for upload in seen}

    def upload_of(self, pipeline: str, key: str, version_id: str) -> Upload | None:
        seen = self._table.get(pipeline, _object_sk(key, version_id), Upload)
        return self._table.get(pipeline, _upload_sk(seen.upload_id), Upload) if seen else None

    def put_large(self, pipeline: str, large: LargeValidation) -> None:
        self._table.put(pipeline, _object_sk(large.key, large.version_id, "LARGE"), large)

    def large(self, pipeline: str, key: str, version_id: str) -> LargeValidation | None:
        return self._table.get(pipeline, _object_sk(key, version_id, "LARGE"), LargeValidation)

    def larges(self, pipeline: str) -> list[LargeValidation]:
        return self._table.all(pipeline, "LARGE#", LargeValidation)

    def uploads(self, pipeline: str, prefix: str = "") -> list[Upload]:
        return self._table.all(pipeline, f"UPLOAD#{prefix}", Upload)

    def withdraw(self, pipeline: str, withdrawal: Withdrawal) -> bool:
        known = self._table.checking(pipeline, _upload_sk(withdrawal.upload_id), EXISTS)
        record = self._table.putting(pipeline, f"WITHDRAWN#{withdrawal.upload_id}", withdrawal, ABSENT)
        try:
            self._table.transact(known, record, self._work(pipeline))
        except ConditionFailedError as error:
            if 2 in error.failed:
                raise _unknown(pipeline) from error
            if 0 in error.failed:
                raise _unseen(pipeline, withdrawal.upload_id) from error
            return False
        return True

    def withdrawals(self, pipeline: str) -> list[Withdrawal]:
        found = self._table.all(pipeline, "WITHDRAWN#", Withdrawal)
        return sorted(found, key=lambda withdrawal: withdrawal.at)

    def verdict(self, pipeline: str, verdict_id: str) -> Verdict | None:
        return self._table.get(pipeline, f"VERDICT#{verdict_id}", Verdict)

    def verdicts(self, pipeline: str) -> list[Verdict]:
        return self._table.all(pipeline, "VERDICT#", Verdict)

    def accept(self, pipeline: str, verdict: Verdict) -> bool:
        record = self._table.putting(pipeline, f"VERDICT#{verdict.verdict_id}", verdict, ABSENT)
        # Marked, so that an older version of the upload knows in its own condition whether it is work.
        upload = _upload_sk(verdict.upload_id)
        mark = self._table.updating(pipeline, upload, "SET #accepted = :yes", EXISTS, yes=True)
        try:
            self._table.transact(record, self._work(pipeline), mark)
        except ConditionFailedError as error:
            if 1 in error.failed:
                raise _unknown(pipeline) from error
            if 0 in error.failed:
                return False
            raise _unseen(pipeline, verdict.upload_id) from error
        return True

    def reject(self, pipeline: str, verdict: Verdict) -> bool:
        try:
            self._table.put(pipeline, f"VERDICT#{verdict.verdict_id}", verdict, ABSENT)
        except ConditionFailedError:
            return False
        return True

    def accepted(self, pipeline: str, data_hash: str) -> list[Verdict]:
        withdrawn = {withdrawal.upload_id for withdrawal in self.withdrawals(pipeline)}
        fitting = [v for v in self.verdicts(pipeline) if v.outcome == "ACCEPTED" and v.data_hash == data_hash]
        kept = [v for v in fitting if v.upload_id not in withdrawn]
        # The uploads last: each verdict's is there by now, and an older version that comes later is work.
        return in_precedence(kept, self.uploads(pipeline))

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
        for _ in range(_CLAIM_ATTEMPTS):
            state = self.pipeline(pipeline)
            if state is None:
                raise _unknown(pipeline)
            if not can_claim(state, forced, definition, retry_of):
                return None
            run = new_run(state, reason, forced, execution_arn_for, now, definition=definition)
            try:
                self._take(state, run, retry_of)
            except ConditionFailedError:
                continue  # somebody was faster: look again
            return run
        raise DependencyBusyError(f"pipeline {pipeline} is claimed and released faster than it can be read")

    def release(self, claim: Claim) -> None:
        undo = self._update(
            claim.pipeline, "REMOVE #owner, #claimed_at", _OWNED, arn=claim.execution_arn, fence=claim.fence
        )
        forget = self._table.deleting(claim.pipeline, f"RUN#{claim.run_id}")
        try:
            self._table.transact(undo, forget)
        except ConditionFailedError:
            return

    def renew(self, claim: Claim, now: datetime) -> None:
        dated = self._update(
            claim.pipeline,
            "SET #claimed_at = :now",
            _OWNED,
            now=now.isoformat(),
            arn=claim.execution_arn,
            fence=claim.fence,
        )
        try:
            self._table.transact(dated)
        except ConditionFailedError as error:
            raise self._stale(claim) from error

    def put_to_sleep(self, pipeline: str, model_name: str, now: datetime) -> bool:
        asleep = self._update(
            pipeline,
            "SET #asleep_since = :now",
            "attribute_not_exists(#owner) AND #champion.#model_name = :model",
            now=now.isoformat(),
            model=model_name,
        )
        try:
            self._table.transact(asleep)
        except ConditionFailedError:
            return False
        return True

    def wake(self, pipeline: str) -> None:
        woken = self._update(pipeline, "REMOVE #asleep_since", EXISTS)
        try:
            self._table.transact(woken)
        except ConditionFailedError as error:
            raise _unknown(pipeline) from error

    def put_snapshot(self, pipeline: str, snapshot: Snapshot) -> None:
        self._table.put(pipeline, f"SNAPSHOT#{snapshot.snapshot_id}", snapshot)

    def snapshot(self, pipeline: str, snapshot_id: str) -> Snapshot | None:
        return self._table.get(pipeline, f"SNAPSHOT#{snapshot_id}", Snapshot)

    def run(self, pipeline: str, run_id: str) -> RunRecord | None:
        return self._table.get(pipeline, f"RUN#{run_id}", RunRecord)

    def runs(self, pipeline: str) -> list[RunRecord]:
        runs = self._table.all(pipeline, "RUN#", RunRecord)
        return sorted(runs, key=lambda run: run.fence)

    def put_run(self, claim: Claim, run: RunRecord) -> None:
        self._under(claim, self._table.putting(claim.pipeline, f"RUN#{run.run_id}", run))

    def final_run(self, pipeline: str, snapshot_id: str, definition_id: str) -> str | None:
        item = self._table.item(pipeline, f"RUNKEY#{run_key(snapshot_id, definition_id)}")
        return item["run_id"]["S"] if item else None

    def step(self, pipeline: str, key: str) -> Step | None:
        return self._table.get(pipeline, f"STEP#{key}", Step)

    def put_step(self, pipeline: str, step: Step) -> None:
        self._table.put(pipeline, f"STEP#{step.key}", step)

    def put_model(self, pipeline: str, model: Model) -> None:
        self._table.put(pipeline, f"MODEL#{model.model_name}", model)

    def model(self, pipeline: str, model_name: str) -> Model | None:
        return self._table.get(pipeline, f"MODEL#{model_name}", Model)

    def models(self, pipeline: str) -> list[Model]:
        found = self._table.all(pipeline, "MODEL#", Model)
        return sorted(found, key=lambda model: model.judged_at)

    def mark_model(self, pipeline: str, model_name: str, withdrawn: str) -> None:
        while (model := self.model(pipeline, model_name)) is not None and withdrawn not in model.saw_withdrawn:
            marks = tuple(sorted((*model.saw_withdrawn, withdrawn)))
            marked = self._table.updating(
                pipeline,
                f"MODEL#{model_name}",
                "SET #saw_withdrawn = :marks",
                "#saw_withdrawn = :seen OR attribute_not_exists(#saw_withdrawn)",
                marks=list(marks),
                seen=list(model.saw_withdrawn),
            )
            with suppress(ConditionFailedError):  # another mark came between: look again
                self._table.transact(marked)

    def champions(self, pipeline: str) -> list[ChampionChange]:
        found = self._table.all(pipeline, "CHAMPION#", ChampionChange)
        return sorted(found, key=lambda change: change.fence)

    def begin_deployment(self, claim: Claim, deployment: Deployment) -> None:
        self._under(claim, self._table.putting(claim.pipeline, _DEPLOYMENT, deployment))

    def deployment(self, pipeline: str) -> Deployment | None:
        return self._table.get(pipeline, _DEPLOYMENT, Deployment)

    def end_deployment(self, deployment: Deployment) -> None:
        ours = "#fence = :fence AND #task_token = :token"
        with suppress(ConditionFailedError):
            self._table.delete(
                deployment.pipeline, _DEPLOYMENT, ours, fence=deployment.fence, token=deployment.task_token
            )

    def request_approval(self, claim: Claim, approval: Approval) -> None:
        self._under(claim, self._table.putting(claim.pipeline, f"APPROVAL#{approval.run_id}", approval))

    def approval(self, pipeline: str, run_id: str) -> Approval | None:
        return self._table.get(pipeline, f"APPROVAL#{run_id}", Approval)

    def decide_approval(self, pipeline: str, run_id: str, answer: ApprovalAnswer, now: datetime) -> Approval:
        found = {
            "decision": answer.outcome.value,
            "by": answer.by,
            "reason": answer.reason,
            "decided_at": now.isoformat(),
        }
        self._change_approval(pipeline, run_id, found, "attribute_not_exists(#decision)")
        approval = self.approval(pipeline, run_id)
        if approval is None:
            raise ApprovalUnknownError(f"nobody was asked to approve {run_id}")
        return approval

    def supersede_approval(self, pipeline: str, run_id: str, now: datetime) -> bool:
        untouched = "attribute_not_exists(#decision) AND attribute_not_exists(#superseded_at)"
        return self._change_approval(pipeline, run_id, {"superseded_at": now.isoformat()}, untouched)

    def close(self, claim: Claim, run: RunRecord, champion: Champion | None = None) -> PipelineState:
        state = self.pipeline(claim.pipeline)
        if state is None or (state.owner, state.fence) != (claim.execution_arn, claim.fence):
            raise self._stale(claim)
        writes = [
            self._table.putting(claim.pipeline, f"RUN#{run.run_id}", run),
            self._table.deleting(claim.pipeline, _DEPLOYMENT),
        ]
        if run.key and run.outcome in (RunOutcome.DEPLOYED, RunOutcome.REFUSED):
            writes.append(self._table.putting(claim.pipeline, f"RUNKEY#{run_key(*run.key)}", {"run_id": run.run_id}))
        if champion is not None:
            change = champion_change(state, run, champion)
            writes.append(self._table.putting(claim.pipeline, f"CHAMPION#{change.fence:012d}", change, ABSENT))
        # What only the owner changes may be written from what was read: the condition proves that it still owns.
        left = after_close(state, run, champion)
        kept = {"done_seq": left.done_seq, "failures": left.failures, **_set(retry=left.retry, champion=left.champion)}
        gone = ["#owner", "#claimed_at", *(() if left.retry else ("#retry",))]
        if champion is not None:
            gone.append("#asleep_since")
        released = self._update(
            claim.pipeline,
            f"SET {', '.join(f'#{name} = :{name}' for name in kept)} REMOVE {', '.join(gone)}",
            _OWNED,
            arn=claim.execution_arn,
            fence=claim.fence,
            **kept,
        )
        try:
            self._table.transact(released, *writes)
        except ConditionFailedError as error:
            raise self._stale(claim) from error
        return left

    def _change_approval(self, pipeline: str, run_id: str, changes: dict[str, str], condition: str) -> bool:
        expression = f"SET {', '.join(f'#{name} = :{name}' for name in changes)}"
        change = self._table.updating(
            pipeline, f"APPROVAL#{run_id}", expression, f"{EXISTS} AND {condition}", **changes
        )
        try:
            self._table.transact(change)
        except ConditionFailedError:
            return False
        return True

    def _record_upload(self, pipeline: str, seen: Upload) -> Upload:
        with suppress(ConditionFailedError):
            self._table.put(pipeline, _upload_sk(seen.upload_id), seen, ABSENT)
            return seen
        while (item := self._table.item(pipeline, _upload_sk(seen.upload_id))) is not None:
            stored = record_of(item, Upload)
            if seen.age >= stored.age:
                return stored
            with suppress(ConditionFailedError):  # another version or a verdict came between: look again
                self._replace_version(pipeline, stored, seen, accepted="accepted" in item)
                return seen
        return seen

    def _replace_version(self, pipeline: str, stored: Upload, older: Upload, *, accepted: bool) -> None:
        """The upload's place in snapshots changes with its version, which is work once it was accepted."""
        replace = self._table.updating(
            pipeline,
            _upload_sk(stored.upload_id),
            "SET #key = :key, #version_id = :version_id, #modified = :modified",
            "#key = :known_key AND #version_id = :known_version"
            f" AND {'attribute_exists' if accepted else 'attribute_not_exists'}(#accepted)",
            known_key=stored.key,
            known_version=stored.version_id,
            **{name: plain(older)[name] for name in ("key", "version_id", "modified")},
        )
        self._table.transact(replace, *([self._work(pipeline)] if accepted else []))

    def _take(self, state: PipelineState, run: RunRecord, retry_of: int | None) -> None:
        condition = "attribute_not_exists(#owner) AND #fence = :seen"
        retry = {} if retry_of is None else {"retry_of": retry_of}
        if retry:
            condition += " AND #retry.#after = :retry_of"
        elif not run.forced and run.definition is None:
            condition += " AND #work_seq > #done_seq"
        take = self._update(
            state.pipeline,
            "SET #owner = :arn, #claimed_at = :now, #fence = :fence",
            condition,
            arn=run.execution_arn,
            now=run.started_at.isoformat(),
            fence=run.fence,
            seen=state.fence,
            **retry,
        )
        self._table.transact(take, self._table.putting(state.pipeline, f"RUN#{run.run_id}", run))

    def _under(self, claim: Claim, write: Write) -> None:
        owned = self._table.checking(claim.pipeline, _STATE, _OWNED, arn=claim.execution_arn, fence=claim.fence)
        try:
            self._table.transact(owned, write)
        except ConditionFailedError as error:
            raise self._stale(claim) from error

    def _stale(self, claim: Claim) -> StaleRunError:
        state = self.pipeline(claim.pipeline)
        owner = state.owner if state else None
        return StaleRunError(f"{claim.run_id} does not own pipeline {claim.pipeline}; its owner is {owner}")

    def _work(self, pipeline: str) -> Write:
        return self._update(pipeline, "ADD #work_seq :one", "attribute_exists(#definition_id)", one=1)

    def _update(self, pipeline: str, expression: str, condition: str, /, **values: object) -> Write:
        return self._table.updating(pipeline, _STATE, expression, condition, **values)


def _unknown(pipeline: str) -> PipelineUnknownError:
    return PipelineUnknownError(f"no definition was applied for pipeline {pipeline!r}; run `ratchet apply`")


def _unseen(pipeline: str, upload_id: str) -> UploadUnknownError:
    return UploadUnknownError(f"pipeline {pipeline} never saw upload {upload_id}")


def _object_sk(key: str, version_id: str, kind: str = "OBJECT") -> str:
    if len(key.encode()) > _LONGEST_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    return f"{kind}#{key}#{version_id}"


def _upload_sk(upload_id: str) -> str:
    return f"UPLOAD#{upload_id}"


def _set(**records: BaseModel | None) -> dict[str, dict[str, Any]]:
    return {name: plain(record) for name, record in records.items() if record is not None}
