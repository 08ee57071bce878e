"""The retry of a failed run, as EventBridge Scheduler gets it."""

import json
from datetime import timedelta

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from ratchet.adapters.run_schedule import RunSchedule
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.errors import DependencyBusyError
from tests.unit import samples

REQUEST = StartRunRequest(pipeline="traffic", reason="retry", retry_of=7)
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:start-run"
ROLE = "arn:aws:iam::123456789012:role/scheduler"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:scheduler-dlq"


@pytest.fixture
def schedule(aws: None) -> RunSchedule:
    boto3.client("scheduler").create_schedule_group(Name="ratchet-dev")
    return RunSchedule("ratchet-dev", FUNCTION, ROLE, QUEUE)


def test_it_fires_once_in_whole_seconds_and_not_before(schedule: RunSchedule) -> None:
    when = samples.NOW + timedelta(minutes=5, microseconds=1)
    for _ in range(2):
        schedule.start_run_at("traffic-g7-retry", when, REQUEST)
    made = boto3.client("scheduler").get_schedule(Name="traffic-g7-retry", GroupName="ratchet-dev")
    assert made["ScheduleExpression"] == "at(2026-03-01T12:05:01)"
    assert made["ActionAfterCompletion"] == "DELETE"
    assert json.loads(made["Target"]["Input"]) == {
        "pipeline": "traffic",
        "reason": "retry",
        "forced": False,
        "retry_of": 7,
    }
    assert (made["Target"]["Arn"], made["Target"]["RoleArn"]) == (FUNCTION, ROLE)
    assert made["Target"]["DeadLetterConfig"] == {"Arn": QUEUE}


@pytest.mark.parametrize(
    ("code", "raised"), [("ResourceNotFoundException", ClientError), ("ThrottlingException", DependencyBusyError)]
)
def test_what_scheduler_refuses_is_said(aws: None, code: str, raised: type[Exception]) -> None:
    client = boto3.client("scheduler")
    with Stubber(client) as stubber:
        stubber.add_client_error("create_schedule", code, "no")
        with pytest.raises(raised):
            RunSchedule("elsewhere", FUNCTION, ROLE, QUEUE, client).start_run_at("retry", samples.NOW, REQUEST)
