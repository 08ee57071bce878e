"""T8, T9, T11, T23, T25, T26: timeouts, heartbeats, retry delays, sizes and names of executions."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest

from local.cloud.process import Cloud
from tests.integration.cloud.account import Account

PASS = {"Type": "Pass", "End": True}
WAIT = {"StartAt": "Wait", "TimeoutSeconds": 1, "States": {"Wait": {"Type": "Wait", "Seconds": 8, "End": True}}}
FAILS = "def handler(event, context):\n    raise ValueError('never')\n"


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def callback(queue_url: str, **settings: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue_url, "MessageBody.$": "$$.Task.Token"},
        "End": True,
        **settings,
    }


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
def test_a_machine_times_out(account: Account, kind: str) -> None:
    started = time.monotonic()
    execution = account.start(account.machine(WAIT, kind=kind))

    ended = account.end(execution)

    assert ended["status"] == "TIMED_OUT"
    assert time.monotonic() - started < 4


def test_a_machines_timeout_bypasses_every_catch_and_is_announced(account: Account) -> None:
    url, arn = account.open_queue()
    account.rule({"source": ["aws.states"], "detail": {"status": ["TIMED_OUT"]}}, Arn=arn)
    slow = account.function("import time\n\n\ndef handler(event, context):\n    time.sleep(2)\n", Timeout=10)
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    task = {"Type": "Task", "Resource": slow, "Catch": catch, "End": True}
    execution = account.start(
        account.machine({"StartAt": "Slow", "TimeoutSeconds": 1, "States": {"Slow": task, "Caught": PASS}})
    )

    announced = json.loads(account.received(url)["Body"])

    assert announced["detail"]["executionArn"] == execution
    time.sleep(1.5)
    assert account.states.describe_execution(executionArn=execution)["status"] == "TIMED_OUT"


def test_a_callback_task_needs_heartbeats(account: Account) -> None:
    url, _ = account.queue()
    execution = account.start(account.machine({"StartAt": "A", "States": {"A": callback(url, HeartbeatSeconds=1)}}))
    token = account.received(url)["Body"]

    for _ in range(3):
        time.sleep(0.6)
        account.states.send_task_heartbeat(taskToken=token)
    assert account.ended(execution) is None

    assert account.end(execution)["error"] == "States.HeartbeatTimeout"


def test_a_callback_task_times_out(account: Account) -> None:
    url, _ = account.queue()
    state = callback(url, TimeoutSecondsPath="$.seconds")

    ended = account.run_states({"seconds": 1}, A=state)

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")


def test_each_attempt_has_a_token_of_its_own(account: Account) -> None:
    url, _ = account.queue()
    retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 1}]
    execution = account.start(account.machine({"StartAt": "A", "States": {"A": callback(url, Retry=retry)}}))

    first = account.received(url)
    account.sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    account.states.send_task_failure(taskToken=first["Body"], error="Busy", cause="")
    second = account.received(url)
    account.states.send_task_success(taskToken=second["Body"], output='{"done": true}')

    assert first["Body"] != second["Body"]
    assert json.loads(account.end(execution)["output"]) == {"done": True}


def test_a_callback_function_that_fails_fails_the_task(account: Account) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
        "Parameters": {"FunctionName": account.function(FAILS), "Payload": {"token.$": "$$.Task.Token"}},
        "TimeoutSeconds": 60,
        "Catch": [{"ErrorEquals": ["ValueError"], "Next": "Caught"}],
        "End": True,
    }

    assert account.run_states({}, A=state, Caught=PASS)["output"]["Error"] == "ValueError"


def attempts(account: Account, **retrier: Any) -> list[float]:
    """The seconds between the attempts of a task that always fails."""
    retry = [{"ErrorEquals": ["ValueError"], **retrier}]
    execution = account.start(
        account.machine(
            {
                "StartAt": "A",
                "States": {"A": {"Type": "Task", "Resource": account.function(FAILS), "Retry": retry, "End": True}},
            }
        )
    )
    account.end(execution)
    return waits_between(account, execution)


def waits_between(account: Account, execution: str) -> list[float]:
    events = account.states.get_execution_history(executionArn=execution)["events"]
    moments = [event["timestamp"].timestamp() for event in events if event["type"] == "TaskScheduled"]
    return [later - earlier for earlier, later in pairwise(moments)]


def test_retry_delays_grow_up_to_their_cap(account: Account) -> None:
    waits = attempts(account, IntervalSeconds=1, BackoffRate=10, MaxDelaySeconds=2, MaxAttempts=2)

    assert waits == pytest.approx([1, 2], abs=0.6)


def test_full_jitter_spreads_retries(account: Account) -> None:
    waits = attempts(account, IntervalSeconds=1, BackoffRate=1, JitterStrategy="FULL", MaxAttempts=3)

    assert len(waits) == 3
    assert all(wait < 1.5 for wait in waits)
    assert max(waits) - min(waits) > 0.01


def test_a_stopped_execution_stays_stopped(account: Account) -> None:
    url, _ = account.queue()
    execution = account.start(account.machine({"StartAt": "A", "States": {"A": callback(url)}}))
    account.received(url)

    account.states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")

    time.sleep(0.5)
    ended = account.states.describe_execution(executionArn=execution)
    assert (ended["status"], ended["error"]) == ("ABORTED", "Stopped")


def test_started_twice_by_name_with_the_same_input(account: Account) -> None:
    url, _ = account.queue()
    machine = account.machine({"StartAt": "A", "States": {"A": callback(url)}})

    first, second = (
        account.states.start_execution(stateMachineArn=machine, name="g7", input='{"a": 1}') for _ in range(2)
    )

    assert (first["executionArn"], first["startDate"]) == (second["executionArn"], second["startDate"])
    with pytest.raises(account.states.exceptions.ExecutionAlreadyExists):
        account.states.start_execution(stateMachineArn=machine, name="g7", input='{"a": 2}')
    account.states.stop_execution(executionArn=first["executionArn"])
    with pytest.raises(account.states.exceptions.ExecutionAlreadyExists):
        account.states.start_execution(stateMachineArn=machine, name="g7", input='{"a": 1}')


def test_a_payload_over_256_kib_ends_the_execution(account: Account) -> None:
    big = account.function("def handler(event, context):\n    return 'x' * event['size']\n")
    task = {
        "Type": "Task",
        "Resource": big,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
    }

    assert account.run_states({"size": 200_000}, A=task, Caught=PASS)["status"] == "SUCCEEDED"
    assert account.run_states({"size": 300_000}, A=task, Caught=PASS)["error"] == "States.DataLimitExceeded"
    assert account.invoke(big, {"size": 7_000_000})["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_throttled_function_is_named_as_such(account: Account) -> None:
    function = account.function("def handler(event, context): return 1")
    account.functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)

    ended = account.run_states({}, A={"Type": "Task", "Resource": function, "End": True})

    assert ended["error"] == "Lambda.TooManyRequestsException"


@pytest.mark.without("T8", "T9", "T11", "T23", "T25", "T26")
def test_without_the_repair_time_size_and_tokens_mean_little(bare: Account) -> None:
    url, _ = bare.queue()
    quick = {**WAIT, "States": {"Wait": {"Type": "Wait", "Seconds": 2, "End": True}}}
    waiting = bare.machine({"StartAt": "A", "States": {"A": callback(url, HeartbeatSeconds=1, TimeoutSeconds=3)}})
    again = {"ErrorEquals": ["ValueError", "Runtime.HandlerError"], "MaxAttempts": 2, "IntervalSeconds": 1}
    retry = [{**again, "BackoffRate": 3, "MaxDelaySeconds": 1}]
    task = {"Type": "Task", "Resource": bare.function(FAILS), "Retry": retry, "End": True}
    failing = bare.machine({"StartAt": "A", "States": {"A": task}})

    begun = {
        "machine": bare.start(bare.machine(quick)),
        "heartbeat": bare.states.start_execution(stateMachineArn=waiting, name="once")["executionArn"],
        "retries": bare.start(failing),
    }
    with pytest.raises(bare.states.exceptions.ExecutionAlreadyExists):  # T26: the same name and input
        bare.states.start_execution(stateMachineArn=waiting, name="once")
    large = bare.function("def handler(event, context): return 'x' * 300_000")
    assert bare.run_states({}, A={"Type": "Task", "Resource": large, "End": True})["status"] == "SUCCEEDED"  # T11
    lost = callback(url, TimeoutSeconds=2, Resource="arn:aws:states:::lambda:invoke.waitForTaskToken")
    lost["Parameters"] = {"FunctionName": bare.function(FAILS), "Payload": {"token.$": "$$.Task.Token"}}
    assert bare.run_states({}, A=lost)["error"] == "States.Timeout"  # T25: the function failed at once

    assert bare.end(begun["machine"])["status"] == "SUCCEEDED"  # T23
    assert bare.end(begun["heartbeat"])["error"] == "States.Timeout"  # T8
    bare.end(begun["retries"])
    assert waits_between(bare, begun["retries"])[1] >= 3  # T9: not one second at most
