"""`ratchet dlq`: letters of every kind of sender, on moto's SQS; the doors are recorded."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner, Result

from cli.main import app
from cli.stack import Stack
from ratchet.domain.ledger import Withdrawal
from tests.unit.world import World

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:ingest"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:start-run"
CREATED = {
    "detail-type": "Object Created",
    "time": "2026-05-01T10:00:00Z",
    "detail": {"bucket": {"name": "data"}, "object": {"key": "incoming/traffic/[b].csv", "version-id": "v1"}},
}


class Doors:
    """Where letters go; what it is told to refuse, it refuses."""

    def __init__(self) -> None:
        self.went: list[tuple[str, Any]] = []
        self.refuses: set[str] = set()

    def start_execution(self, **request: str) -> None:
        self._take(request["stateMachineArn"], request["input"])

    def invoke(self, **request: Any) -> None:
        assert request["InvocationType"] == "Event"
        self._take(request["FunctionName"], request["Payload"].decode())

    def _take(self, door: str, body: str) -> None:
        if door in self.refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "StartExecution")
        self.went.append((door, json.loads(body)))


@pytest.fixture
def doors(stack: Stack) -> Doors:
    """The stack's functions and workflows."""
    stack.functions = stack.executions = doors = Doors()  # type: ignore[assignment]
    return doors


