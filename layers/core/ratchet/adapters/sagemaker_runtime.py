"""Predictions of SageMaker's models in service."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code, error_message
from ratchet.domain.errors import DependencyBusyError, EndpointMissingError, ModelFailedError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# A request may take 4 MB to a serverless endpoint and 6 MB to an instance; answers are smaller than records.
MAX_BYTES = 3_000_000
_BUSY_CODES = frozenset({"ModelNotReadyException", "InternalDependencyException"})


def runtime_config(read_timeout: float) -> Config:
    """No retries: who waits for an answer is told to come again instead."""
    return CLIENT_CONFIG.merge(Config(read_timeout=read_timeout, retries={"mode": "standard", "total_max_attempts": 1}))


class SageMakerPredictions:
    """The Predictions port over InvokeEndpoint, in as few requests as its payload limit allows."""

    def __init__(self, client: "SageMakerRuntimeClient | None" = None, read_timeout: float = 24) -> None:
        self._runtime: SageMakerRuntimeClient = client or boto3.client(
            "sagemaker-runtime", config=runtime_config(read_timeout)
        )

    def predict(self, endpoint_name: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [answer for part in parts(records) for answer in self._invoke(endpoint_name, part)]

    def _invoke(self, name: str, records: Sequence[str]) -> list[dict[str, Any]]:
        try:
            with busy_errors():
                answer = self._runtime.invoke_endpoint(
                    EndpointName=name,
                    ContentType="application/json",
                    Accept="application/json",
                    Body=f"[{','.join(records)}]".encode(),
                )
                found = json.loads(answer["Body"].read())
        except ClientError as error:
            raise _meaning(name, error) from error
        if not isinstance(found, list) or len(found) != len(records):
            raise ModelFailedError(f"the model at {name} gave {_counted(found)} for {len(records)} records")
        return found


def parts(records: Sequence[dict[str, Any]], limit: int = MAX_BYTES) -> Iterator[list[str]]:
    """The records as JSON texts, in groups of at most `limit` bytes (and one record at least)."""
    group: list[str] = []
    size = 0
    for record in records:
        text = json.dumps(record)  # ASCII: as many bytes as characters
        if group and size + len(text) > limit:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text) + 1
    if group:
        yield group


def _meaning(name: str, error: ClientError) -> Exception:
    code, message = error_code(error), error_message(error)
    if code == "ModelError":
        return ModelFailedError(f"the model at {name} failed to predict; its log says why")
    if code in ("ValidationError", "ValidationException") and "not found" in message.lower():
        return EndpointMissingError(f"endpoint {name} is not there")
    if code in _BUSY_CODES:
        return DependencyBusyError(f"endpoint {name} is not ready: {message}")
    return error


def _counted(found: Any) -> str:
    return f"{len(found)} answers" if isinstance(found, list) else "something else than a list"
