"""Files to score: what S3 puts into the queue, and what becomes of it."""

import json
from typing import Any
from urllib.parse import unquote_plus

from pydantic import Field

from ratchet.contracts.base import BucketName, Contract, Finding, ForeignContract


class NotifiedBucket(ForeignContract):
    """`s3.bucket` of a notification."""

    name: BucketName


class NotifiedObject(ForeignContract):
    """`s3.object`: unlike EventBridge, a notification URL-encodes the key."""

    key: str
    size: int = 0
    version_id: str = Field(alias="versionId")

    @property
    def plain_key(self) -> str:
        """The key as the object has it."""
        return unquote_plus(self.key)


class NotifiedS3(ForeignContract):
    """`s3` of a notification."""

    bucket: NotifiedBucket
    object: NotifiedObject


class Notification(ForeignContract):
    """One object version that arrived."""

    s3: NotifiedS3


class QueueMessageAttributes(ForeignContract):
    """What SQS knows of a message."""

    receives: int = Field(alias="ApproximateReceiveCount", ge=1)


class QueueMessage(ForeignContract):
    """A message of the queue, as Lambda hands it over."""

    message_id: str = Field(alias="messageId")
    receipt: str = Field(alias="receiptHandle")
    body: str
    attributes: QueueMessageAttributes

    def records(self) -> list[dict[str, Any]]:
        """The notifications in the body; none in S3's test message. ValueError when it is something else."""
        document = json.loads(self.body)
        if not isinstance(document, dict):
            raise TypeError("the message is no JSON object")
        if document.get("Event") == "s3:TestEvent":
            return []
        records = document.get("Records")
        if not isinstance(records, list):
            raise TypeError("the message has no Records")
        return records


class QueueEvent(ForeignContract):
    """A batch of messages."""

    messages: tuple[QueueMessage, ...] = Field(alias="Records")


class FailedMessage(Contract):
    """A message that stays in the queue."""

    itemIdentifier: str  # noqa: N815  (Lambda's spelling)


class BatchResult(Contract):
    """Which messages of the batch are to be tried again."""

    batchItemFailures: tuple[FailedMessage, ...] = ()  # noqa: N815


class ScoredFile(Contract):
    """What became of one object version."""

    pipeline: str
    key: str
    version_id: str
    outcome: str  # SCORED | KNOWN | SUPERSEDED | IGNORED
    rows: int = 0
    uri: str | None = None
    model: str | None = None


class Unscored(Contract):
    """Why a file is in the dead-letter queue."""

    code: str
    finding: Finding
