"""The event bus and the topic."""

import json

import boto3
import pytest
from botocore.stub import Stubber

from ratchet.adapters.event_bus import EventBus
from ratchet.adapters.sns_topic import SnsTopic
from ratchet.contracts.run import Announcement
from ratchet.domain.errors import DependencyBusyError

ANNOUNCEMENT = Announcement(pipeline="traffic", subject="traffic: model deployed", sentence="It serves.")


@pytest.fixture
def stubbed(aws: None) -> tuple[EventBus, Stubber]:
    client = boto3.client("events")
    stubber = Stubber(client)
    stubber.activate()
    return EventBus("ratchet-dev", client), stubber


def test_an_announcement_is_an_event_of_ours(stubbed: tuple[EventBus, Stubber]) -> None:
    bus, stubber = stubbed
    entry = {
        "EventBusName": "ratchet-dev",
        "Source": "ratchet",
        "DetailType": "Model Deployed",
        "Detail": ANNOUNCEMENT.model_dump_json(),
    }
    stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}, {"Entries": [entry]})
    bus.announce("Model Deployed", ANNOUNCEMENT)
    stubber.assert_no_pending_responses()
    assert Announcement.model_validate(json.loads(entry["Detail"])) == ANNOUNCEMENT


def test_an_entry_the_bus_did_not_take_is_busy(stubbed: tuple[EventBus, Stubber]) -> None:
    bus, stubber = stubbed
    refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}
    stubber.add_response("put_events", {"FailedEntryCount": 1, "Entries": [refused]})
    with pytest.raises(DependencyBusyError, match="try again"):
        bus.announce("Model Deployed", ANNOUNCEMENT)


TOPIC = "arn:aws:sns:eu-west-1:123456789012:ratchet-dev"


@pytest.fixture
def topic(aws: None) -> tuple[SnsTopic, Stubber]:
    client = boto3.client("sns")
    stubber = Stubber(client)
    stubber.activate()
    return SnsTopic(TOPIC, client), stubber


def test_a_message_is_published_with_its_attributes(topic: tuple[SnsTopic, Stubber]) -> None:
    sns, stubber = topic
    request = {
        "TopicArn": TOPIC,
        "Subject": "[dev] traffic: model deployed",
        "Message": "It serves.\n",
        "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "Model Deployed"}},
    }
    stubber.add_response("publish", {"MessageId": "1"}, request)
    sns.publish("[dev] traffic: model deployed", "It serves.\n", {"kind": "Model Deployed"})
    stubber.assert_no_pending_responses()


def test_a_throttled_topic_is_busy(topic: tuple[SnsTopic, Stubber]) -> None:
    sns, stubber = topic
    stubber.add_client_error("publish", "ThrottledException", "Rate exceeded")
    with pytest.raises(DependencyBusyError, match="Rate exceeded"):
        sns.publish("s", "m", {})
