"""The ledger in one DynamoDB table. Why each write is conditioned as it is: docs/decisions/0003-ledger-protocol.md."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import BaseModel

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.adapters.clock import utc_now
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

RecordT = TypeVar("RecordT", bound=BaseModel)

_OWNED = "#owner = :arn AND #fence = :fence"
_ABSENT = "attribute_not_exists(PK)"
_INDEX = "PIPELINES"  # lists the pipelines, so that nobody scans the table
_STATE = "STATE"
_DEPLOYMENT = "DEPLOYMENT"
_LONGEST_KEY = 900  # bytes; a sort key holds 1,024, which an S3 key alone may fill
_BUSY_REASONS = frozenset({"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_BATCH = 100  # BatchGetItem's limit
_CLAIM_ATTEMPTS = 3

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class ConditionFailedError(Exception):
    """A condition did not hold; `failed` are the positions of the writes that it stopped."""

    def __init__(self, failed: Sequence[int]) -> None:
        super().__init__(f"conditions failed: {failed}")
        self.failed = failed


class DynamoDbLedger:
    """The Ledger port over one table with the string keys PK and SK."""

    def __init__(self, table_name: str, client: "DynamoDBClient | None" = None) -> None:
        self._table = table_name
        self._dynamodb: DynamoDBClient = client or boto3.client("dynamodb", config=CLIENT_CONFIG)

    def pipeline(self, name: str) -> PipelineState | None:
        return self._get(name, _STATE, PipelineState)

    def pipelines(self) -> list[PipelineState]:
        names = [item["SK"]["S"] for item in self._query(_INDEX, "")]
        keys = [_key(name, _STATE) for name in names]
        states = [
            _record(item, PipelineState)
            for start in range(0, len(keys), _BATCH)
            for item in self._batch(keys[start : start + _BATCH])
        ]
        return sorted(states, key=lambda state: state.pipeline)

    def apply_definition(self, name: str, definition: DefinitionRef) -> bool:
        point = self._update(
            name,
            "SET #pipeline = :name, #definition_id = :id, #definition = :definition, #applied_at = :now,"
            " #done_seq = if_not_exists(#done_seq, :zero), #fence = if_not_exists(#fence, :zero) ADD #work_seq :one",
            "attribute_not_exists(#definition_id) OR #definition_id <> :id",
            name=name,
            id=definition.definition_id,
            definition=_plain(definition),
            now=utc_now().isoformat(),
            zero=0,
            one=1,
        )
        enlist = {"Put": {"TableName": self._table, "Item": {"PK": {"S": _INDEX}, "SK": {"S": name}}}}
        try:
            self._transact(point, enlist)
        except ConditionFailedError:
            return False
        return True

    def record_object(self, pipeline: str, seen: Upload) -> Upload:
        oldest = self._record_upload(pipeline, seen)
        # Last: a version that is mapped is not looked at again, should this attempt die between the two.
        self._put(pipeline, _object_sk(seen.key, seen.version_id), _plain(seen))
        return oldest

    def objects(self, pipeline: str) -> dict[tuple[str, str], str]:
        seen = [_record(item, Upload) for item in self._query(f"PIPELINE#{pipeline}", "OBJECT#")]
        return {(upload.key, upload.version_id): upload.upload_id for upload in seen}

    def upload_of(self, pipeline: str, key: str, version_id: str) -> Upload | None:
        seen = self._get(pipeline, _object_sk(key, version_id), Upload)
        return self._get(pipeline, _upload_sk(seen.upload_id), Upload) if seen else None

    def put_large(self, pipeline: str, large: LargeValidation) -> None:
        self._put(pipeline, _object_sk(large.key, large.version_id, "LARGE"), _plain(large))

    def large(self, pipeline: str, key: str, version_id: str) -> LargeValidation | None:
        return self._get(pipeline, _object_sk(key, version_id, "LARGE"), LargeValidation)

    def larges(self, pipeline: str) -> list[LargeValidation]:
        return [_record(item, LargeValidation) for item in self._query(f"PIPELINE#{pipeline}", "LARGE#")]

    def uploads(self, pipeline: str, prefix: str = "") -> list[Upload]:
        return [_record(item, Upload) for item in self._query(f"PIPELINE#{pipeline}", f"UPLOAD#{prefix}")]

    def withdraw(self, pipeline: str, withdrawal: Withdrawal) -> bool:
        known = self._check(pipeline, _upload_sk(withdrawal.upload_id), "attribute_exists(PK)")
        record = self._putting(pipeline, f"WITHDRAWN#{withdrawal.upload_id}", _plain(withdrawal), _ABSENT)
        try:
            self._transact(known, record, self._work(pipeline))
        except ConditionFailedError as error:
            if 2 in error.failed:
                raise _unknown(pipeline) from error
            if 0 in error.failed:
                raise _unseen(pipeline, withdrawal.upload_id) from error
            return False
        return True

    def withdrawals(self, pipeline: str) -> list[Withdrawal]:
        found = [_record(item, Withdrawal) for item in self._query(f"PIPELINE#{pipeline}", "WITHDRAWN#")]
        return sorted(found, key=lambda withdrawal: withdrawal.at)

    def verdict(self, pipeline: str, verdict_id: str) -> Verdict | None:
        return self._get(pipeline, f"VERDICT#{verdict_id}", Verdict)

    def verdicts(self, pipeline: str) -> list[Verdict]:
        return [_record(item, Verdict) for item in self._query(f"PIPELINE#{pipeline}", "VERDICT#")]

    def accept(self, pipeline: str, verdict: Verdict) -> bool:
        record = self._putting(pipeline, f"VERDICT#{verdict.verdict_id}", _plain(verdict), _ABSENT)
        # Marked, so that an older version of the upload knows in its own condition whether it is work.
        upload = _upload_sk(verdict.upload_id)
        mark = self._updating(pipeline, upload, "SET #accepted = :yes", "attribute_exists(PK)", {"yes": True})
        try:
            self._transact(record, self._work(pipeline), mark)
        except ConditionFailedError as error:
            if 1 in error.failed:
                raise _unknown(pipeline) from error
            if 0 in error.failed:
                return False
            raise _unseen(pipeline, verdict.upload_id) from error
        return True

    def reject(self, pipeline: str, verdict: Verdict) -> bool:
        try:
            self._put(pipeline, f"VERDICT#{verdict.verdict_id}", _plain(verdict), _ABSENT)
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
        forget = {"Delete": {"TableName": self._table, "Key": _key(claim.pipeline, f"RUN#{claim.run_id}")}}
        try:
            self._transact(undo, forget)
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
            self._transact(dated)
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
            self._transact(asleep)
        except ConditionFailedError:
            return False
        return True

    def wake(self, pipeline: str) -> None:
        woken = self._update(pipeline, "REMOVE #asleep_since", "attribute_exists(PK)")
        del woken["Update"]["ExpressionAttributeValues"]  # DynamoDB refuses an empty map
        try:
            self._transact(woken)
        except ConditionFailedError as error:
            raise _unknown(pipeline) from error

    def put_snapshot(self, pipeline: str, snapshot: Snapshot) -> None:
        self._put(pipeline, f"SNAPSHOT#{snapshot.snapshot_id}", _plain(snapshot))

    def snapshot(self, pipeline: str, snapshot_id: str) -> Snapshot | None:
        return self._get(pipeline, f"SNAPSHOT#{snapshot_id}", Snapshot)

    def run(self, pipeline: str, run_id: str) -> RunRecord | None:
        return self._get(pipeline, f"RUN#{run_id}", RunRecord)

    def runs(self, pipeline: str) -> list[RunRecord]:
        runs = [_record(item, RunRecord) for item in self._query(f"PIPELINE#{pipeline}", "RUN#")]
        return sorted(runs, key=lambda run: run.fence)

    def put_run(self, claim: Claim, run: RunRecord) -> None:
        self._under(claim, self._putting(claim.pipeline, f"RUN#{run.run_id}", _plain(run)))

    def final_run(self, pipeline: str, snapshot_id: str, definition_id: str) -> str | None:
        item = self._item(pipeline, f"RUNKEY#{run_key(snapshot_id, definition_id)}")
        return item["run_id"]["S"] if item else None

    def step(self, pipeline: str, key: str) -> Step | None:
        return self._get(pipeline, f"STEP#{key}", Step)

    def put_step(self, pipeline: str, step: Step) -> None:
        self._put(pipeline, f"STEP#{step.key}", _plain(step))

    def put_model(self, pipeline: str, model: Model) -> None:
        self._put(pipeline, f"MODEL#{model.model_name}", _plain(model))

    def model(self, pipeline: str, model_name: str) -> Model | None:
        return self._get(pipeline, f"MODEL#{model_name}", Model)

    def models(self, pipeline: str) -> list[Model]:
        found = [_record(item, Model) for item in self._query(f"PIPELINE#{pipeline}", "MODEL#")]
        return sorted(found, key=lambda model: model.judged_at)

    def mark_model(self, pipeline: str, model_name: str, withdrawn: str) -> None:
        while (model := self.model(pipeline, model_name)) is not None and withdrawn not in model.saw_withdrawn:
            marks = tuple(sorted((*model.saw_withdrawn, withdrawn)))
            marked = {
                "Update": {
                    "TableName": self._table,
                    "Key": _key(pipeline, f"MODEL#{model_name}"),
                    "UpdateExpression": "SET saw_withdrawn = :marks",
                    "ConditionExpression": "saw_withdrawn = :seen OR attribute_not_exists(saw_withdrawn)",
                    "ExpressionAttributeValues": _values({"marks": list(marks), "seen": list(model.saw_withdrawn)}),
                }
            }
            with suppress(ConditionFailedError):  # another mark came between: look again
                self._transact(marked)

    def champions(self, pipeline: str) -> list[ChampionChange]:
        found = [_record(item, ChampionChange) for item in self._query(f"PIPELINE#{pipeline}", "CHAMPION#")]
        return sorted(found, key=lambda change: change.fence)

    def begin_deployment(self, claim: Claim, deployment: Deployment) -> None:
        self._under(claim, self._putting(claim.pipeline, _DEPLOYMENT, _plain(deployment)))

    def deployment(self, pipeline: str) -> Deployment | None:
        return self._get(pipeline, _DEPLOYMENT, Deployment)

    def end_deployment(self, deployment: Deployment) -> None:
        with suppress(ConditionFailedError), busy_errors(), _conditions():
            self._dynamodb.delete_item(
                TableName=self._table,
                Key=_key(deployment.pipeline, _DEPLOYMENT),
                ConditionExpression="#fence = :fence AND #token = :token",
                ExpressionAttributeNames={"#fence": "fence", "#token": "task_token"},
                ExpressionAttributeValues=_values({"fence": deployment.fence, "token": deployment.task_token}),
            )

    def request_approval(self, claim: Claim, approval: Approval) -> None:
        self._under(claim, self._putting(claim.pipeline, f"APPROVAL#{approval.run_id}", _plain(approval)))

    def approval(self, pipeline: str, run_id: str) -> Approval | None:
        return self._get(pipeline, f"APPROVAL#{run_id}", Approval)

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
            self._putting(claim.pipeline, f"RUN#{run.run_id}", _plain(run)),
            {"Delete": {"TableName": self._table, "Key": _key(claim.pipeline, _DEPLOYMENT)}},
        ]
        if run.key and run.outcome in (RunOutcome.DEPLOYED, RunOutcome.REFUSED):
            writes.append(self._putting(claim.pipeline, f"RUNKEY#{run_key(*run.key)}", {"run_id": run.run_id}))
        if champion is not None:
            change = champion_change(state, run, champion)
            writes.append(self._putting(claim.pipeline, f"CHAMPION#{change.fence:012d}", _plain(change), _ABSENT))
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
            self._transact(released, *writes)
        except ConditionFailedError as error:
            raise self._stale(claim) from error
        return left

    def _change_approval(self, pipeline: str, run_id: str, changes: dict[str, str], condition: str) -> bool:
        expression = f"SET {', '.join(f'#{name} = :{name}' for name in changes)}"
        change = self._updating(
            pipeline, f"APPROVAL#{run_id}", expression, f"attribute_exists(PK) AND {condition}", changes
        )
        try:
            self._transact(change)
        except ConditionFailedError:
            return False
        return True

    def _record_upload(self, pipeline: str, seen: Upload) -> Upload:
        with suppress(ConditionFailedError):
            self._put(pipeline, _upload_sk(seen.upload_id), _plain(seen), _ABSENT)
            return seen
        while (item := self._item(pipeline, _upload_sk(seen.upload_id))) is not None:
            stored = _record(item, Upload)
            if seen.age >= stored.age:
                return stored
            with suppress(ConditionFailedError):  # another version or a verdict came between: look again
                self._replace_version(pipeline, stored, seen, accepted="accepted" in item)
                return seen
        return seen

    def _replace_version(self, pipeline: str, stored: Upload, older: Upload, *, accepted: bool) -> None:
        """The upload's place in snapshots changes with its version, which is work once it was accepted."""
        replace = self._updating(
            pipeline,
            _upload_sk(stored.upload_id),
            "SET #key = :key, #version_id = :version_id, #modified = :modified",
            "#key = :known_key AND #version_id = :known_version"
            f" AND {'attribute_exists' if accepted else 'attribute_not_exists'}(#accepted)",
            {
                "known_key": stored.key,
                "known_version": stored.version_id,
                **{name: _plain(older)[name] for name in ("key", "version_id", "modified")},
            },
        )
        self._transact(replace, *([self._work(pipeline)] if accepted else []))

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
        self._transact(take, self._putting(state.pipeline, f"RUN#{run.run_id}", _plain(run)))

    def _under(self, claim: Claim, write: dict[str, Any]) -> None:
        owned = self._check(claim.pipeline, _STATE, _OWNED, arn=claim.execution_arn, fence=claim.fence)
        try:
            self._transact(owned, write)
        except ConditionFailedError as error:
            raise self._stale(claim) from error

    def _stale(self, claim: Claim) -> StaleRunError:
        state = self.pipeline(claim.pipeline)
        owner = state.owner if state else None
        return StaleRunError(f"{claim.run_id} does not own pipeline {claim.pipeline}; its owner is {owner}")

    def _get(self, pipeline: str, sort: str, record: type[RecordT]) -> RecordT | None:
        item = self._item(pipeline, sort)
        return _record(item, record) if item else None

    def _item(self, pipeline: str, sort: str) -> dict[str, Any] | None:
        with busy_errors():
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(pipeline, sort), ConsistentRead=True)
        return answer.get("Item")

    def _query(self, partition: str, prefix: str) -> Iterator[dict[str, Any]]:
        condition, values = "PK = :pk", {":pk": {"S": partition}}
        if prefix:
            condition, values = f"{condition} AND begins_with(SK, :prefix)", {**values, ":prefix": {"S": prefix}}
        with busy_errors():
            for page in self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
            ):
                yield from page["Items"]

    def _batch(self, keys: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        request: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
        with busy_errors():
            answer = self._dynamodb.batch_get_item(RequestItems=request)
        if answer.get("UnprocessedKeys"):
            raise DependencyBusyError("BatchGetItem left keys unread")
        yield from answer["Responses"].get(self._table, [])

    def _put(self, pipeline: str, sort: str, item: dict[str, Any], condition: str = "") -> None:
        request = self._putting(pipeline, sort, item, condition)["Put"]
        with busy_errors(), _conditions():
            self._dynamodb.put_item(**request)

    def _putting(self, pipeline: str, sort: str, item: dict[str, Any], condition: str = "") -> dict[str, Any]:
        put = {"TableName": self._table, "Item": {**_key(pipeline, sort), **_item_of(item)}}
        return {"Put": {**put, "ConditionExpression": condition} if condition else put}

    def _work(self, pipeline: str) -> dict[str, Any]:
        return self._update(pipeline, "ADD #work_seq :one", "attribute_exists(#definition_id)", one=1)

    def _update(self, pipeline: str, expression: str, condition: str, **values: object) -> dict[str, Any]:
        return self._updating(pipeline, _STATE, expression, condition, values)

    def _updating(
        self, pipeline: str, sort: str, expression: str, condition: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(pipeline, sort),
                "UpdateExpression": expression,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": _names(f"{expression} {condition}"),
                "ExpressionAttributeValues": _values(values),
            }
        }

    def _check(self, pipeline: str, sort: str, condition: str, **values: object) -> dict[str, Any]:
        named = {"ExpressionAttributeNames": _names(condition), "ExpressionAttributeValues": _values(values)}
        check = {"TableName": self._table, "Key": _key(pipeline, sort), "ConditionExpression": condition}
        return {"ConditionCheck": {**check, **{name: value for name, value in named.items() if value}}}

    def _transact(self, *writes: dict[str, Any]) -> None:
        items: Any = list(writes)
        with busy_errors(), _conditions():
            self._dynamodb.transact_write_items(TransactItems=items)


