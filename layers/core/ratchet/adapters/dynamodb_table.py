"""One DynamoDB table of pydantic records: strongly consistent reads, conditional writes, and transactions of them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import BaseModel

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.domain.errors import DependencyBusyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RecordT = TypeVar("RecordT", bound=BaseModel)
Item = dict[str, Any]  # as DynamoDB types
Write = dict[str, Any]  # one of TransactWriteItems' items

ABSENT = "attribute_not_exists(PK)"
EXISTS = "attribute_exists(PK)"
_INDEX = "PIPELINES"  # lists the pipelines, so that nobody scans the table
_BUSY_REASONS = frozenset({"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_BATCH = 100  # BatchGetItem's limit

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class ConditionFailedError(Exception):
    """A condition did not hold; `failed` are the positions of the writes that it stopped."""

    def __init__(self, failed: Sequence[int]) -> None:
        super().__init__(f"conditions failed: {failed}")
        self.failed = failed


class PipelineTable:
    """A table with the string keys PK and SK, where each pipeline has a partition.

    In expressions `#name` stands for the attribute `name` and `:name` for the value of that keyword. Every method
    raises DependencyBusyError where trying again may help, every write ConditionFailedError where its condition did
    not hold.
    """

    def __init__(self, name: str, client: "DynamoDBClient | None" = None) -> None:
        self._name = name
        self._dynamodb: DynamoDBClient = client or boto3.client("dynamodb", config=CLIENT_CONFIG)

    def item(self, pipeline: str, sort: str) -> Item | None:
        """The item as it is stored."""
        with busy_errors():
            answer = self._dynamodb.get_item(TableName=self._name, Key=_key(pipeline, sort), ConsistentRead=True)
        return answer.get("Item")

    def get(self, pipeline: str, sort: str, record: type[RecordT]) -> RecordT | None:
        """The item as its record."""
        item = self.item(pipeline, sort)
        return record_of(item, record) if item else None

    def all(self, pipeline: str, prefix: str, record: type[RecordT]) -> list[RecordT]:
        """Every record of a pipeline whose sort key begins so, in the keys' order."""
        return [record_of(item, record) for item in self._query(_partition(pipeline), prefix)]

    def pipelines(self) -> list[str]:
        """Names of all pipelines that were listed."""
        return [item["SK"]["S"] for item in self._query(_INDEX, "")]

    def each(self, pipelines: Sequence[str], sort: str, record: type[RecordT]) -> list[RecordT]:
        """The same item of many pipelines, in no order; those that have none are left out."""
        keys = [_key(pipeline, sort) for pipeline in pipelines]
        batches = (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
        return [record_of(item, record) for batch in batches for item in self._batch(batch)]

    def put(self, pipeline: str, sort: str, record: BaseModel, condition: str = "") -> None:
        """One record, by itself."""
        request = self.putting(pipeline, sort, record, condition)["Put"]
        with busy_errors(), _conditions():
            self._dynamodb.put_item(**request)

    def delete(self, pipeline: str, sort: str, condition: str, /, **values: object) -> None:
        """One item, by itself."""
        request = self.deleting(pipeline, sort)["Delete"]
        with busy_errors(), _conditions():
            self._dynamodb.delete_item(**request, **_condition(condition, values))

    def transact(self, *writes: Write) -> None:
        """All of the writes or none."""
        items: Any = list(writes)
        with busy_errors(), _conditions():
            self._dynamodb.transact_write_items(TransactItems=items)

    def putting(self, pipeline: str, sort: str, record: BaseModel | Mapping[str, Any], condition: str = "") -> Write:
        """A record to be put by a transaction."""
        attributes = plain(record) if isinstance(record, BaseModel) else record
        item = {**_key(pipeline, sort), **{name: _serialize(value) for name, value in attributes.items()}}
        return {"Put": {"TableName": self._name, "Item": item, **_condition(condition, {})}}

    def listing(self, pipeline: str) -> Write:
        """The pipeline's name to be listed by a transaction."""
        return {"Put": {"TableName": self._name, "Item": {"PK": {"S": _INDEX}, "SK": {"S": pipeline}}}}

    def updating(self, pipeline: str, sort: str, expression: str, condition: str, /, **values: object) -> Write:
        """An item to be changed by a transaction."""
        change = {"UpdateExpression": expression, **_condition(condition, values)}
        named = {"ExpressionAttributeNames": _names(f"{expression} {condition}")}
        return {"Update": {"TableName": self._name, "Key": _key(pipeline, sort), **change, **named}}

    def deleting(self, pipeline: str, sort: str) -> Write:
        """An item to be removed by a transaction."""
        return {"Delete": {"TableName": self._name, "Key": _key(pipeline, sort)}}

    def checking(self, pipeline: str, sort: str, condition: str, /, **values: object) -> Write:
        """A condition that the rest of a transaction depends on."""
        return {
            "ConditionCheck": {"TableName": self._name, "Key": _key(pipeline, sort), **_condition(condition, values)}
        }

    def _query(self, partition: str, prefix: str) -> Iterator[Item]:
        condition, values = "PK = :pk", {":pk": {"S": partition}}
        if prefix:
            condition, values = f"{condition} AND begins_with(SK, :prefix)", {**values, ":prefix": {"S": prefix}}
        with busy_errors():
            for page in self._dynamodb.get_paginator("query").paginate(
                TableName=self._name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
            ):
                yield from page["Items"]

    def _batch(self, keys: Sequence[Item]) -> Iterator[Item]:
        request: Any = {self._name: {"Keys": keys, "ConsistentRead": True}}
        with busy_errors():
            answer = self._dynamodb.batch_get_item(RequestItems=request)
        if answer.get("UnprocessedKeys"):
            raise DependencyBusyError("BatchGetItem left keys unread")
        yield from answer["Responses"].get(self._name, [])


def plain(record: BaseModel) -> dict[str, Any]:
    """The record as values that DynamoDB takes: numbers as Decimal, unset fields left out."""
    document: dict[str, Any] = json.loads(record.model_dump_json(), parse_float=Decimal)
    return {name: value for name, value in document.items() if value is not None}


def record_of(item: Item, record: type[RecordT]) -> RecordT:
    """The item as its record; attributes the record does not know (keys, shadows for conditions) are left out."""
    return record.model_validate({name: _deserialize(item[name]) for name in record.model_fields if name in item})


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


def _partition(pipeline: str) -> str:
    return f"PIPELINE#{pipeline}"


def _key(pipeline: str, sort: str) -> Item:
    return {"PK": {"S": _partition(pipeline)}, "SK": {"S": sort}}


def _condition(condition: str, values: Mapping[str, object]) -> dict[str, Any]:
    """A condition with its names and values, without what is empty: DynamoDB refuses an empty map."""
    parts = {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": _names(condition),
        "ExpressionAttributeValues": {f":{name}": _serialize(value) for name, value in values.items()},
    }
    return {name: part for name, part in parts.items() if part}


def _names(expressions: str) -> dict[str, str]:
    """Every `#name` stands for the attribute `name`: owner and definition are reserved words."""
    return {name: name[1:] for name in re.findall(r"#\w+", expressions)}
