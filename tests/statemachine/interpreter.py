"""Runs a workflow's file on moto's strict Step Functions interpreter, every Task answered by the test.

Strict means: a JSONPath that is not there fails the execution, 256 KiB of state fail it, and Retry, Catch, Map and the
intrinsic functions are evaluated. Two things of the interpreter are replaced: an execution gets its
answers (`ExecutionWorker`), and a retrier's wait is recorded instead of slept. `.sync` of SageMaker is let through
because its answer is mocked too, and a definition is parsed once, which is most of the time a run takes.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_unsupported
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.mocking import mock_config

from tests.statemachine.definitions import substitutions_in, text_of

_PATIENCE_SECONDS = 20
_REGION = "us-east-1"
_parse_once = cache(AmazonStateLanguageParser.parse)


@dataclass(frozen=True)
class Raised:
    """A Task fails: what Retry and Catch match, and the cause."""

    error: str
    cause: str = "because the test says so"


Answer = dict[str, Any] | Raised
Answers = Mapping[str, Sequence[Answer]]  # state -> one answer per attempt; each iteration of a Map gets the same


@dataclass
class Execution:
    """What became of one execution."""

    status: str
    path: list[str]  # every state entered, in order
    sent: dict[str, list[Any]]  # state -> the parameters of each attempt
    output: Any = None
    error: str | None = None
    cause: str | None = None
    waits: list[float] = field(default_factory=list)  # seconds before each retry

    def payload(self, state: str) -> Any:
        """What the last attempt of a Lambda state sent to its function."""
        return self.sent[state][-1]["Payload"]


def run(machine: str, given: Mapping[str, Any], answers: Answers, name: str = "traffic-g7") -> Execution:
    """Executes the workflow; a Task without an answer left fails the test."""
    with _interpreter(answers) as (client, waits):
        arn = client.create_state_machine(
            name=f"ratchet-test-{machine}",
            definition=substituted(text_of(machine)),
            roleArn="arn:aws:iam::123456789012:role/ratchet-test",
        )["stateMachineArn"]
        started = client.start_execution(stateMachineArn=arn, name=name, input=json.dumps(given))["executionArn"]
        ended = _wait_for(client, started)
        return _report(ended, _history(client, started), waits)


def substituted(text: str) -> str:
    """The definition with a plausible value for each substitution."""
    for name in substitutions_in(text):
        arn = f"arn:aws:iam::123456789012:role/{name}"
        text = text.replace(f"${{{name}}}", "aws" if name == "Partition" else arn if name.endswith("Arn") else name)
    return text


@contextmanager
def _interpreter(answers: Answers) -> Iterator[tuple[Any, list[float]]]:
    waits: list[float] = []
    begin = ExecutionWorker.__init__

    def begin_with_answers(worker: Any, *args: Any, **kwargs: Any) -> None:
        begin(worker, *args, **{**kwargs, "mock_test_case": _test_case(answers)})

    patterns = {ResourceCondition.WaitForTaskToken, ResourceCondition.Sync}
    with (
        patch.object(ExecutionWorker, "__init__", begin_with_answers),
        patch.object(AmazonStateLanguageParser, "parse", _parse_once),
        patch.object(retrier_decl, "time", SimpleNamespace(sleep=waits.append)),
        patch.object(state_task_service_unsupported, "_SUPPORTED_INTEGRATION_PATTERNS", patterns),
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
    ):
        client = boto3.client(
            "stepfunctions", region_name=_REGION, aws_access_key_id="test", aws_secret_access_key="test"
        )
        yield client, waits


def _test_case(answers: Answers) -> mock_config.MockTestCase:
    responses = [
        mock_config.StateMockedResponses(state, state, [_mocked(i, answer) for i, answer in enumerate(attempts)])
        for state, attempts in answers.items()
    ]
    return mock_config.MockTestCase("machine", "case", responses)


def _mocked(attempt: int, answer: Answer) -> mock_config.MockedResponse:
    if isinstance(answer, Raised):
        return mock_config.MockedResponseThrow(attempt, attempt, answer.error, answer.cause)
    return mock_config.MockedResponseReturn(attempt, attempt, answer)


def _wait_for(client: Any, execution: str) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (answer := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline, "the execution hangs: has every Task an answer?"
        time.sleep(0.01)
    return answer


def _history(client: Any, execution: str) -> list[Any]:
    pages = client.get_paginator("get_execution_history").paginate(executionArn=execution)
    return [event for page in pages for event in page["events"]]


def _report(ended: Any, history: list[Any], waits: list[float]) -> Execution:
    path: list[str] = []
    sent: dict[str, list[Any]] = {}
    for event in history:
        if event["type"].endswith("StateEntered"):
            path.append(event["stateEnteredEventDetails"]["name"])
        elif event["type"] == "TaskScheduled":
            parameters = json.loads(event["taskScheduledEventDetails"]["parameters"])
            sent.setdefault(path[-1], []).append(parameters)
    last = history[-1].get("executionFailedEventDetails", {})
    return Execution(
        status=ended["status"],
        path=path,
        sent=sent,
        output=json.loads(ended["output"]) if "output" in ended else None,
        error=last.get("error"),
        cause=last.get("cause"),
        waits=waits,
    )
