"""`ratchet predict` and the caller that never stops: answers, refusals, failures."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli.api import Answer
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


class FakeApi:
    """Answers each record with its `x`, or as told."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.answer: Answer | None = None

    def post(self, *path: str, body: dict[str, Any]) -> Answer:
        assert path == ("pipelines", "traffic", "predictions")
        self.asked.append(body["records"])
        return self.answer or Answer(200, {"predictions": [{"prediction": item["x"]} for item in body["records"]]})


@pytest.fixture
def api(endpoint: FakeEndpoint, stack: Stack) -> FakeApi:
    stack.api = FakeApi()  # type: ignore[assignment]
    return stack.api  # type: ignore[return-value]


def test_the_answer_is_json(api: FakeApi, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["predict", "traffic", "--json", '{"x": 3}'])
    assert json.loads(ended.stdout) == {"prediction": 3}
    assert api.asked == [[{"x": 3}]]


@pytest.mark.parametrize("text", ['[{"x": 1}, {"x": 2}]', '{"x": 1}\n\n{"x": 2}\n'])
def test_a_file_is_a_list_or_lines(api: FakeApi, runner: CliRunner, tmp_path: Path, text: str) -> None:
    (tmp_path / "records").write_text(text)
    ended = runner.invoke(app, ["predict", "traffic", str(tmp_path / "records")])
    assert json.loads(ended.stdout) == [{"prediction": 1}, {"prediction": 2}]


def test_many_records_are_several_requests(api: FakeApi, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["predict", "traffic", "--json", json.dumps([{"x": n} for n in range(1_001)])])
    assert len(json.loads(ended.stdout)) == 1_001
    assert [len(part) for part in api.asked] == [1_000, 1]


def test_a_record_that_is_no_json_is_refused_here(api: FakeApi, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["predict", "traffic", "--json", "{x: 3}"])
    assert ended.exit_code == 1
    assert "--json is not JSON" in ended.stderr
    assert api.asked == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            Answer(
                400,
                {"message": "1 of 1 records break it", "problems": [{"record": 0, "field": "x", "problem": "is red"}]},
            ),
            "answered 400: 1 of 1 records break it. - record 0, x: is red",
        ),
        (Answer(503, {"message": "asleep"}, {"retry-after": "60"}), "answered 503: asleep. Try again in 60 s."),
        (Answer(403, {"message": "Forbidden"}), "answered 403: Forbidden."),
    ],
)
def test_refusals_are_one_paragraph(api: FakeApi, runner: CliRunner, answer: Answer, says: str) -> None:
    api.answer = answer
    ended = runner.invoke(app, ["predict", "traffic", "--json", "{}"])
    assert ended.exit_code == 1
    assert says in " ".join(ended.stderr.split())


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
