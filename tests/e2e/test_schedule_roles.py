"""Schedules act as their roles: with the grant the function is invoked, without it the letter waits in the queue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.stack import Stack
from tests.e2e.conftest import physical_id, received
from tests.e2e.once import Tiny, until
from tests.e2e.removing import without

pytestmark = pytest.mark.permissions
# Role, the statement that lets it invoke, the function. The stack's own schedules are never due during the tests.
SCHEDULES = [
    ("CleanupScheduleRole", "CleanUp", "CleanupEndpointsFunction"),
    ("ReconcileScheduleRole", "Reconcile", "ReconcileFunction"),
    ("SchedulerRole", "StartRun", "StartRunFunction"),
]
IDLE = '{"pipeline": "idle", "reason": "schedule"}'


def arn(stack: Stack, logical_id: str) -> str:
    """The ARN of a role or function of the stack."""
    session, name = stack.session, physical_id(stack, logical_id)
    if logical_id.endswith("Role"):
        return str(session.client("iam").get_role(RoleName=name)["Role"]["Arn"])
    return session.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]


def fire(stack: Stack, role: str, function: str) -> None:
    """Invokes the function once as a schedule of the stack would; returns when the schedule is over."""
    name, group = f"once-{role}-{datetime.now(UTC):%H%M%S}", stack.outputs.schedule_group_name
    target: Any = {
        "Arn": arn(stack, function),
        "RoleArn": arn(stack, role),
        "Input": IDLE if function == "StartRunFunction" else "{}",
        "DeadLetterConfig": {"Arn": stack.outputs.scheduler_dead_letter_queue_arn},
        "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
    }
    stack.scheduler.create_schedule(
        Name=name,
        GroupName=group,
        ScheduleExpression=f"at({datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target=target,
    )

    def over() -> bool | None:
        return not stack.scheduler.list_schedules(GroupName=group, NamePrefix=name)["Schedules"] or None

    until(over)


@pytest.mark.parametrize(("role", "statement", "function"), SCHEDULES, ids=[role for role, _, _ in SCHEDULES])
def test_a_schedule_needs_its_grant(role: str, statement: str, function: str, stack: Stack, tmp_path: Path) -> None:
    Tiny("idle", stack, tmp_path).apply()
    queue = stack.outputs.scheduler_dead_letter_queue_arn.rsplit(":", 1)[-1]
    queue_url = stack.session.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    with without(stack, role, statement):
        fire(stack, role, function)
        letters = received(stack, queue_url)
    assert [letter["attributes"]["ERROR_CODE"] for letter in letters] == ["NO_PERMISSIONS"]
    assert "lambda:InvokeFunction" in letters[0]["attributes"]["ERROR_MESSAGE"]
    fire(stack, role, function)
    assert received(stack, queue_url, timeout=2) == []
