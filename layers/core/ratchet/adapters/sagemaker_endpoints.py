"""SageMaker endpoints."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code, error_message
from ratchet.adapters.endpoint_requests import SHADOW_VARIANT, capture, change, variant
from ratchet.adapters.endpoint_watch import EndpointWatch
from ratchet.domain.errors import DependencyBusyError, EndpointFailedError
from ratchet.domain.ports import EndpointConfig, EndpointDescription, Prediction

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef, TagTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

    from ratchet.domain.deploy_section import DeploySection

# A first request to a serverless endpoint starts a container; SageMaker itself gives up after 60 s.
_RUNTIME_CONFIG = CLIENT_CONFIG.merge(Config(read_timeout=65))

_BUSY_CODES = frozenset(
    {"ResourceLimitExceeded", "ResourceInUse", "ModelNotReadyException", "InternalDependencyException"}
)
_BUSY_TEXT = "in-progress endpoint"


@contextmanager
def _sagemaker_errors() -> Iterator[None]:
    """What passes by itself (an update under way, capacity) becomes DependencyBusyError."""
    try:
        with busy_errors():
            yield
    except ClientError as error:
        message = error_message(error)
        if error_code(error) in _BUSY_CODES or _BUSY_TEXT in message:
            raise DependencyBusyError(f"{error.operation_name}: {message}") from error
        raise


def _says(error: ClientError, text: str) -> bool:
    """SageMaker has one ValidationException for most things; only its message tells them apart."""
    return error_code(error) == "ValidationException" and text in error_message(error)


class SageMakerEndpoints(EndpointWatch):
    """The Endpoints port over SageMaker."""

    def __init__(
        self,
        client: "SageMakerClient | None" = None,
        runtime: "SageMakerRuntimeClient | None" = None,
        cloudwatch: Any = None,
        autoscaling: Any = None,
    ) -> None:
        super().__init__(cloudwatch, autoscaling)
        self._client = client
        self._runtime = runtime

    @property
    def _sagemaker(self) -> "SageMakerClient":
        if self._client is None:
            self._client = boto3.client("sagemaker", config=CLIENT_CONFIG)
        return self._client

    def describe(self, name: str) -> EndpointDescription | None:
        try:
            with _sagemaker_errors():
                answer = self._sagemaker.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if _says(error, "Could not find"):
                return None
            raise
        return EndpointDescription(
            name=name,
            config_name=answer["EndpointConfigName"],
            status=answer["EndpointStatus"],
            modified=answer["LastModifiedTime"],
            failure_reason=answer.get("FailureReason", ""),
            full_weight="PendingDeploymentSummary" not in answer and _at_full_weight(answer),
        )

    def ensure_config(self, wanted: EndpointConfig) -> None:
        deploy = wanted.deploy
        asked: dict[str, Any] = {"ProductionVariants": [variant(wanted.model_name, deploy)]}
        if wanted.shadow is not None:
            asked["ShadowProductionVariants"] = [variant(wanted.shadow, deploy, SHADOW_VARIANT)]
        if wanted.captures_uri is not None and deploy.mode == "instance" and deploy.capture:
            asked["DataCaptureConfig"] = capture(deploy.capture, wanted.captures_uri)
        try:
            with _sagemaker_errors():
                self._sagemaker.create_endpoint_config(EndpointConfigName=wanted.name, **asked, Tags=_tags(wanted.tags))
        except ClientError as error:
            if not _says(error, "already existing"):
                raise

    def create(self, name: str, config_name: str, tags: dict[str, str]) -> None:
        try:
            with _sagemaker_errors():
                self._sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config_name, Tags=_tags(tags))
        except ClientError as error:
            if not _says(error, "already existing"):
                raise

    def update(self, name: str, config_name: str, deploy: "DeploySection | None" = None) -> None:
        with _sagemaker_errors():
            self._sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config_name, **change(name, deploy))

    def delete(self, name: str) -> None:
        try:
            with _sagemaker_errors():
                self._sagemaker.delete_endpoint(EndpointName=name)
        except ClientError as error:
            if not _says(error, "Could not find"):
                raise

    def predict(self, name: str, record: dict[str, Any]) -> Prediction:
        if self._runtime is None:
            self._runtime = boto3.client("sagemaker-runtime", config=_RUNTIME_CONFIG)
        started = time.perf_counter()
        try:
            with _sagemaker_errors():
                answer = self._runtime.invoke_endpoint(
                    EndpointName=name,
                    ContentType="application/json",
                    Accept="application/json",
                    Body=json.dumps(record).encode(),
                )
                body = answer["Body"].read()
        except ClientError as error:
            if error_code(error) == "ModelError":
                raise EndpointFailedError(f"endpoint {name}: {error_message(error)}") from error
            raise
        return Prediction(json.loads(body), (time.perf_counter() - started) * 1000)


def _at_full_weight(endpoint: "DescribeEndpointOutputTypeDef") -> bool:
    variants = [*endpoint.get("ProductionVariants", []), *endpoint.get("ShadowProductionVariants", [])]
    return all(found.get("CurrentWeight") == found.get("DesiredWeight") for found in variants)


def _tags(tags: dict[str, str]) -> "list[TagTypeDef]":
    return [{"Key": key, "Value": value} for key, value in tags.items()]
