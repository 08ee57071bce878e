"""T35, T11: an execution goes on where it failed, and its history has an end."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from local.cloud.repairs import redrive
from tests.integration.cloud.account import Account, until

# Fails until its event, or the object it looks for, says otherwise.
MOODY = """
import boto3
import json


def handler(event, context):
    keys = boto3.client("s3").list_objects_v2(Bucket="moods", Prefix=event["mood"]).get("Contents", [])
    if not keys:
        raise ValueError(event["mood"])
    return {"mood": event["mood"], "calls": 1}
"""
CYCLE = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Pass", "Next": "A?"},
        "A?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.end", "BooleanEquals": True, "Next": "C"}],
            "Default": "A",
        },
        "C": {"Type": "Succeed"},
    },
}
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


@pytest.fixture(scope="module")
def moody(account: Account) -> str:
    account.client("s3").create_bucket(Bucket="moods")
    return account.function(MOODY)


def cheer(account: Account, mood: str) -> None:
    account.client("s3").put_object(Bucket="moods", Key=mood, Body=b"")


def task(function: str, **settings: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": function, "End": True, **settings}


def chain(function: str, **settings: Any) -> dict[str, Any]:
    """A state that prepares, and one that may fail."""
    prepare = {"Type": "Pass", "Result": {"done": True}, "ResultPath": "$.prepared", "Next": "Work"}
    return {"StartAt": "Prepare", "States": {"Prepare": prepare, "Work": task(function, **settings)}}


def events(account: Account, execution: str) -> list[dict[str, Any]]:
    pages = account.states.get_paginator("get_execution_history").paginate(executionArn=execution)
    return [event for page in pages for event in page["events"]]


def types(account: Account, execution: str) -> list[str]:
    return [event["type"] for event in events(account, execution)]


def test_a_failed_execution_goes_on_at_its_failed_state(account: Account, moody: str) -> None:
    execution = account.start(account.machine(chain(moody)), {"mood": "glad"})
    failed = account.end(execution)
    cheer(account, "glad")

    redriven = account.states.redrive_execution(executionArn=execution)
    ended = account.end(execution)

    assert (failed["status"], failed["redriveStatus"], failed["redriveCount"]) == ("FAILED", "REDRIVABLE", 0)
    assert ended["status"] == "SUCCEEDED"
    assert json.loads(ended["output"]) == {"mood": "glad", "calls": 1}
    assert ended["executionArn"] == execution
    assert ended["startDate"] == failed["startDate"]
    assert (ended["redriveCount"], ended["redriveDate"]) == (1, redriven["redriveDate"])
    assert ended["redriveStatus"] == "NOT_REDRIVABLE"
    assert ended["redriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    assert "error" not in ended
    history = types(account, execution)
    assert history.count("PassStateEntered") == 1
    assert history[history.index("ExecutionFailed") :] == [
        "ExecutionFailed",
        "ExecutionRedriven",
        "TaskScheduled",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]


def test_a_redrive_counts_its_retries_anew_and_can_be_redriven_again(account: Account, moody: str) -> None:
    retry = [{"ErrorEquals": ["ValueError"], "MaxAttempts": 1, "IntervalSeconds": 1}]
    execution = account.start(account.machine(chain(moody, Retry=retry)), {"mood": "never"})
    account.end(execution)

    for _ in range(2):
        account.states.redrive_execution(executionArn=execution)
        assert account.end(execution)["status"] == "FAILED"

    assert types(account, execution).count("TaskScheduled") == 6
    assert account.states.describe_execution(executionArn=execution)["redriveCount"] == 2


def test_only_iterations_and_branches_that_failed_are_made_again(account: Account, moody: str) -> None:
    cheer(account, "sunny")
    iterations = {"Type": "Map", "ItemProcessor": {"StartAt": "Work", "States": {"Work": task(moody)}}, "End": True}
    both = {
        "Type": "Parallel",
        "Branches": [
            {"StartAt": "Each", "States": {"Each": iterations}},
            {"StartAt": "First", "States": {"First": task(moody, InputPath="$[0]")}},
        ],
        "End": True,
    }
    machine = account.machine({"StartAt": "Both", "States": {"Both": both}})
    execution = account.start(machine, [{"mood": "sunny"}, {"mood": "cloudy"}])
    assert account.end(execution)["status"] == "FAILED"
    cheer(account, "cloudy")

    account.states.redrive_execution(executionArn=execution)
    ended = account.end(execution)

    sunny, cloudy = ({"mood": mood, "calls": 1} for mood in ("sunny", "cloudy"))
    assert json.loads(ended["output"]) == [[sunny, cloudy], sunny]
    assert types(account, execution).count("TaskScheduled") == 4


def test_the_history_tells_of_branches_and_iterations(account: Account) -> None:
    each = {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": CYCLE, "End": True}
    both = {"Type": "Parallel", "Branches": [{"StartAt": "Each", "States": {"Each": each}}], "End": True}
    execution = account.start(account.machine({"StartAt": "Both", "States": {"Both": both}}), [{"end": True}])

    assert account.end(execution)["status"] == "SUCCEEDED"

    passes = ("PassStateEntered", "PassStateExited") * 2
    choice = ("ChoiceStateEntered", "ChoiceStateExited", "SucceedStateEntered", "SucceedStateExited")
    assert types(account, execution) == [
        "ExecutionStarted",
        *("ParallelStateEntered", "ParallelStateStarted", "MapStateEntered", "MapStateStarted", "MapIterationStarted"),
        *(*passes, *choice),
        *("MapIterationSucceeded", "MapStateSucceeded", "MapStateExited", "ParallelStateSucceeded"),
        *("ParallelStateExited", "ExecutionSucceeded"),
    ]


def test_it_goes_on_with_the_definition_and_the_variables_it_began_with(account: Account, moody: str) -> None:
    states = {
        "Prepare": {"Type": "Pass", "Assign": {"mood": "{% 'calm' %}"}, "Next": "Work"},
        "Work": task(
            moody, Arguments={"mood": "{% $mood %}"}, Output="{% [$mood, $states.context.Execution.RedriveCount] %}"
        ),
    }
    machine = account.machine({"QueryLanguage": "JSONata", "StartAt": "Prepare", "States": states})
    execution = account.start(machine)
    account.end(execution)
    cheer(account, "calm")
    account.states.update_state_machine(
        stateMachineArn=machine, definition=json.dumps({"StartAt": "Other", "States": {"Other": {"Type": "Succeed"}}})
    )

    account.states.redrive_execution(executionArn=execution)

    assert json.loads(account.end(execution)["output"]) == ["calm", 1]


def test_what_timed_out_gets_its_time_again_and_what_was_stopped_goes_on(account: Account) -> None:
    wait = {"Type": "Wait", "Seconds": 2, "End": True}
    machine = account.machine({"StartAt": "Wait", "TimeoutSeconds": 1, "States": {"Wait": wait}})
    execution = account.start(machine)
    assert account.end(execution)["status"] == "TIMED_OUT"

    account.states.redrive_execution(executionArn=execution)
    account.states.stop_execution(executionArn=execution)
    assert account.end(execution)["status"] == "ABORTED"
    account.states.redrive_execution(executionArn=execution)

    # Before the third attempt has used up its time, the wait of the first is over: that changes nothing any more.
    assert account.end(execution)["status"] == "TIMED_OUT"


def test_the_same_token_redrives_once(account: Account, moody: str) -> None:
    execution = account.start(account.machine(chain(moody)), {"mood": "never"})
    account.end(execution)

    first, second = (
        account.states.redrive_execution(executionArn=execution, clientToken="once")["redriveDate"] for _ in range(2)
    )

    assert first == second
    assert account.end(execution)["redriveCount"] == 1


def test_redrives_are_announced_and_listed(account: Account, moody: str) -> None:
    url, arn = account.open_queue()
    machine = account.machine(chain(moody))
    account.rule({"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "redriveCount": [1]}}, Arn=arn)
    execution, other = (account.start(machine, {"mood": "never"}) for _ in range(2))
    account.end(execution)
    account.end(other)

    account.states.redrive_execution(executionArn=execution)
    announced = json.loads(account.received(url)["Body"])["detail"]
    account.end(execution)

    assert (announced["executionArn"], announced["status"]) == (execution, "RUNNING")
    listed = account.states.list_executions(stateMachineArn=machine, redriveFilter="REDRIVEN")["executions"]
    assert [(item["executionArn"], item["redriveCount"]) for item in listed] == [(execution, 1)]


def test_what_cannot_be_redriven(account: Account) -> None:
    done = account.start(account.machine({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}))
    account.end(done)
    fails = {"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "No"}}}
    express = account.start(account.machine(fails, kind="EXPRESS"))
    account.end(express)

    with pytest.raises(ClientError, match="Execution is SUCCEEDED and cannot be redriven") as refused:
        account.states.redrive_execution(executionArn=done)
    assert refused.value.response["Error"]["Code"] == "ExecutionNotRedrivable"
    with pytest.raises(account.states.exceptions.InvalidArn):
        account.states.redrive_execution(executionArn=express)
    with pytest.raises(account.states.exceptions.ExecutionDoesNotExist):
        account.states.redrive_execution(executionArn=f"{done}-not")


def record(**fields: Any) -> dict[str, Any]:
    moment = "2027-01-14T08:00:00.000Z"  # a day before NOW
    return {"status": "FAILED", "startDate": moment, "stopDate": moment, "events": [], **fields}


@pytest.mark.parametrize(
    ("execution", "has_machine", "reason"),
    [
        (record(), False, "State machine is in DELETING status"),
        (record(events=[{}] * 24_999), True, "Execution history event limit exceeded"),
        (record(startDate="2025-12-01T00:00:00.000Z"), True, "Execution has exceeded the max execution time"),
        (record(stopDate="2026-12-31T00:00:00.000Z"), True, "Execution redrivable period exceeded"),
        (record(status="RUNNING", stopDate=None), True, "Execution is RUNNING and cannot be redriven"),
    ],
)
def test_the_conditions_of_a_redrive(execution: dict[str, Any], has_machine: bool, reason: str) -> None:
    assert redrive.redrivability(execution, has_machine, NOW) == ("NOT_REDRIVABLE", reason)
    assert redrive.redrivability(record(), True, NOW) == ("REDRIVABLE", "")


def test_redriving_needs_permission_on_the_execution(account: Account, moody: str) -> None:
    execution = account.start(account.machine(chain(moody)), {"mood": "never"})
    account.end(execution)
    redrive_state = task("arn:aws:states:::aws-sdk:sfn:redriveExecution", Parameters={"ExecutionArn": execution})

    ended = account.run_states({}, account.role("states.amazonaws.com"), Redrive=redrive_state)

    assert ended["error"] == "Sfn.SfnException"
    assert f"states:RedriveExecution on resource: {execution}" in ended["cause"]


def test_a_history_ends_at_25000_events(account: Account) -> None:
    execution = account.start(account.machine(CYCLE), {"end": False})

    ended = until(lambda: account.ended(execution), 60)

    assert ended is not None
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert ended["cause"] == "The execution reached the maximum number of history events (25000)."
    assert ended["redriveStatusReason"] == "Execution history event limit exceeded"
    last = account.states.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)["events"][0]
    assert (last["id"], last["type"]) == (25_000, "ExecutionFailed")


@pytest.mark.without("T11", "T35")
def test_without_the_repairs_nothing_is_redriven_and_histories_have_no_end(bare: Account) -> None:
    execution = bare.start(bare.machine({"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "No"}}}))
    assert "redriveStatus" not in bare.end(execution)
    with pytest.raises(ClientError, match="InvalidAction"):
        bare.states.redrive_execution(executionArn=execution)

    endless = bare.start(bare.machine(CYCLE), {"end": False})

    def beyond() -> bool:
        page = bare.states.get_execution_history(executionArn=endless, reverseOrder=True, maxResults=1)
        return bool(page["events"][0]["id"] > 25_000)

    until(beyond, 60)
    bare.states.stop_execution(executionArn=endless)
