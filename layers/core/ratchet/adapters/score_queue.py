"""The queue of files to score, and its dead-letter queue."""

import logging
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_LONGEST = 1_000  # characters of a reason
_log = logging.getLogger(__name__)


class ScoreQueue:
    """The DeadLetters port over SQS; reasons are written as EventBridge writes its own."""

    def __init__(self, queue_url: str, dead_letter_queue_url: str, client: "SQSClient | None" = None) -> None:
        self._queue, self._dead = queue_url, dead_letter_queue_url
        self._sqs: SQSClient = client or boto3.client("sqs", config=CLIENT_CONFIG)

    def bury(self, body: str, code: str, message: str) -> None:
        reasons = {"ERROR_CODE": code, "ERROR_MESSAGE": message[:_LONGEST]}
        with busy_errors():
            self._sqs.send_message(
                QueueUrl=self._dead,
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in reasons.items() if value
                },
            )

    def postpone(self, receipt: str, seconds: int) -> None:
        try:
            self._sqs.change_message_visibility(QueueUrl=self._queue, ReceiptHandle=receipt, VisibilityTimeout=seconds)
        except ClientError as error:  # it comes back later, by its queue's own timeout
            _log.info("a message was not postponed: %s", error)
