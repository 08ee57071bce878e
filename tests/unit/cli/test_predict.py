"""`ratchet predict` and the caller that never stops: answers, refusals, failures."""

import io
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli.caller import Caller
from cli.main import app
from cli.stack import Stack
from ratchet.contracts.run import DefinitionRef


class FakeEndpoint:
    """Answers every record with its `x`; fails as told."""

    def __init__(self) -> None:
        self.error: ClientError | None = None
        self.asked: list[tuple[str, Any]] = []

    def invoke_endpoint(self, EndpointName: str, Body: bytes, **_: str) -> dict[str, Any]:  # noqa: N803  boto3's names
        self.asked.append((EndpointName, json.loads(Body)))
        if self.error is not None:
            raise self.error
        return {"Body": io.BytesIO(json.dumps({"prediction": json.loads(Body)["x"]}).encode())}


@pytest.fixture
def endpoint(stack: Stack) -> FakeEndpoint:
    reference = DefinitionRef(definition_id="d", uri="s3://a/d", data_hash="h", settle_seconds=1, on_upload=True)
    stack.ledger.apply_definition("traffic", reference)
    stack.predictions = FakeEndpoint()  # type: ignore[assignment]
    return stack.predictions  # type: ignore[return-value]


def client_error(code: str, message: str, **more: str) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, **more}
    return ClientError(response, "InvokeEndpoint")


def test_the_answer_is_json(endpoint: FakeEndpoint, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["predict", "traffic", "--json", '{"x": 3}'])
    assert json.loads(ended.stdout) == {"prediction": 3}
    assert endpoint.asked == [("ratchet-dev-traffic", {"x": 3})]


def test_a_record_that_is_no_json_is_refused_here(endpoint: FakeEndpoint, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["predict", "traffic", "--json", "{x: 3}"])
    assert ended.exit_code == 1
    assert "--json is not JSON" in ended.stderr
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            client_error("ModelError", "long", OriginalMessage="column x must be\nTraceback"),
            "refused the record: column x",
        ),
        (client_error("ValidationError", "Endpoint x of account y not found."), "has no model that serves yet"),
        (client_error("AccessDenied", "not yours"), "InvokeEndpoint failed with AccessDenied"),
    ],
)
def test_failures_are_one_paragraph(endpoint: FakeEndpoint, runner: CliRunner, error: ClientError, says: str) -> None:
    endpoint.error = error
    ended = runner.invoke(app, ["predict", "traffic", "--json", "{}"])
    assert ended.exit_code == 1
    assert says in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.output


def test_the_caller_counts_answers_and_failures(endpoint: FakeEndpoint, stack: Stack) -> None:
    with Caller(stack, "traffic", [{"x": 1}], every=0.001) as caller:
        until_more(caller, "answered")
        assert caller.failures == []
        endpoint.error = client_error("ThrottlingException", "slow down")
        until_more(caller, "failures")
    assert "slow down" in caller.failures[0]


def until_more(caller: Caller, counter: str) -> None:
    deadline = time.monotonic() + 5
    while not getattr(caller, counter):
        assert time.monotonic() < deadline
        time.sleep(0.001)
