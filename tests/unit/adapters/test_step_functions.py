"""The two machines: starting twice is starting once, and an answered token needs no answer."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.run import DeploymentResult
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ports import ExecutionStatus
from tests.unit import samples

INGEST_ARN = samples.RETRAIN_ARN.replace("retrain", "ingest")
EXECUTION = samples.execution_arn(1)
RESULT = DeploymentResult(endpoint_name="e", endpoint_config_name="c", seconds=90.5)
STARTED = {"executionArn": EXECUTION, "startDate": samples.NOW}


@pytest.fixture
def stubbed(aws: None) -> tuple[StepFunctions, Stubber]:
    client = boto3.client("stepfunctions")
    stubber = Stubber(client)
    stubber.activate()
    return StepFunctions(samples.RETRAIN_ARN, INGEST_ARN, client), stubber


def test_a_run_is_an_execution_of_its_own_name(stubbed: tuple[StepFunctions, Stubber]) -> None:
    workflow, stubber = stubbed
    request = {
        "stateMachineArn": samples.RETRAIN_ARN,
        "name": "traffic-g1",
        "input": json.dumps({"run": samples.run().model_dump()}),
    }
    stubber.add_response("start_execution", STARTED, request)
    workflow.start_retrain(samples.run())
    assert workflow.retrain_execution_arn("traffic-g1") == EXECUTION


def test_an_execution_that_exists_counts_as_started(stubbed: tuple[StepFunctions, Stubber]) -> None:
    workflow, stubber = stubbed
    stubber.add_client_error("start_execution", "ExecutionAlreadyExists")
    workflow.start_retrain(samples.run())


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ExecutionLimitExceeded", DependencyBusyError),
        ("ThrottlingException", DependencyBusyError),
        ("StateMachineDoesNotExist", ClientError),
    ],
)
def test_an_execution_that_does_not_start(
    stubbed: tuple[StepFunctions, Stubber], code: str, error: type[Exception]
) -> None:
    workflow, stubber = stubbed
    stubber.add_client_error("start_execution", code, "no")
    with pytest.raises(error):
        workflow.start_retrain(samples.run())


def test_an_ingest_execution_gets_the_event_and_no_name(stubbed: tuple[StepFunctions, Stubber]) -> None:
    workflow, stubber = stubbed
    stubber.add_response("start_execution", STARTED, {"stateMachineArn": INGEST_ARN, "input": '{"detail": {}}'})
    workflow.start_ingest({"detail": {}})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("RUNNING", ExecutionStatus.RUNNING),
        ("PENDING_REDRIVE", ExecutionStatus.RUNNING),
        ("SUCCEEDED", ExecutionStatus.ENDED),
        ("FAILED", ExecutionStatus.ENDED),
        ("TIMED_OUT", ExecutionStatus.ENDED),
        ("ABORTED", ExecutionStatus.ENDED),
    ],
)
def test_an_execution_runs_or_has_ended(
    stubbed: tuple[StepFunctions, Stubber], answer: str, status: ExecutionStatus
) -> None:
    workflow, stubber = stubbed
    found = {**STARTED, "stateMachineArn": samples.RETRAIN_ARN, "status": answer}
    stubber.add_response("describe_execution", found, {"executionArn": EXECUTION})
    assert workflow.status(EXECUTION) is status


def test_an_execution_nobody_heard_of_is_unknown(stubbed: tuple[StepFunctions, Stubber]) -> None:
    workflow, stubber = stubbed
    stubber.add_client_error("describe_execution", "ExecutionDoesNotExist")
    assert workflow.status(EXECUTION) is ExecutionStatus.UNKNOWN
    stubber.add_client_error("describe_execution", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        workflow.status(EXECUTION)


def test_answers_are_what_the_next_states_read(stubbed: tuple[StepFunctions, Stubber]) -> None:
    workflow, stubber = stubbed
    stubber.add_response("send_task_success", {}, {"taskToken": "t", "output": RESULT.model_dump_json()})
    workflow.task_succeeded("t", RESULT)
    stubber.add_response("send_task_failure", {}, {"taskToken": "t", "error": "E", "cause": "x" * 32_768})
    workflow.task_failed("t", "E", "x" * 40_000)
    stubber.assert_no_pending_responses()


def answer(workflow: StepFunctions, operation: str) -> Any:
    if operation == "send_task_success":
        return workflow.task_succeeded("t", RESULT)
    return workflow.task_failed("t", "E", "c")


@pytest.mark.parametrize("operation", ["send_task_success", "send_task_failure"])
@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_a_token_that_waits_no_more_is_harmless(
    stubbed: tuple[StepFunctions, Stubber], operation: str, code: str
) -> None:
    workflow, stubber = stubbed
    stubber.add_client_error(operation, code, expected_params=None)
    answer(workflow, operation)


@pytest.mark.parametrize("operation", ["send_task_success", "send_task_failure"])
def test_an_answer_that_does_not_arrive_is_an_error(stubbed: tuple[StepFunctions, Stubber], operation: str) -> None:
    workflow, stubber = stubbed
    stubber.add_client_error(operation, "ThrottlingException", "Rate exceeded")
    with pytest.raises(DependencyBusyError):
        answer(workflow, operation)
    stubber.add_client_error(operation, "InvalidOutput")
    with pytest.raises(ClientError, match="InvalidOutput"):
        answer(workflow, operation)
