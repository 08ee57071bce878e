"""The few AWS calls that the tests of the repairs are made of."""

import http.client
import io
import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from local.cloud.process import Cloud, CloudSettings, free_port

T = TypeVar("T")
# The Lambda environment is made with the same Python as this one.
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_DEADLINE_SECONDS = 20


@contextmanager
def cloud_without(trap: str, folder: Path) -> Iterator["Account"]:
    """An account of a cloud that lacks one repair."""
    cloud = Cloud(CloudSettings(port=free_port(), state=folder / "without", without=trap))
    cloud.up()
    try:
        yield Account(cloud)
    finally:
        cloud.down()


def until(probe: Callable[[], T], seconds: float = _DEADLINE_SECONDS) -> T:
    """The probe's first true value; AssertionError when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.02)


def reset(cloud: Cloud) -> None:
    """Empties a cloud."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.port, timeout=30)
    connection.request("POST", "/_ministack/reset")
    assert connection.getresponse().status == http.client.OK
    connection.close()


def allow(action: str | Sequence[str], resource: str = "*") -> dict[str, Any]:
    """A policy statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@dataclass(frozen=True)
class Account:
    """What a test makes in a cloud: each thing with a name of its own, nothing is cleaned up."""

    cloud: Cloud

    def role(self, service: str, *statements: Mapping[str, Any]) -> str:
        """The ARN of a role that the service may assume, with an inline policy of these statements."""
        name = f"role-{uuid4().hex[:12]}"
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
        if statements:
            self.iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=_policy(*statements))
        return str(arn)

    def function(self, source: str, **settings: Any) -> str:
        """The ARN of a function made of one file, whose handler is `app.handler`."""
        name = f"function-{uuid4().hex[:12]}"
        function = self.functions.create_function(
            FunctionName=name,
            **{
                "Runtime": RUNTIME,
                "Handler": "app.handler",
                "Role": self.role("lambda.amazonaws.com", ALLOW_ALL),
                "Code": {"ZipFile": archive({"app.py": source})},
                **settings,
            },
        )
        return str(function["FunctionArn"])

    def invoke(self, arn: str, event: Any = None) -> Any:
        """A function's result, or its error document."""
        answer = self.functions.invoke(FunctionName=arn, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    def machine(self, definition: Mapping[str, Any], role: str | None = None, kind: str = "STANDARD") -> str:
        """The ARN of a state machine; its role may do everything unless one is given."""
        machine = self.states.create_state_machine(
            name=f"machine-{uuid4().hex[:12]}",
            definition=json.dumps(definition),
            roleArn=role or self.role("states.amazonaws.com", ALLOW_ALL),
            type=kind,
        )
        return str(machine["stateMachineArn"])

    def run(self, definition: Mapping[str, Any], given: Any = None, role: str | None = None) -> dict[str, Any]:
        """An ended execution: status, output (parsed), error, cause."""
        execution = self.start(self.machine(definition, role), given)
        ended = self.end(execution)
        return {**ended, "output": json.loads(ended.get("output") or "null")}

    def run_states(self, given: Any, role: str | None = None, /, **states: Mapping[str, Any]) -> dict[str, Any]:
        """An ended execution of these states, the first one first."""
        return self.run({"StartAt": next(iter(states)), "States": states}, given, role)

    def start(self, machine: str, given: Any = None) -> str:
        """The ARN of a new execution."""
        started = self.states.start_execution(stateMachineArn=machine, input=json.dumps(given if given else {}))
        return str(started["executionArn"])

    def end(self, execution: str) -> dict[str, Any]:
        """The execution, when it no longer runs."""
        ended = until(lambda: self.ended(execution))
        assert ended is not None
        return ended

    def ended(self, execution: str) -> dict[str, Any] | None:
        """The execution, once it no longer runs."""
        found: dict[str, Any] = self.states.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    def queue(self, *statements: Mapping[str, Any]) -> tuple[str, str]:
        """A queue's URL and ARN, with a policy of these statements."""
        url = self.sqs.create_queue(QueueName=f"queue-{uuid4().hex[:12]}")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        if statements:
            policy = _policy(*({"Resource": arn, **statement} for statement in statements))
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return url, arn

    def open_queue(self, service: str = "events.amazonaws.com") -> tuple[str, str]:
        """A queue that a service may send to."""
        return self.queue({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage"})

    def received(self, queue_url: str, seconds: float = _DEADLINE_SECONDS) -> dict[str, Any]:
        """The next message of a queue, with its attributes."""
        return until(lambda: self.message(queue_url), seconds)

    def message(self, queue_url: str) -> dict[str, Any]:
        """A message that is there now, or an empty one."""
        found = self.sqs.receive_message(QueueUrl=queue_url, MessageAttributeNames=["All"]).get("Messages", [])
        return dict(found[0]) if found else {}

    def rule(self, pattern: Mapping[str, Any], **target: Any) -> str:
        """The ARN of a rule on the default bus with one target."""
        name = f"rule-{uuid4().hex[:12]}"
        arn = self.events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
        self.events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])
        return str(arn)

    def put_event(self, source: str, detail: Any = None) -> None:
        """Puts one event of a test's own source on the default bus."""
        entry = {"Source": source, "DetailType": "Test", "Detail": json.dumps(detail or {})}
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def logged(self, function_arn: str) -> str:
        """All that a function has logged; nothing before its first invocation."""
        group, logs = f"/aws/lambda/{function_arn.rsplit(':', 1)[-1]}", self.client("logs")
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return ""
        return "\n".join(event["message"] for event in events)

    def client(self, service: str) -> Any:
        """A client of one service, as the account's root."""
        return self.cloud.client(service)

    @cached_property
    def functions(self) -> Any:
        return self.client("lambda")

    @cached_property
    def iam(self) -> Any:
        return self.client("iam")

    @cached_property
    def states(self) -> Any:
        return self.client("stepfunctions")

    @cached_property
    def sqs(self) -> Any:
        return self.client("sqs")

    @cached_property
    def events(self) -> Any:
        return self.client("events")


def archive(files: Mapping[str, str]) -> bytes:
    """A ZIP file of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, text in files.items():
            content.writestr(name, text)
    return buffer.getvalue()


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
