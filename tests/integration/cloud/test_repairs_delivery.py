"""T3, T7, T27: events are delivered by permission, and what cannot be delivered goes to the dead-letter queue."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from local.cloud.process import Cloud
from tests.integration.cloud.account import ALLOW_ALL, Account, allow, until

EVENTS = "events.amazonaws.com"
SCHEDULER = "scheduler.amazonaws.com"
PASS_MACHINE = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
HELLO = "def handler(event, context):\n    print('got', event)\n"
FAILS = "def handler(event, context):\n    raise ValueError('never')\n"


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


@pytest.fixture
def source() -> str:
    return f"test.{uuid4().hex[:12]}"


@dataclass
class Letters:
    """A dead-letter queue and what arrives in it."""

    account: Account
    service: str = EVENTS
    url: str = field(init=False)
    arn: str = field(init=False)

    def __post_init__(self) -> None:
        self.url, self.arn = self.account.open_queue(self.service)

    def next(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The next message's body and attributes."""
        message = self.account.received(self.url)
        attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
        return json.loads(message["Body"]), attributes


def send(account: Account, source: str, target: Mapping[str, Any]) -> tuple[Letters, str]:
    """The dead-letter queue and the rule that an event has just gone through."""
    letters = Letters(account)
    rule = account.rule({"source": [source]}, **{"DeadLetterConfig": {"Arn": letters.arn}, **target})
    account.put_event(source, {"number": 1})
    return letters, rule


def executions(account: Account, machine: str) -> list[Any]:
    return list(account.states.list_executions(stateMachineArn=machine)["executions"])


def permit(account: Account, function: str, service: str, source_arn: str) -> None:
    account.functions.add_permission(
        FunctionName=function,
        StatementId=uuid4().hex,
        Action="lambda:InvokeFunction",
        Principal=service,
        SourceArn=source_arn,
    )


# -- rules --------------------------------------------------------------------------------------------------------


def test_a_rule_starts_a_machine_by_its_role(account: Account, source: str) -> None:
    machine = account.machine(PASS_MACHINE)
    role = account.role(EVENTS, allow("states:StartExecution", machine))

    letters, _ = send(account, source, {"Arn": machine, "RoleArn": role})

    until(lambda: executions(account, machine))
    assert not account.message(letters.url)


@pytest.mark.parametrize(
    ("service", "statement", "code", "message"),
    [
        (EVENTS, allow("states:StartExecution", "*:stateMachine:other"), "NO_PERMISSIONS", "states:StartExecution"),
        ("lambda.amazonaws.com", ALLOW_ALL, "FAILED_TO_ASSUME_ROLE", "is not authorized to assume the role"),
    ],
)
def test_a_machine_the_role_may_not_start(
    account: Account, source: str, service: str, statement: dict[str, Any], code: str, message: str
) -> None:
    machine = account.machine(PASS_MACHINE)
    role = account.role(service, statement)

    letters, rule = send(account, source, {"Arn": machine, "RoleArn": role})

    body, attributes = letters.next()
    assert (body["source"], body["detail"]) == (source, {"number": 1})
    assert (attributes["RULE_ARN"], attributes["TARGET_ARN"], attributes["ERROR_CODE"]) == (rule, machine, code)
    assert message in attributes["ERROR_MESSAGE"]
    assert not executions(account, machine)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:states:us-east-1:000000000000:stateMachine:absent",
        "arn:aws:lambda:us-east-1:000000000000:function:absent",
        "arn:aws:sqs:us-east-1:000000000000:absent",
        "arn:aws:sns:us-east-1:000000000000:absent",
    ],
)
def test_a_target_that_is_not_there(account: Account, source: str, arn: str) -> None:
    letters, _ = send(account, source, {"Arn": arn, "RoleArn": account.role(EVENTS, ALLOW_ALL)})

    _, attributes = letters.next()
    assert (attributes["TARGET_ARN"], attributes["ERROR_CODE"]) == (arn, "NO_RESOURCE")


def test_a_function_lets_only_the_named_rule_in(account: Account, source: str) -> None:
    function = account.function(HELLO)
    permit(account, function, EVENTS, "arn:aws:events:us-east-1:000000000000:rule/another")

    letters, rule = send(account, source, {"Arn": function})
    _, attributes = letters.next()
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert "lambda:InvokeFunction" in attributes["ERROR_MESSAGE"]

    permit(account, function, EVENTS, rule)
    account.put_event(source, {"number": 2})
    until(lambda: "got" in account.logged(function))


