"""SQS: every message, with how often it was received."""

import threading
import time
from typing import Any

from ministack.services import eventbridge, lambda_svc, s3, sns, sqs

from local.cloud.repairs.durability.codec import Codec, key_of
from local.cloud.repairs.durability.documents import Record, restored
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.patching import Function, replace

SERVICE = "sqs"
_MESSAGES = "messages"
# All that puts messages in or takes them out; a request over HTTP comes by `_dispatch`.
_CHANGING: tuple[tuple[Any, str, str], ...] = (
    (sqs, "_act_send_message", "(data: dict, qurl: str) -> dict"),
    (sqs, "_receive_messages_for_esm", "(queue_url: str, max_number: int) -> list[dict]"),
    (sqs, "_delete_messages_for_esm", "(queue_url: str, receipt_handles: set[str]) -> None"),
    (eventbridge, "_dispatch_to_sqs", "(spec, payload, sqs_parameters=None)"),
    (
        s3,
        "_deliver_event_to_sqs",
        "(arn: str, event_payload: dict, bucket_region: str, bucket_name: str = '') -> None",
    ),
    (
        sns,
        "_deliver_to_sqs",
        "(endpoint: str, envelope: str, raw: bool, raw_message: str, message_group_id: str = '', "
        "message_dedup_id: str = '', message_attributes: dict | None = None, topic_arn: str = '')",
    ),
    (lambda_svc, "_route_async_failure", "(target_arn: str, func_name: str, event: dict, result: dict) -> None"),
)


class Queues:
    """Compares the queues with what is known to last: messages change in many places, and there are few of them."""

    def __init__(self, journal: Journal, codec: Codec) -> None:
        self._journal = journal
        self._codec = codec
        self._known: dict[Any, dict[str, Any]] = {}
        self._comparing = threading.Lock()

    def install(self) -> None:
        """Compares after everything that changes a queue."""
        replace(sqs, "_dispatch", "(action: str, data: dict, qurl: str) -> dict", self._after_request)
        for owner, name, signature in _CHANGING:
            replace(owner, name, signature, self._after)

    def know(self) -> None:
        """Takes what is there for what lasts already."""
        self._known = {key: _marks(queue) for key, queue in list(sqs._queues._data.items())}

    def journal(self) -> None:
        """Journals messages that came, went, or were received."""
        with self._comparing, self._journal.together():
            queues = dict(sqs._queues._data)
            for key in self._known.keys() - queues.keys():
                for message in self._known.pop(key):
                    self._put(key, message, None)
            for key, queue in queues.items():
                self._compare(key, queue)

    def restore(self, base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        """What a clean stop saved, with the queues and messages as journaled; what was in flight is visible again."""
        saved = {key: queue["messages"] for key, queue in _queues(base).items()}
        state = restored(base, [record for record in records if record[0] != _MESSAGES])
        journaled: dict[Any, dict[str, Any]] = {}
        for store, key, message in records:
            if store == _MESSAGES:
                journaled.setdefault(key[:3], {})[key[3]] = message
        for key, queue in _queues(state).items():
            messages = {message["id"]: message for message in queue.setdefault("messages", saved.get(key, []))}
            messages.update(journaled.get(key, {}))
            queue["messages"] = sorted(filter(None, messages.values()), key=lambda message: message["sent_at"])
            for message in queue["messages"]:
                if message["receive_count"]:
                    message["visible_at"] = min(message["visible_at"], time.time())
        return state

    def _compare(self, key: Any, queue: dict[str, Any]) -> None:
        known, marks = self._known.get(key, {}), _marks(queue)
        if known == marks:
            return
        self._known[key] = marks
        for gone in known.keys() - marks.keys():
            self._put(key, gone, None)
        for message in list(queue["messages"]):
            if known.get(message["id"]) != marks.get(message["id"]):
                self._put(key, message["id"], message)

    def _put(self, key: Any, message_id: str, message: Any) -> None:
        text = None if message is None else self._codec.encode(message)
        self._journal.put(SERVICE, _MESSAGES, key_of((*key, message_id)), text)

    def _after(self, original: Function) -> Function:
        def act(*args: Any, **options: Any) -> Any:
            try:
                return original(*args, **options)
            finally:
                self.journal()

        return act

    def _after_request(self, original: Function) -> Function:
        async def dispatch(action: str, data: dict[str, Any], qurl: str) -> Any:
            try:
                return await original(action, data, qurl)
            finally:
                self.journal()

        return dispatch


def _marks(queue: dict[str, Any]) -> dict[str, Any]:
    """What of each message tells that it has changed."""
    return {message["id"]: (message["receive_count"], message["receipt_handle"]) for message in list(queue["messages"])}


def _queues(state: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    return state["queues"]._data if "queues" in state else {}