@pytest.fixture
def urls(stack: Stack) -> dict[str, str]:
    """The stack's queues, by logical id."""
    names = ("IngestDeadLetterQueue", "EventsDeadLetterQueue", "ScoreDeadLetterQueue")
    stack.queue_urls = {name: stack.queues.create_queue(QueueName=name)["QueueUrl"] for name in names}
    attributes = stack.queues.get_queue_attributes(QueueUrl=stack.queue_urls[names[2]], AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": attributes["Attributes"]["QueueArn"], "maxReceiveCount": 3}
    source = stack.queues.create_queue(QueueName="ScoreQueue", Attributes={"RedrivePolicy": json.dumps(policy)})
    stack.queue_urls["ScoreQueue"] = source["QueueUrl"]
    return stack.queue_urls


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> None:
    """An empty queue is not waited for."""
    receive = stack.queues.receive_message
    monkeypatch.setattr(stack.queues, "receive_message", lambda **said: receive(**{**said, "WaitTimeSeconds": 0}))


def put(stack: Stack, url: str, body: Any, **attributes: str) -> str:
    """A letter as its sender would leave it; its id."""
    typed: dict[str, Any] = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    text = body if isinstance(body, str) else json.dumps(body)
    return stack.queues.send_message(QueueUrl=url, MessageBody=text, MessageAttributes=typed)["MessageId"]


def ratchet(runner: CliRunner, *words: str, code: int = 0) -> Result:
    """The command; its exit code is as expected."""
    ended = runner.invoke(app, ["dlq", *words])
    assert ended.exit_code == code, ended.output
    return ended


@pytest.fixture
def letters(stack: Stack, urls: dict[str, str]) -> dict[str, str]:
    """One letter of each sender: id by the sender's name."""
    workflow = {
        "ERROR_CODE": "DependencyBusyError",
        "ERROR_MESSAGE": "S3 is busy",
        "EXECUTION_ARN": "arn:aws:states:us-east-1:123456789012:express:ingest:a:b",
    }
    rule = {"ERROR_CODE": "NO_PERMISSIONS", "TARGET_ARN": MACHINE, "RULE_ARN": "arn:aws:events:…:rule/ingest"}
    schedule = {"ERROR_CODE": "Timeout", "TARGET_ARN": FUNCTION, "SCHEDULE_ARN": "arn:…:schedule/ratchet-dev/traffic"}
    record = {
        "requestContext": {"functionArn": f"{FUNCTION}:$LATEST", "condition": "RetriesExhausted"},
        "requestPayload": {"pipeline": "traffic", "reason": "event"},
        "responsePayload": {"errorType": "LedgerError", "errorMessage": "the table is not there"},
    }
    return {
        "workflow": put(stack, urls["IngestDeadLetterQueue"], CREATED, **workflow),
        "rule": put(stack, urls["IngestDeadLetterQueue"], CREATED, **rule),
        "schedule": put(stack, urls["EventsDeadLetterQueue"], {"pipeline": "traffic"}, **schedule),
        "function": put(stack, urls["EventsDeadLetterQueue"], record),
        "queue": put(stack, urls["ScoreDeadLetterQueue"], {"Records": [{"s3": {"object": {"key": "score/a.csv"}}}]}),
    }


def test_each_letter_says_where_it_came_from_and_why(
    stack: Stack, letters: dict[str, str], runner: CliRunner, urls: dict[str, str]
) -> None:
    found = {letter["id"]: letter for letter in json.loads(ratchet(runner, "list", "--json").stdout)}
    told = {name: found[letter] for name, letter in letters.items()}
    assert {name: letter["origin"] for name, letter in told.items()} == {
        "workflow": MACHINE,
        "rule": MACHINE,
        "schedule": FUNCTION,
        "function": FUNCTION,
        "queue": urls["ScoreQueue"],
    }
    assert {name: letter["error"] for name, letter in told.items()} == {
        "workflow": "DependencyBusyError",
        "rule": "NO_PERMISSIONS",
        "schedule": "Timeout",
        "function": "LedgerError",
        "queue": "unknown",
    }
    assert told["workflow"]["about"] == "incoming/traffic/[b].csv"
    assert told["workflow"]["first"] == "2026-05-01T10:00:00+00:00"
    assert told["function"]["about"] == "traffic"


def test_looking_takes_nothing_and_marks_nothing_up(letters: dict[str, str], runner: CliRunner) -> None:
    for _ in range(2):
        assert "[b].csv" in ratchet(runner, "list").stdout
    shown = json.loads(ratchet(runner, "show", letters["function"]).stdout)
    assert shown["body"] == {"pipeline": "traffic", "reason": "event"}
    assert shown["message"] == "the table is not there"
    assert len(json.loads(ratchet(runner, "list", "--json").stdout)) == len(letters)


def test_redrive_puts_each_back_through_its_door(
    stack: Stack, letters: dict[str, str], doors: Doors, runner: CliRunner, urls: dict[str, str]
) -> None:
    ratchet(runner, "redrive", "--all")
    assert sorted(doors.went, key=str) == sorted(
        [
            (MACHINE, CREATED),
            (MACHINE, CREATED),
            (FUNCTION, {"pipeline": "traffic"}),
            (FUNCTION, {"pipeline": "traffic", "reason": "event"}),
        ],
        key=str,
    )
    moved = stack.queues.receive_message(QueueUrl=urls["ScoreQueue"])["Messages"]
    assert json.loads(moved[0]["Body"])["Records"][0]["s3"]["object"]["key"] == "score/a.csv"
    assert "No dead letters" in ratchet(runner, "list").stdout


def test_what_a_door_refuses_stays(letters: dict[str, str], doors: Doors, runner: CliRunner) -> None:
    doors.refuses = {MACHINE}
    ended = ratchet(runner, "redrive", "--all", "--json", code=1)
    answer = json.loads(ended.stdout)
    assert set(answer["refused"]) == {letters["workflow"], letters["rule"]}
    assert len(answer["redriven"]) == 3
    assert len(json.loads(ratchet(runner, "list", "--json").stdout)) == 2


def test_an_id_must_mean_one_letter(letters: dict[str, str], doors: Doors, runner: CliRunner) -> None:
    assert "is no letter's id" in ratchet(runner, "redrive", "nothing", code=1).stderr
    assert "or write --all" in ratchet(runner, "redrive", code=1).stderr
    ratchet(runner, "redrive", letters["schedule"])
    assert doors.went == [(FUNCTION, {"pipeline": "traffic"})]


def test_a_queue_that_is_not_there_is_named(letters: dict[str, str], runner: CliRunner) -> None:
    assert "It has: events, ingest, score" in " ".join(
        ratchet(runner, "list", "--queue", "sales", code=1).stderr.split()
    )


def test_dropping_needs_a_reason_keeps_the_letter_and_withdraws_the_upload(
    stack: Stack, urls: dict[str, str], runner: CliRunner
) -> None:
    world = World()
    world.apply()
    stack.ledger = world.ledger
    stack.caller = "arn:aws:iam::123456789012:user/ada"
    stack.outputs = replace(stack.outputs, data_bucket_name="data")
    key = "incoming/traffic/bad.csv"
    version = stack.s3.put_object(Bucket="data", Key=key, Body=b"not to be read")["VersionId"]
    event = {"detail": {"object": {"key": key, "version-id": version}}}
    letter = put(stack, urls["IngestDeadLetterQueue"], event, TARGET_ARN=MACHINE)
    assert "--reason" in ratchet(runner, "drop", letter, code=2).stderr
    assert "Say why" in ratchet(runner, "drop", letter, "--reason", " ", code=1).stderr
    ratchet(runner, "drop", letter, "--reason", "sent by mistake")
    kept = json.loads(stack.s3.get_object(Bucket="artifacts", Key=f"dead-letters/ingest/{letter}.json")["Body"].read())
    assert (kept["reason"], kept["by"], kept["body"]) == ("sent by mistake", stack.caller, event)
    (withdrawal,) = stack.ledger.withdrawals("traffic")
    assert isinstance(withdrawal, Withdrawal)
    assert stack.ledger.objects("traffic") == {(key, version): withdrawal.upload_id}
    assert "No dead letters" in ratchet(runner, "list").stdout
