"""InvokeEndpoint: payloads within its limit, and its errors by what they mean to a caller."""

import io
import json
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from ratchet.adapters.sagemaker_runtime import SageMakerPredictions, parts
from ratchet.domain.errors import DependencyBusyError, EndpointMissingError, ModelFailedError


@pytest.fixture
def stubbed() -> tuple[SageMakerPredictions, Stubber]:
    client = boto3.client(
        "sagemaker-runtime", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    stub = Stubber(client)
    stub.activate()
    return SageMakerPredictions(client), stub


def answer(document: Any) -> dict[str, Any]:
    body = json.dumps(document).encode()
    return {"Body": StreamingBody(io.BytesIO(body), len(body)), "ContentType": "application/json"}


def test_one_request_asks_for_all(stubbed: tuple[SageMakerPredictions, Stubber]) -> None:
    predictions, stub = stubbed
    asked = {"EndpointName": "e", "ContentType": ANY, "Accept": ANY, "Body": b'[{"x": 1},{"x": 2}]'}
    stub.add_response("invoke_endpoint", answer([{"prediction": 1}, {"prediction": 2}]), asked)
    assert predictions.predict("e", [{"x": 1}, {"x": 2}]) == [{"prediction": 1}, {"prediction": 2}]


def test_records_are_grouped_below_the_payload_limit_and_keep_their_order() -> None:
    records = [{"x": "a" * size} for size in (10, 500, 30, 40, 50, 2_000, 1)]
    groups = list(parts(records, limit=600))
    assert [json.loads(text) for group in groups for text in group] == records
    assert all(sum(map(len, group)) + len(group) <= 600 or len(group) == 1 for group in groups)
    assert len(groups) == 4


@pytest.mark.parametrize(
    ("code", "message", "status", "error"),
    [
        ("ValidationError", "Endpoint e of account 1 not found.", 400, EndpointMissingError),
        ("ModelError", "Received server error (500) from primary with message", 424, ModelFailedError),
        ("ThrottlingException", "Rate exceeded", 400, DependencyBusyError),
        ("ServiceUnavailable", "no capacity", 503, DependencyBusyError),
        ("ModelNotReadyException", "still loading", 429, DependencyBusyError),
    ],
)
def test_errors_mean_something(
    stubbed: tuple[SageMakerPredictions, Stubber], code: str, message: str, status: int, error: type[Exception]
) -> None:
    predictions, stub = stubbed
    stub.add_client_error("invoke_endpoint", code, message, http_status_code=status)
    with pytest.raises(error):
        predictions.predict("e", [{}])


@pytest.mark.parametrize("document", [[], {"prediction": 1}, [1, 2]])
def test_a_model_that_answers_for_other_records_has_failed(
    stubbed: tuple[SageMakerPredictions, Stubber], document: Any
) -> None:
    predictions, stub = stubbed
    stub.add_response("invoke_endpoint", answer(document))
    with pytest.raises(ModelFailedError, match="for 1 records"):
        predictions.predict("e", [{}])
