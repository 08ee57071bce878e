"""One-time schedules that start a run."""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.contracts.starting import StartRunRequest

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

_RETRY_AGE_SECONDS = 3600
_RETRY_ATTEMPTS = 10


class RunSchedule:
    """The Schedule port over EventBridge Scheduler, in the stack's group."""

    def __init__(
        self,
        group: str,
        function_arn: str,
        role_arn: str,
        dead_letter_queue_arn: str,
        client: "EventBridgeSchedulerClient | None" = None,
    ) -> None:
        self._group = group
        self._target = (function_arn, role_arn, dead_letter_queue_arn)
        self._client = client

    def start_run_at(self, name: str, when: datetime, request: StartRunRequest) -> None:
        if self._client is None:
            self._client = boto3.client("scheduler", config=CLIENT_CONFIG)
        function, role, queue = self._target
        moment = datetime.fromtimestamp(math.ceil(when.timestamp()), UTC)  # at() takes whole seconds
        try:
            with busy_errors():
                self._client.create_schedule(
                    Name=name,
                    GroupName=self._group,
                    Description=f"Starts a run of {request.pipeline} once: {request.reason}.",
                    ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={
                        "Arn": function,
                        "RoleArn": role,
                        "Input": request.model_dump_json(exclude_none=True),
                        "DeadLetterConfig": {"Arn": queue},
                        "RetryPolicy": {
                            "MaximumEventAgeInSeconds": _RETRY_AGE_SECONDS,
                            "MaximumRetryAttempts": _RETRY_ATTEMPTS,
                        },
                    },
                )
        except ClientError as error:
            if error_code(error) != "ConflictException":
                raise