def test_a_queue_lets_events_in_by_its_policy(account: Account, source: str) -> None:
    closed, _ = account.queue()
    arn = account.sqs.get_queue_attributes(QueueUrl=closed, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    letters, _ = send(account, source, {"Arn": arn})

    assert letters.next()[1]["ERROR_CODE"] == "NO_PERMISSIONS"
    assert not account.message(closed)


def test_the_payload_is_the_targets_choice(account: Account, source: str) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"Input": '{"fixed": 1}'}, {"fixed": 1}),
        ({"InputPath": "$.detail"}, {"number": 1}),
        (
            {"InputTransformer": {"InputPathsMap": {"n": "$.detail.number"}, "InputTemplate": '{"got": <n>}'}},
            {"got": 1},
        ),
    ]
    for target, expected in cases:
        url, arn = account.open_queue()
        send(account, source, {"Arn": arn, **target})
        assert json.loads(account.received(url)["Body"]) == expected


def test_a_dead_letter_queue_that_does_not_let_events_in_gets_nothing(account: Account, source: str) -> None:
    url, arn = account.queue()
    rule = account.rule(
        {"source": [source]},
        Arn="arn:aws:sqs:us-east-1:000000000000:absent",
        DeadLetterConfig={"Arn": arn},
    )

    account.put_event(source)

    assert rule
    assert not account.message(url)


def test_a_function_that_fails_is_tried_again_and_then_its_destination_is_told(account: Account, source: str) -> None:
    function = account.function(FAILS)
    url, arn = account.queue()
    account.functions.put_function_event_invoke_config(
        FunctionName=function, MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    _, rule = send(account, source, {"Arn": function})
    permit(account, function, EVENTS, rule)

    account.put_event(source, {"number": 2})

    letter = json.loads(account.received(url)["Body"])
    assert letter["requestPayload"]["detail"] == {"number": 2}
    assert letter["responsePayload"]["errorType"] == "ValueError"
    assert account.logged(function).count("START RequestId") == 2


# -- Scheduler ----------------------------------------------------------------------------------------------------


def schedule(account: Account, **target: Any) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    name = f"schedule-{uuid4().hex[:12]}"
    return str(
        account.client("scheduler").create_schedule(
            Name=name,
            ScheduleExpression=f"at({now})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Input": '{"pipeline": "traffic"}', **target},
        )["ScheduleArn"]
    )


def test_schedules_act_by_their_role_and_bury_what_fails(account: Account) -> None:
    letters = Letters(account)
    dead_letters = {"DeadLetterConfig": {"Arn": letters.arn}}
    started, refused = account.machine(PASS_MACHINE), account.machine(PASS_MACHINE)
    may = account.role(SCHEDULER, allow("states:StartExecution", started), allow("sqs:SendMessage", letters.arn))

    schedule(account, Arn=started, RoleArn=may, **dead_letters)
    arn = schedule(account, Arn=refused, RoleArn=may, **dead_letters)

    found = until(lambda: executions(account, started))
    execution = account.states.describe_execution(executionArn=found[0]["executionArn"])
    assert json.loads(execution["input"]) == {"pipeline": "traffic"}
    body, attributes = letters.next()
    assert body == {"pipeline": "traffic"}
    assert (attributes["SCHEDULE_ARN"], attributes["TARGET_ARN"]) == (arn, refused)
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert not executions(account, refused)


# -- topics and buckets -------------------------------------------------------------------------------------------


def test_a_topic_reaches_a_function_only_with_its_permission(account: Account) -> None:
    function, sns = account.function(HELLO), account.client("sns")
    topic = sns.create_topic(Name=f"topic-{uuid4().hex[:8]}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)

    sns.publish(TopicArn=topic, Message="first")
    permit(account, function, "sns.amazonaws.com", topic)
    sns.publish(TopicArn=topic, Message="second")

    until(lambda: "second" in account.logged(function))
    assert "first" not in account.logged(function)


@pytest.mark.without("T3", "T7", "T27")
def test_without_the_repair_anything_is_delivered_once_and_nothing_is_buried(bare: Account) -> None:
    machine = bare.machine(PASS_MACHINE)
    letters, _ = send(bare, "first", {"Arn": machine, "RoleArn": bare.role("ec2.amazonaws.com")})
    assert until(lambda: executions(bare, machine))

    send(bare, "second", {"Arn": "arn:aws:sqs:us-east-1:000000000000:absent"})
    failing = bare.function("def handler(event, context):\n    print('tried')\n    raise ValueError\n")
    send(bare, "third", {"Arn": failing})
    until(lambda: "tried" in bare.logged(failing))
    assert not bare.message(letters.url)
    time.sleep(1.5)  # the first of AWS's two further attempts comes after one second here
    assert bare.logged(failing).count("tried") == 1
