"""T28: a policy for one group of schedules allows that group and no other."""

from typing import Any
from uuid import uuid4

import pytest

from local.cloud.process import Cloud
from tests.integration.cloud.account import Account, allow

SCHEDULE = """
import boto3

def handler(event, context):
    scheduler, (name, group) = boto3.client("scheduler"), event
    account = "000000000000"
    target = {"Arn": f"arn:aws:lambda:us-east-1:{account}:function:any", "RoleArn": f"arn:aws:iam::{account}:role/any"}
    scheduler.create_schedule(
        Name=name, GroupName=group, ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"}, Target=target
    )
    scheduler.get_schedule(Name=name, GroupName=group)
    scheduler.delete_schedule(Name=name, GroupName=group)
    return "done"
"""


def schedule_in(account: Account, group: str) -> Any:
    """What a function gets that may do everything with schedules of the group `ours`."""
    scheduler = account.client("scheduler")
    known = {found["Name"] for found in scheduler.list_schedule_groups()["ScheduleGroups"]}
    for name in {"ours", "theirs"} - known:
        scheduler.create_schedule_group(Name=name)
    ours = allow("scheduler:*", "arn:aws:scheduler:us-east-1:000000000000:schedule/ours/*")
    passing = allow(["iam:PassRole", "logs:*"])
    function = account.function(SCHEDULE, Role=account.role("lambda.amazonaws.com", ours, passing))
    return account.invoke(function, [f"schedule-{uuid4().hex[:8]}", group])


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def test_the_group_of_a_policy_is_allowed(account: Account) -> None:
    assert schedule_in(account, "ours") == "done"


@pytest.mark.parametrize("group", ["theirs", "default"])
def test_another_group_is_not(account: Account, group: str) -> None:
    assert "not authorized to perform: scheduler:CreateSchedule" in schedule_in(account, group)["errorMessage"]


@pytest.mark.without("T28")
def test_without_the_repair_a_policy_for_a_group_allows_nothing(bare: Account) -> None:
    assert "AccessDenied" in schedule_in(bare, "ours")["errorMessage"]