@contextmanager
def _conditions() -> Iterator[None]:
    """A condition that did not hold becomes ConditionFailedError, a conflict of transactions DependencyBusyError."""
    try:
        yield
    except ClientError as error:
        if error_code(error) == "ConditionalCheckFailedException":
            raise ConditionFailedError([0]) from error
        if error_code(error) != "TransactionCanceledException":
            raise
        response: Any = error.response
        codes = [reason.get("Code", "None") for reason in response.get("CancellationReasons", [])]
        if "ConditionalCheckFailed" in codes:
            raise ConditionFailedError([i for i, c in enumerate(codes) if c == "ConditionalCheckFailed"]) from error
        if all(code in _BUSY_REASONS for code in codes):
            raise DependencyBusyError(f"transaction cancelled: {', '.join(codes)}") from error
        raise


def _unknown(pipeline: str) -> PipelineUnknownError:
    return PipelineUnknownError(f"no definition was applied for pipeline {pipeline!r}; run `ratchet apply`")


def _unseen(pipeline: str, upload_id: str) -> UploadUnknownError:
    return UploadUnknownError(f"pipeline {pipeline} never saw upload {upload_id}")


def _key(pipeline: str, sort: str) -> dict[str, Any]:
    return {"PK": {"S": f"PIPELINE#{pipeline}"}, "SK": {"S": sort}}


