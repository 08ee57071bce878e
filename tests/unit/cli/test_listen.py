"""What people are told is heard, whole and only once subscribed."""

import pytest

from cli.listen import Listener, Message
from cli.stack import Stack


@pytest.fixture
def topic(stack: Stack) -> str:
    return stack.session.client("sns").create_topic(Name="people")["TopicArn"]


def test_a_notification_is_heard_by_what_it_says(stack: Stack, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack.outputs.notification_topic_arn == topic
    monkeypatch.setattr("cli.listen._WAIT_SECONDS", 0)
    with Listener(stack) as listener:
        stack.session.client("sns").publish(TopicArn=topic, Subject="traffic: refused", Message="0.85 misses\n0.90")
        assert listener.hear("refused", "0.85 misses 0.90") == Message("traffic: refused", "0.85 misses\n0.90")
        assert listener.hear("deployed", timeout=0.05) is None
    assert stack.session.client("sqs").list_queues().get("QueueUrls", []) == []
