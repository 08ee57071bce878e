"""A killed cloud comes back with all that it has acknowledged, and finishes or reports what it was doing."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import ALLOW_ALL, Account, until
from tests.integration.cloud.survivors import SURVIVORS

SLOW = """
import boto3, time

def handler(event, context):
    s3 = boto3.client("s3")
    s3.put_object(Bucket="work", Key=f"begun/{event['name']}/{context.aws_request_id}")
    time.sleep(event["seconds"])
    s3.put_object(Bucket="work", Key=f"done/{event['name']}/{context.aws_request_id}")
"""
SLEEPING = """
import os, sys, time, pathlib
pathlib.Path(sys.argv[sys.argv.index("--file") + 1]).write_text(str(os.getpid()))
time.sleep(600)
"""


@dataclass(frozen=True)
class Killed:
    """A cloud that was filled, killed and started again: what was seen before, and what is seen now."""

    account: Account
    made: dict[str, Any]
    before: dict[str, Any]

    def look(self, name: str) -> Any:
        """What is seen now."""
        return SURVIVORS[name].look(self.account, self.made[name])

    def look_or_none(self, name: str) -> Any:
        """What is seen now, if anything is."""
        try:
            return self.look(name)
        except (ClientError, KeyError, ValueError):  # what it is made of is gone, or a part of it
            return None


def killed(cloud: Cloud) -> Killed:
    """Fills a cloud with one of everything, kills it and starts it again."""
    cloud.up()
    account = Account(cloud)
    made = {name: survivor.make(account) for name, survivor in SURVIVORS.items()}
    before = {name: survivor.look(account, made[name]) for name, survivor in SURVIVORS.items()}
    cloud.kill()
    cloud.up()
    return Killed(account, made, before)


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("durable")))
    yield cloud
    cloud.down()


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state = tmp_path_factory.mktemp("forgetful")
    cloud = Cloud(CloudSettings(port=free_port(), state=state, without="durability"))
    yield cloud
    cloud.down()


@pytest.fixture(scope="module")
def both(durable: Cloud, forgetful: Cloud) -> tuple[Killed, Killed]:
    """The same, with and without the journal."""
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(killed, (durable, forgetful))
    return one, other


@pytest.mark.without("kill")
@pytest.mark.parametrize("name", SURVIVORS)
def test_what_was_acknowledged_survives_a_kill(both: tuple[Killed, Killed], name: str) -> None:
    one, other = both
    assert one.look(name) == one.before[name]
    assert other.look_or_none(name) != other.before[name]


def test_messages_in_flight_are_visible_again_and_count_as_received(both: tuple[Killed, Killed]) -> None:
    one, _ = both
    received = one.account.sqs.receive_message(
        QueueUrl=one.made["messages"], MaxNumberOfMessages=10, MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )["Messages"]
    counts = {message["Body"]: message["Attributes"]["ApproximateReceiveCount"] for message in received}
    assert counts == {"in flight": "2", "waiting": "1"}


@pytest.fixture
def account(both: tuple[Killed, Killed], durable: Cloud) -> Account:
    """An account of the cloud that survives."""
    return Account(durable)


@pytest.fixture
def work(account: Account) -> Any:
    """A bucket that tells what functions have begun and done."""
    s3 = account.client("s3")
    if "work" not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket="work")
    return lambda prefix: len(s3.list_objects_v2(Bucket="work", Prefix=prefix).get("Contents", []))


def test_a_running_execution_has_failed_and_the_bus_is_told(account: Account) -> None:
    url, arn = account.open_queue()
    account.rule({"source": ["aws.states"], "detail": {"status": ["FAILED"]}}, Arn=arn)
    waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    execution = account.start(account.machine(waiting), {"given": 1})
    history = account.states.get_paginator("get_execution_history")
    until(
        lambda: any(e["type"] == "WaitStateEntered" for e in history.paginate(executionArn=execution).search("events"))
    )
    account.cloud.kill()
    account.cloud.up()
    assert account.ended(execution)["status"] == "FAILED"  # type: ignore[index]
    events = [event["type"] for event in account.states.get_execution_history(executionArn=execution)["events"]]
    assert (events[0], events[-1]) == ("ExecutionStarted", "ExecutionFailed")
    told = json.loads(account.received(url)["Body"])["detail"]
    assert (told["executionArn"], told["status"]) == (execution, "FAILED")


def test_an_asynchronous_invocation_is_made_again(account: Account, work: Any) -> None:
    function = account.function(SLOW, Timeout=30)
    event = json.dumps({"name": "again", "seconds": 2})
    account.functions.invoke(FunctionName=function, InvocationType="Event", Payload=event)
    until(lambda: work("begun/again/"))
    account.cloud.kill()
    assert not account.cloud.status().running
    account.cloud.up()
    until(lambda: work("done/again/"))
    assert work("begun/again/") == 2


def test_what_has_succeeded_is_not_made_again(account: Account, work: Any) -> None:
    function = account.function(SLOW)
    event = json.dumps({"name": "once", "seconds": 0})
    account.functions.invoke(FunctionName=function, InvocationType="Event", Payload=event)
    until(lambda: work("done/once/"))
    until(lambda: "REPORT" in account.logged(function))
    account.cloud.kill()
    account.cloud.up()
    follower = account.function(SLOW)
    account.invoke(follower, {"name": "later", "seconds": 1})
    assert work("begun/once/") == 1


def test_events_of_objects_that_were_accepted_arrive(account: Account) -> None:
    url, arn = account.open_queue()
    s3 = account.client("s3")
    s3.create_bucket(Bucket="heard")
    s3.put_bucket_notification_configuration(Bucket="heard", NotificationConfiguration={"EventBridgeConfiguration": {}})
    account.rule({"source": ["aws.s3"], "detail": {"bucket": {"name": ["heard"]}}}, Arn=arn)
    acknowledged: list[str] = []

    def put() -> None:
        for number in range(200):
            try:
                s3.put_object(Bucket="heard", Key=str(number), Body=b"any")
            except Exception:  # noqa: BLE001  the cloud is gone
                return
            acknowledged.append(str(number))

    putting = threading.Thread(target=put)
    putting.start()
    until(lambda: len(acknowledged) > 20)
    account.cloud.kill()
    account.cloud.up()
    putting.join()
    heard: set[str] = set()

    def all_heard() -> bool:
        for message in account.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            heard.add(json.loads(message["Body"])["detail"]["object"]["key"])
        return heard >= set(acknowledged)

    until(all_heard)


def test_a_job_ends_with_its_cloud(account: Account, tmp_path: Path) -> None:
    s3, glue = account.client("s3"), account.client("glue")
    s3.create_bucket(Bucket="scripts")
    s3.put_object(Bucket="scripts", Key="sleep.py", Body=SLEEPING.encode())
    glue.create_job(
        Name="sleeper",
        Role=account.role("glue.amazonaws.com", ALLOW_ALL),
        Command={"Name": "pythonshell", "ScriptLocation": "s3://scripts/sleep.py", "PythonVersion": "3.9"},
        DefaultArguments={"--file": str(tmp_path / "pid")},
    )
    run = glue.start_job_run(JobName="sleeper")["JobRunId"]
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process = Path("/proc", (tmp_path / "pid").read_text())
    account.cloud.kill()
    until(lambda: not process.exists())
    account.cloud.up()
    assert glue.get_job_run(JobName="sleeper", RunId=run)["JobRun"]["JobRunState"] == "FAILED"


def test_a_clean_stop_empties_the_journal_and_a_reset_too(account: Account) -> None:
    account.client("ssm").put_parameter(Name="/kept", Value="value", Type="String")
    account.cloud.down()
    assert not account.cloud.settings.journal_file.with_suffix(".blobs").exists()
    account.cloud.up()
    account.client("ssm").put_parameter(Name="/later", Value="value", Type="String")
    account.cloud.kill()
    account.cloud.up()
    names = [found["Name"] for found in account.client("ssm").describe_parameters()["Parameters"]]
    assert {"/kept", "/later"} <= set(names)