def _object_sk(key: str, version_id: str, kind: str = "OBJECT") -> str:
    if len(key.encode()) > _LONGEST_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    return f"{kind}#{key}#{version_id}"


def _upload_sk(upload_id: str) -> str:
    return f"UPLOAD#{upload_id}"


def _names(expressions: str) -> dict[str, str]:
    """Every `#name` stands for the attribute `name`: owner and definition are reserved words."""
    return {name: name[1:] for name in re.findall(r"#\w+", expressions)}


def _values(values: dict[str, Any]) -> dict[str, Any]:
    return {f":{name}": _serialize(value) for name, value in values.items()}


def _set(**records: BaseModel | None) -> dict[str, dict[str, Any]]:
    return {name: _plain(record) for name, record in records.items() if record is not None}


def _plain(record: BaseModel) -> dict[str, Any]:
    """The record as DynamoDB types: numbers as Decimal, unset fields left out."""
    document: dict[str, Any] = json.loads(record.model_dump_json(), parse_float=Decimal)
    return {name: value for name, value in document.items() if value is not None}


def _item_of(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in plain.items()}


def _record(item: dict[str, Any], record: type[RecordT]) -> RecordT:
    """The item as its record; attributes the record does not know (keys, shadows for conditions) are left out."""
    return record.model_validate({name: _deserialize(item[name]) for name in record.model_fields if name in item})
