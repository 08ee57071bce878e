"""The test switch: what is disturbed, in which way, and only as long as it is on."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from local.cloud.chaos import MOST_COPIES, Chaos, disturbed
from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import Account, until

EVENTS = 30


class Heard:
    """A queue that gets every event of one source."""

    def __init__(self, account: Account, source: str) -> None:
        self._account, self._source = account, source
        self._url, arn = account.open_queue()
        account.rule({"source": [source]}, Arn=arn)
        self.numbers: list[int] = []

    def put(self, count: int = EVENTS) -> None:
        for number in range(count):
            self._account.put_event(self._source, {"number": number})

    def listen(self, count: int) -> list[int]:
        """The numbers of the events in order of delivery, once there are so many."""
        until(lambda: self._take() >= count)
        return self.numbers

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing more comes."""
        before = len(self.numbers)
        time.sleep(seconds)
        return self._take() == before

    def _take(self) -> int:
        while found := self._account.sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                self.numbers.append(json.loads(message["Body"])["detail"]["number"])
                self._account.sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return len(self.numbers)


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


@pytest.fixture
def heard(account: Account, request: pytest.FixtureRequest) -> Heard:
    return Heard(account, f"test.{request.node.name}")


def test_off_by_default_each_event_comes_once_and_in_order(heard: Heard) -> None:
    heard.put()
    assert heard.listen(EVENTS) == list(range(EVENTS))
    assert heard.silent()


def test_duplicates(cloud: Cloud, heard: Heard) -> None:
    with disturbed(cloud.settings, Chaos(duplicates=1)):
        heard.put(5)
    assert Counter(heard.listen(5 * MOST_COPIES)) == dict.fromkeys(range(5), MOST_COPIES)
    assert heard.silent()


def test_delays_let_later_events_overtake(cloud: Cloud, heard: Heard) -> None:
    with disturbed(cloud.settings, Chaos(seed=7, delay=0.5)):
        heard.put()
    numbers = heard.listen(EVENTS)
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(EVENTS)), "what was still waiting when the switch went off came too"


def test_dropped_sources_reach_nobody_and_others_do(cloud: Cloud, account: Account, heard: Heard) -> None:
    other = Heard(account, "test.other")
    with disturbed(cloud.settings, Chaos(dropped=("test.other",))):
        heard.put(3)
        other.put(3)
        assert heard.listen(3) == [0, 1, 2]
        assert other.silent()
    other.put(2)
    assert other.listen(2) == [0, 1]


def test_eventbridge_off_for_s3(cloud: Cloud, account: Account) -> None:
    url, arn = account.open_queue()
    account.rule({"source": ["aws.s3"], "detail": {"bucket": {"name": ["unannounced"]}}}, Arn=arn)
    s3: Any = account.client("s3")
    s3.create_bucket(Bucket="unannounced")
    s3.put_bucket_notification_configuration(
        Bucket="unannounced", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    with disturbed(cloud.settings, Chaos(dropped=("aws.s3",))):
        s3.put_object(Bucket="unannounced", Key="lost", Body=b"1")
        # S3's answer does not wait for its event, which meets the switch a moment later.
        assert "Messages" not in account.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)
    s3.put_object(Bucket="unannounced", Key="announced", Body=b"1")
    assert json.loads(account.received(url)["Body"])["detail"]["object"]["key"] == "announced"


def test_the_same_seed_gives_the_same_fates() -> None:
    def fates(seed: int) -> list[tuple[float, ...]]:
        return list(islice(Chaos(seed=seed, duplicates=0.5, delay=1).fates(), 20))

    assert fates(1) == fates(1)
    assert fates(1) != fates(2)


@pytest.fixture
def own_settings(tmp_path: Path) -> Iterator[CloudSettings]:
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path))
    yield cloud.settings
    cloud.down()


def test_a_start_turns_it_off(own_settings: CloudSettings) -> None:
    own_settings.chaos_file.write_text(json.dumps({"dropped": ["test.restart"]}))
    cloud = Cloud(own_settings)
    cloud.up()
    heard = Heard(Account(cloud), "test.restart")
    heard.put(2)
    assert heard.listen(2) == [0, 1]
