"""Endpoints: what SageMaker is asked, and what its one ValidationException means each time."""

import io
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.errors import DependencyBusyError, EndpointFailedError
from ratchet.domain.ports import EndpointConfig
from tests.unit import samples

NAME, CONFIG = "ratchet-dev-traffic", "ratchet-dev-traffic-g1"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint"
TAGS = {"ratchet:pipeline": "traffic"}
TAG_LIST = [{"Key": "ratchet:pipeline", "Value": "traffic"}]


class Stubs:
    """Both clients answer from a script, and check each request against AWS's own model."""

    def __init__(self) -> None:
        client, runtime = boto3.client("sagemaker"), boto3.client("sagemaker-runtime")
        self.sagemaker, self.runtime = Stubber(client), Stubber(runtime)
        self.sagemaker.activate()
        self.runtime.activate()
        self.endpoints = SageMakerEndpoints(client, runtime)


@pytest.fixture
def stubs(aws: None) -> Stubs:
    return Stubs()


def description(**changes: Any) -> dict[str, Any]:
    return {
        "EndpointName": NAME,
        "EndpointArn": f"{ARN}/{NAME}",
        "EndpointConfigName": CONFIG,
        "EndpointStatus": "InService",
        "CreationTime": samples.NOW,
        "LastModifiedTime": samples.NOW,
        **changes,
    }


def test_describe(stubs: Stubs) -> None:
    failed = description(EndpointStatus="Failed", FailureReason="ping health check")
    stubs.sagemaker.add_response("describe_endpoint", failed, {"EndpointName": NAME})
    found = stubs.endpoints.describe(NAME)
    assert found is not None
    assert (found.config_name, found.status, found.failure_reason) == (CONFIG, "Failed", "ping health check")
    assert found.modified == samples.NOW


