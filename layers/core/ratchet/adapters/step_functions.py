"""The state machines."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code, error_message
from ratchet.contracts.base import Contract
from ratchet.contracts.run import Run
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ports import ExecutionStatus

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_ANSWERED = frozenset({"TaskDoesNotExist", "TaskTimedOut", "InvalidToken"})
_LONGEST_CAUSE = 32_768


@contextmanager
def _step_functions_errors() -> Iterator[None]:
    try:
        with busy_errors():
            yield
    except ClientError as error:
        if error_code(error) == "ExecutionLimitExceeded":
            raise DependencyBusyError(error_message(error)) from error
        raise


class StepFunctions:
    """The Workflow port. A function names the machines that it has to do with; to answer task tokens, none."""

    def __init__(
        self,
        retrain_machine_arn: str = "",
        ingest_machine_arn: str = "",
        client: "SFNClient | None" = None,
        *,
        validate_large_machine_arn: str = "",
    ) -> None:
        self._retrain = retrain_machine_arn
        self._ingest = ingest_machine_arn
        self._validate_large = validate_large_machine_arn
        self._sfn: SFNClient = client or boto3.client("stepfunctions", config=CLIENT_CONFIG)

    def retrain_execution_arn(self, run_id: str) -> str:
        return _execution_arn(self._retrain, run_id)

    def validate_large_execution_arn(self, name: str) -> str:
        return _execution_arn(self._validate_large, name)

    def start_retrain(self, run: Run) -> None:
        try:
            with _step_functions_errors():
                self._sfn.start_execution(
                    stateMachineArn=self._retrain, name=run.run_id, input=json.dumps({"run": run.model_dump()})
                )
        except ClientError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise

    def start_ingest(self, event: dict[str, Any]) -> None:
        with _step_functions_errors():
            self._sfn.start_execution(stateMachineArn=self._ingest, input=json.dumps(event))

    def status(self, execution_arn: str) -> ExecutionStatus:
        try:
            with _step_functions_errors():
                answer = self._sfn.describe_execution(executionArn=execution_arn)
        except ClientError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return ExecutionStatus.UNKNOWN
            raise
        running = answer["status"] in ("RUNNING", "PENDING_REDRIVE")
        return ExecutionStatus.RUNNING if running else ExecutionStatus.ENDED

    def task_succeeded(self, token: str, result: Contract) -> None:
        with _answered_is_fine(), _step_functions_errors():
            self._sfn.send_task_success(taskToken=token, output=result.model_dump_json())

    def task_failed(self, token: str, error: str, cause: str) -> None:
        with _answered_is_fine(), _step_functions_errors():
            self._sfn.send_task_failure(taskToken=token, error=error, cause=cause[:_LONGEST_CAUSE])


def _execution_arn(machine_arn: str, name: str) -> str:
    return f"{machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"


@contextmanager
def _answered_is_fine() -> Iterator[None]:
    """Endpoint events come late and more than once: a token that waits no more has had its answer."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in _ANSWERED:
            raise
