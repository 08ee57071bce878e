"""Hears what people are told: a queue subscribed to the stack's notification topic, as a mailbox would be."""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.exceptions import ConnectionError, HTTPClientError

from cli.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_QUEUE_NAME = "ratchet-listener"
_WAIT_SECONDS = 1


@dataclass(frozen=True)
class Message:
    """One notification as a subscriber receives it."""

    subject: str
    text: str

    def holds(self, texts: Iterable[str]) -> bool:
        """Whether all the texts are in it, wherever lines break."""
        whole = _unwrapped(f"{self.subject} {self.text}")
        return all(_unwrapped(text) in whole for text in texts)


class Listener:
    """Collects notifications in the background between `with` and its end; the queue is removed again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sqs: SQSClient = stack.session.client("sqs")
        self._heard: list[Message] = []
        self._arrived = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._queue_url = ""

    def __enter__(self) -> Self:
        topic = self._stack.outputs.notification_topic_arn
        self._queue_url = self._sqs.create_queue(QueueName=_QUEUE_NAME)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])
        queue_arn = attributes["Attributes"]["QueueArn"]
        self._sqs.set_queue_attributes(QueueUrl=self._queue_url, Attributes={"Policy": _policy(topic, queue_arn)})
        sns = self._stack.session.client("sns")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, ReturnSubscriptionArn=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._sqs.delete_queue(QueueUrl=self._queue_url)

    def hear(self, *texts: str, timeout: float = 10) -> Message | None:
        """The first notification that holds all the texts, wherever lines break; None when none came in time."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                for message in self._heard:
                    if message.holds(texts):
                        return message
                if (left := deadline - time.monotonic()) <= 0:
                    return None
                self._arrived.wait(left)

    def _receive(self) -> None:
        while not self._stopped.is_set():
            try:
                self._take()
            except (ConnectionError, HTTPClientError):  # the embedded cloud is being started again
                self._stopped.wait(_WAIT_SECONDS)

    def _take(self) -> None:
        received = self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=_WAIT_SECONDS
        )
        for message in received.get("Messages", []):
            envelope = json.loads(message["Body"])
            with self._arrived:
                self._heard.append(Message(envelope.get("Subject", ""), envelope["Message"]))
                self._arrived.notify_all()
            self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def _policy(topic_arn: str, queue_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
