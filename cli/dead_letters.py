"""Dead letters: what failed for good, in every queue of the stack, with its origin and the door it came through."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from cli.errors import CommandError
from cli.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

SUFFIX = "DeadLetterQueue"  # of the logical id of every such queue in template.yaml
HELD_SECONDS = 120  # as long as a command may look at what it received
_BATCH = 10  # messages of one request, SQS's own bound


@dataclass(frozen=True)
class Queue:
    """A dead-letter queue of the stack."""

    name: str  # ingest, events, scheduler, …
    url: str


@dataclass(frozen=True)
class DeadLetter:
    """One message, and where it goes when it is given another try.

    door: ARN of the function or state machine that failed on it, or the URL of the queue that it left;
    none when the message says nothing of its origin.
    body: what the door takes.
    first, last: when what it tells of happened, and when its last try failed.
    """

    letter_id: str
    queue: Queue
    subject: str
    door: str | None
    body: str
    error: str
    message: str
    first: datetime
    last: datetime
    receipt: str = field(repr=False)

    @property
    def upload(self) -> tuple[str, str] | None:
        """Key and version of the upload that it is about."""
        s3 = _document(self.body).get("detail")
        if not isinstance(s3, dict) or not isinstance(found := s3.get("object"), dict):
            return None
        key, version = found.get("key"), found.get("version-id")
        return (key, version) if isinstance(key, str) and isinstance(version, str) else None


def queues_of(stack: Stack, name: str | None = None) -> list[Queue]:
    """Every dead-letter queue of the stack, or the one named; CommandError when there is none of that name."""
    found = [Queue(_short(logical), url) for logical, url in stack.queue_urls.items() if logical.endswith(SUFFIX)]
    chosen = sorted((queue for queue in found if name in (None, queue.name)), key=lambda queue: queue.name)
    if not chosen:
        raise CommandError(
            f"The stack {stack.name} has no dead-letter queue {name or ''}. "
            f"It has: {', '.join(sorted(queue.name for queue in found)) or 'none'}."
        )
    return chosen


class Held:
    """Letters in one's hands: hidden from others until the `with` that received them ends."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._kept: dict[str, DeadLetter] = {}

    @property
    def letters(self) -> list[DeadLetter]:
        """Those still in their queues, oldest first."""
        return sorted(self._kept.values(), key=lambda letter: letter.last)

    def receive(self, queue: Queue, most: int) -> None:
        """Takes at most `most` letters of a queue in hand; SQS keeps no order, so which ones is chance."""
        source: str | None = None
        taken = 0
        while taken < most:
            messages = self._stack.queues.receive_message(
                QueueUrl=queue.url,
                MaxNumberOfMessages=min(_BATCH, most - taken),
                VisibilityTimeout=HELD_SECONDS,
                WaitTimeSeconds=1,  # asks every server of SQS, not a sample of them
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            ).get("Messages", [])
            if not messages:
                return
            source = _source(self._stack, queue) if source is None else source
            self._kept |= {message["MessageId"]: read(message, queue, source or None) for message in messages}
            taken += len(messages)

    def send_back(self, letter: DeadLetter) -> None:
        """Through the door it came from, then out of the queue: in this order, for every door is idempotent."""
        if letter.door is None:
            raise CommandError(f"{letter.letter_id} says nothing of its origin; `ratchet dlq show` prints it whole.")
        if letter.door.startswith("http"):
            self._stack.queues.send_message(QueueUrl=letter.door, MessageBody=letter.body)
        elif ":states:" in letter.door:
            self._stack.executions.start_execution(stateMachineArn=letter.door, input=letter.body)
        else:
            payload = letter.body.encode()
            self._stack.functions.invoke(FunctionName=letter.door, InvocationType="Event", Payload=payload)
        self.delete(letter)

    def delete(self, letter: DeadLetter) -> None:
        """Takes the letter out of its queue."""
        self._stack.queues.delete_message(QueueUrl=letter.queue.url, ReceiptHandle=letter.receipt)
        del self._kept[letter.letter_id]

    def release(self) -> None:
        """Lets others see what was not deleted; what is refused becomes visible by itself."""
        for letter in self._kept.values():
            self._stack.queues.change_message_visibility_batch(
                QueueUrl=letter.queue.url,
                Entries=[{"Id": "0", "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}],
            )


@contextmanager
def held(stack: Stack, queues: Sequence[Queue], most: int) -> Iterator[Held]:
    """The letters of the queues, at most `most` of each."""
    hands = Held(stack)
    try:
        for queue in queues:
            hands.receive(queue, most)
        yield hands
    finally:
        hands.release()


def _source(stack: Stack, queue: Queue) -> str:
    """The queue of the stack whose failed messages end here; empty when events and invocations do.

    Read from the queues' own policies: the embedded cloud has no ListDeadLetterSourceQueues.
    """
    arn = _attribute(stack, queue.url, "QueueArn")
    others = [url for url in stack.queue_urls.values() if url != queue.url]
    policies = ((url, json.loads(_attribute(stack, url, "RedrivePolicy") or "{}")) for url in others)
    return next((url for url, policy in policies if policy.get("deadLetterTargetArn") == arn), "")


def _attribute(stack: Stack, url: str, name: Literal["QueueArn", "RedrivePolicy"]) -> str:
    return stack.queues.get_queue_attributes(QueueUrl=url, AttributeNames=[name]).get("Attributes", {}).get(name, "")


def read(message: "MessageTypeDef", queue: Queue, source: str | None = None) -> DeadLetter:
    """What a message says of itself, whoever kept it: a rule, a schedule, a function's destination, a workflow, SQS."""
    said = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    body, sent = message["Body"], _moment(int(message["Attributes"]["SentTimestamp"]) / 1000)
    record = _document(body)
    error, text, door = said.get("ERROR_CODE", ""), said.get("ERROR_MESSAGE", ""), said.get("TARGET_ARN")
    if "EXECUTION_ARN" in said:
        door = _state_machine(said["EXECUTION_ARN"])
    elif "requestPayload" in record:  # a function's on-failure destination
        answer = record.get("responsePayload") or {}
        context = record["requestContext"]
        error, text = answer.get("errorType", context.get("condition", "")), answer.get("errorMessage", "")
        door = context["functionArn"].removesuffix(":$LATEST")
        body = json.dumps(record["requestPayload"])
        record = _document(body)
    return DeadLetter(
        letter_id=message["MessageId"],
        queue=queue,
        subject=_subject(record) or said.get("SCHEDULE_ARN", "").rpartition(":")[2] or "message",
        door=door or source,
        body=body,
        error=error or "unknown",
        message=text,
        first=_happened(record) or sent,
        last=sent,
        receipt=message["ReceiptHandle"],
    )


def _subject(record: dict[str, Any]) -> str:
    """What the letter is about, in a few words: an object, an event, a pipeline."""
    detail = record.get("detail")
    if isinstance(detail, dict) and isinstance(detail.get("object"), dict):
        return str(detail["object"].get("key", ""))
    if isinstance(records := record.get("Records"), list) and records and isinstance(records[0], dict):
        return str(records[0].get("s3", {}).get("object", {}).get("key", ""))
    about = detail.get("pipeline", "") if isinstance(detail, dict) else record.get("pipeline", "")
    return f"{record.get('detail-type', '')} {about}".strip()


def _happened(record: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(record["time"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return None


def _state_machine(execution_arn: str) -> str:
    """arn:…:execution:NAME:… of a Standard workflow, arn:…:express:NAME:… of an Express one."""
    partition_to_account = execution_arn.split(":")[:5]
    return ":".join([*partition_to_account, "stateMachine", execution_arn.split(":")[6]])


def _document(body: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _short(logical_id: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", logical_id.removesuffix(SUFFIX)).lower()
