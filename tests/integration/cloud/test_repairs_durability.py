"""A killed cloud comes back with all that it has acknowledged, and finishes or reports what it was doing."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import ALLOW_ALL, Account, until
from tests.integration.cloud.survivors import SURVIVORS

SLOW = """
import boto3, time

def handler(event, context):
    s3 = boto3.client("s3")
    s3.put_object(Bucket="jobs", Key=f"begun/{event['name']}/{context.aws_request_id}")
    time.sleep(event["seconds"])
    s3.put_object(Bucket="jobs", Key=f"done/{event['name']}/{context.aws_request_id}")
"""
WAITING = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
MOST_OBJECTS = 5000
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


@dataclass(frozen=True)
class Interrupted:
    """What a cloud was doing when it was killed."""

    account: Account
    folder: Path
    acknowledged: list[str]  # keys of objects, whose events go to `heard`

    @property
    def s3(self) -> Any:
        return self.account.client("s3")

    def begin(self) -> None:
        """Begins everything, and returns when it is under way."""
        self.s3.create_bucket(Bucket="jobs")
        self._listen("told", {"source": ["aws.states"], "detail": {"status": ["FAILED"]}})
        self._listen("heard", {"source": ["aws.s3"]})
        execution = self.account.start(self.account.machine(WAITING), {"given": 1})
        (self.folder / "execution").write_text(execution)
        function = self.account.function(SLOW, Timeout=30)
        self._invoke(function, "once", 0)
        until(lambda: self.did("done/once/"))
        until(lambda: "REPORT" in self.account.logged(function))
        history = self.account.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        until(lambda: any(event["type"] == "WaitStateEntered" for event in history.search("events")))
        self._run_job()
        self._put_objects()
        self._invoke(function, "again", 3)
        until(lambda: self.did("begun/again/"))

    def did(self, prefix: str) -> int:
        """How often functions have said so."""
        return len(self.s3.list_objects_v2(Bucket="jobs", Prefix=prefix).get("Contents", []))

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """The details of events that are in a queue now."""
        url = self.account.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found = self.account.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"])["detail"] for message in found]

    def _listen(self, name: str, pattern: dict[str, Any]) -> None:
        url = self.account.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        anyone = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [anyone]})
        self.account.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.account.rule(pattern, Arn=arn)

    def _invoke(self, function: str, name: str, seconds: float) -> None:
        event = json.dumps({"name": name, "seconds": seconds})
        self.account.functions.invoke(FunctionName=function, InvocationType="Event", Payload=event)

    def _run_job(self) -> None:
        glue = self.account.client("glue")
        self.s3.put_object(Bucket="jobs", Key="sleep.py", Body=SLEEPING.encode())
        glue.create_job(
            Name="sleeper",
            Role=self.account.role("glue.amazonaws.com", ALLOW_ALL),
            Command={"Name": "pythonshell", "ScriptLocation": "s3://jobs/sleep.py", "PythonVersion": "3.9"},
            DefaultArguments={"--file": str(self.folder / "pid")},
        )
        glue.start_job_run(JobName="sleeper")
        until(lambda: (self.folder / "pid").exists() and (self.folder / "pid").read_text())

    def _put_objects(self) -> None:
        """Puts objects until the cloud is gone."""
        self.s3.create_bucket(Bucket="heard")
        self.s3.put_bucket_notification_configuration(
            Bucket="heard", NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

        def put() -> None:
            for number in range(MOST_OBJECTS):
                try:
                    self.s3.put_object(Bucket="heard", Key=str(number), Body=b"any")
                except (BotoCoreError, ClientError):
                    return
                self.acknowledged.append(str(number))

        threading.Thread(target=put).start()
        until(lambda: len(self.acknowledged) > 20)


def killed(cloud: Cloud, interrupted: Interrupted | None = None) -> Killed:
    """Fills a cloud with one of everything, kills it and starts it again."""
    cloud.up()
    account = Account(cloud)
    made = {name: survivor.make(account) for name, survivor in SURVIVORS.items()}
    before = {name: survivor.look(account, made[name]) for name, survivor in SURVIVORS.items()}
    if interrupted is not None:
        interrupted.begin()
    cloud.kill()
    if interrupted is not None:
        pid = int((interrupted.folder / "pid").read_text())
        until(lambda: not Path("/proc", str(pid)).exists(), 5)
    cloud.up()
    return Killed(account, made, before)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Cloud]]:
    """One that journals, and one that does not."""
    one, other = (
        Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("killed"), without=without))
        for without in ("", "durability")
    )
    yield one, other
    one.down()
    other.down()


@pytest.fixture(scope="module")
def interrupted(clouds: tuple[Cloud, Cloud], tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    return Interrupted(Account(clouds[0]), tmp_path_factory.mktemp("interrupted"), [])


@pytest.fixture(scope="module")
def both(clouds: tuple[Cloud, Cloud], interrupted: Interrupted) -> tuple[Killed, Killed]:
    """The same, with and without the journal."""
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(killed, clouds, (interrupted, None))
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


@pytest.mark.usefixtures("both")
def test_a_running_execution_has_failed_and_the_bus_is_told(interrupted: Interrupted) -> None:
    account, execution = interrupted.account, (interrupted.folder / "execution").read_text()
    found = account.ended(execution)
    assert found is not None
    assert found["status"] == "FAILED"
    events = [event["type"] for event in account.states.get_execution_history(executionArn=execution)["events"]]
    assert (events[0], events[-1]) == ("ExecutionStarted", "ExecutionFailed")
    assert "WaitStateEntered" in events
    (told,) = until(lambda: interrupted.messages("told"))
    assert (told["executionArn"], told["status"]) == (execution, "FAILED")


@pytest.mark.usefixtures("both")
def test_an_asynchronous_invocation_is_made_again_and_one_that_has_ended_is_not(interrupted: Interrupted) -> None:
    until(lambda: interrupted.did("done/again/"))
    assert interrupted.did("begun/again/") == 2
    assert interrupted.did("begun/once/") == 1


@pytest.mark.usefixtures("both")
def test_events_of_objects_that_were_accepted_arrive(interrupted: Interrupted) -> None:
    heard: set[str] = set()

    def all_heard() -> bool:
        heard.update(detail["object"]["key"] for detail in interrupted.messages("heard"))
        return heard >= set(interrupted.acknowledged)

    until(all_heard)


@pytest.mark.usefixtures("both")
def test_a_job_ends_with_its_cloud_and_has_failed(interrupted: Interrupted) -> None:
    (run,) = interrupted.account.client("glue").get_job_runs(JobName="sleeper")["JobRuns"]
    assert run["JobRunState"] == "FAILED"


@pytest.mark.slow
def test_a_clean_stop_saves_what_a_kill_after_it_does_not_lose(both: tuple[Killed, Killed]) -> None:
    account, parameters = both[0].account, both[0].account.client("ssm")
    parameters.put_parameter(Name="/kept", Value="value", Type="String")
    account.cloud.down()
    assert not account.cloud.settings.journal_file.with_suffix(".blobs").exists()
    account.cloud.up()
    parameters.put_parameter(Name="/later", Value="value", Type="String")
    parameters.delete_parameter(Name="/survivor")
    account.cloud.kill()
    account.cloud.up()
    names = {found["Name"] for found in parameters.describe_parameters()["Parameters"]}
    assert names == {"/kept", "/later"}
    assert both[0].look("items") == both[0].before["items"]
