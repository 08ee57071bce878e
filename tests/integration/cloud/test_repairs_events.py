"""T12, T21, T22: what the services themselves put on the bus."""

import json
from typing import Any

import pytest

from local.cloud.process import Cloud
from tests.integration.cloud.account import Account

PASS_MACHINE = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def listen(account: Account, source: str, *detail_types: str) -> str:
    """The URL of a queue that gets these events from now on."""
    url, arn = account.open_queue()
    account.rule({"source": [source], "detail-type": list(detail_types)}, Arn=arn)
    return url


def event(account: Account, queue: str) -> dict[str, Any]:
    message = account.received(queue)
    account.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return dict(json.loads(message["Body"]))


def versioned_bucket(account: Account, name: str) -> Any:
    s3 = account.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}})
    return s3


def test_object_created_names_the_version(account: Account) -> None:
    queue = listen(account, "aws.s3", "Object Created")
    s3 = versioned_bucket(account, "versioned")

    put = s3.put_object(Bucket="versioned", Key="a b+ü.csv", Body=b"12345")

    created = event(account, queue)["detail"]["object"]
    assert created == {
        "key": "a b+ü.csv",
        "size": 5,
        "etag": put["ETag"].strip('"'),
        "version-id": put["VersionId"],
        "sequencer": created["sequencer"],
    }
    assert int(created["sequencer"], 16) > 0


def test_an_overwrite_is_another_version(account: Account) -> None:
    queue = listen(account, "aws.s3", "Object Created")
    s3 = versioned_bucket(account, "overwritten")

    put = [s3.put_object(Bucket="overwritten", Key="k", Body=body)["VersionId"] for body in (b"1", b"2")]

    objects = [event(account, queue)["detail"]["object"] for _ in put]
    assert sorted(o["version-id"] for o in objects) == sorted(put)
    newest = max(objects, key=lambda o: int(o["sequencer"], 16))
    assert newest["version-id"] == put[1]


def test_without_versioning_there_is_no_version(account: Account) -> None:
    queue = listen(account, "aws.s3", "Object Created")
    s3 = account.client("s3")
    s3.create_bucket(Bucket="plain")
    s3.put_bucket_notification_configuration(Bucket="plain", NotificationConfiguration={"EventBridgeConfiguration": {}})

    s3.put_object(Bucket="plain", Key="k", Body=b"1")

    assert "version-id" not in event(account, queue)["detail"]["object"]


def test_only_standard_workflows_announce_their_status(account: Account) -> None:
    queue = listen(account, "aws.states", "Step Functions Execution Status Change")
    express, standard = account.machine(PASS_MACHINE, kind="EXPRESS"), account.machine(PASS_MACHINE)

    for machine in (express, standard):
        execution = account.start(machine)
        account.end(execution)

    events = [event(account, queue) for _ in range(2)]
    assert {e["detail"]["stateMachineArn"] for e in events} == {standard}
    assert {e["detail"]["status"] for e in events} == {"RUNNING", "SUCCEEDED"}
    assert not account.message(queue)


@pytest.mark.without("T21")
def test_without_the_repair_no_version_is_told(bare: Account) -> None:
    queue = listen(bare, "aws.s3", "Object Created")
    versioned_bucket(bare, "bucket").put_object(Bucket="bucket", Key="k", Body=b"1")
    assert "version-id" not in event(bare, queue)["detail"]["object"]


@pytest.mark.without("T22")
def test_without_the_repair_express_executions_are_announced(bare: Account) -> None:
    queue = listen(bare, "aws.states", "Step Functions Execution Status Change")
    bare.start(bare.machine(PASS_MACHINE, kind="EXPRESS"))
    assert event(bare, queue)["detail"]["status"] == "RUNNING"