def test_an_endpoint_that_is_not_there_is_none(stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error(
        "describe_endpoint", "ValidationException", f'Could not find endpoint "{ARN}/{NAME}".'
    )
    assert stubs.endpoints.describe(NAME) is None


def test_another_validation_error_stays_one(stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("describe_endpoint", "ValidationException", "1 validation error detected")
    with pytest.raises(ClientError, match="1 validation error"):
        stubs.endpoints.describe(NAME)


@pytest.mark.parametrize(
    ("deploy", "variant"),
    [
        (
            DeploySection(memory_mb=3072, max_concurrency=5),
            {"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5}},
        ),
        (
            DeploySection(mode="instance", instances=2, instance_type="ml.c5.large"),
            {"InstanceType": "ml.c5.large", "InitialInstanceCount": 2},
        ),
    ],
)
def test_a_configuration_is_serverless_or_on_instances(
    stubs: Stubs, deploy: DeploySection, variant: dict[str, Any]
) -> None:
    base = {"VariantName": "AllTraffic", "ModelName": "model", "InitialVariantWeight": 1.0}
    stubs.sagemaker.add_response(
        "create_endpoint_config",
        {"EndpointConfigArn": f"{ARN}-config/{CONFIG}"},
        {"EndpointConfigName": CONFIG, "ProductionVariants": [{**base, **variant}], "Tags": TAG_LIST},
    )
    stubs.endpoints.ensure_config(EndpointConfig(CONFIG, "model", deploy, TAGS))
    stubs.sagemaker.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("deploy", "percent"),
    [({"mode": "instance", "capture": 20}, 20), ({"mode": "instance", "capture": 0}, None), ({}, None)],
)
def test_instances_capture_what_is_asked_of_them(stubs: Stubs, deploy: dict[str, Any], percent: int | None) -> None:
    asked: dict[str, Any] = {"EndpointConfigName": CONFIG, "ProductionVariants": ANY, "Tags": TAG_LIST}
    if percent is not None:
        asked["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": percent,
            "DestinationS3Uri": "s3://artifacts/captures",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json", "application/jsonlines"]},
        }
    stubs.sagemaker.add_response("create_endpoint_config", {"EndpointConfigArn": f"{ARN}-config/{CONFIG}"}, asked)
    section = DeploySection.model_validate(deploy)
    stubs.endpoints.ensure_config(
        EndpointConfig(CONFIG, "model", section, TAGS, captures_uri="s3://artifacts/captures")
    )
    stubs.sagemaker.assert_no_pending_responses()


def test_what_exists_already_is_fine(stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error(
        "create_endpoint_config",
        "ValidationException",
        f'Cannot create already existing endpoint configuration "{CONFIG}".',
    )
    stubs.endpoints.ensure_config(EndpointConfig(CONFIG, "model", DeploySection(), TAGS))
    stubs.sagemaker.add_client_error(
        "create_endpoint", "ValidationException", f'Cannot create already existing endpoint "{ARN}/{NAME}".'
    )
    stubs.endpoints.create(NAME, CONFIG, TAGS)


def test_create_update_and_delete(stubs: Stubs) -> None:
    wanted = {"EndpointName": NAME, "EndpointConfigName": CONFIG}
    stubs.sagemaker.add_response("create_endpoint", {"EndpointArn": f"{ARN}/{NAME}"}, {**wanted, "Tags": TAG_LIST})
    stubs.sagemaker.add_response("update_endpoint", {"EndpointArn": f"{ARN}/{NAME}"}, wanted)
    stubs.sagemaker.add_response("delete_endpoint", {}, {"EndpointName": NAME})
    stubs.endpoints.create(NAME, CONFIG, TAGS)
    stubs.endpoints.update(NAME, CONFIG)
    stubs.endpoints.delete(NAME)
    stubs.sagemaker.assert_no_pending_responses()


def test_deleting_what_is_gone_is_fine(stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("delete_endpoint", "ValidationException", "Could not find endpoint")
    stubs.endpoints.delete(NAME)


@pytest.mark.parametrize(
    ("operation", "code", "message"),
    [
        ("update_endpoint", "ValidationException", f'Cannot update in-progress endpoint "{ARN}/{NAME}".'),
        ("update_endpoint", "ThrottlingException", "Rate exceeded"),
        ("update_endpoint", "ResourceLimitExceeded", "The account-level service limit is reached"),
        ("delete_endpoint", "ValidationException", f'Cannot update in-progress endpoint "{ARN}/{NAME}".'),
    ],
)
def test_what_passes_by_itself_is_busy(stubs: Stubs, operation: str, code: str, message: str) -> None:
    stubs.sagemaker.add_client_error(operation, code, message)
    with pytest.raises(DependencyBusyError):
        stubs.endpoints.delete(NAME) if operation == "delete_endpoint" else stubs.endpoints.update(NAME, CONFIG)


def test_a_missing_model_is_not_busy(stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("create_endpoint_config", "ValidationException", "Could not find model")
    with pytest.raises(ClientError, match="Could not find model"):
        stubs.endpoints.ensure_config(EndpointConfig(CONFIG, "model", DeploySection(), TAGS))


def test_a_prediction_is_timed_and_parsed(stubs: Stubs) -> None:
    body = b'{"prediction": 4711.5}'
    stubs.runtime.add_response(
        "invoke_endpoint",
        {"Body": StreamingBody(io.BytesIO(body), len(body))},
        {
            "EndpointName": NAME,
            "ContentType": "application/json",
            "Accept": "application/json",
            "Body": b'{"temp": 280.5, "weather_main": null}',
        },
    )
    prediction = stubs.endpoints.predict(NAME, {"temp": 280.5, "weather_main": None})
    assert prediction.body == {"prediction": 4711.5}
    assert 0 < prediction.milliseconds < 10_000


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ModelError", EndpointFailedError),
        ("ModelNotReadyException", DependencyBusyError),
        ("ServiceUnavailable", DependencyBusyError),
        ("ValidationError", ClientError),
    ],
)
def test_an_endpoint_that_does_not_answer(stubs: Stubs, code: str, error: type[Exception]) -> None:
    stubs.runtime.add_client_error("invoke_endpoint", code, "Received server error (500) from primary")
    with pytest.raises(error, match="Received server error"):
        stubs.endpoints.predict(NAME, {})


def test_a_timeout_is_busy(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(**_: object) -> None:
        raise ReadTimeoutError(endpoint_url="https://runtime")

    monkeypatch.setattr(stubs.endpoints._runtime, "invoke_endpoint", time_out)
    with pytest.raises(DependencyBusyError, match="Read timeout"):
        stubs.endpoints.predict(NAME, {})
