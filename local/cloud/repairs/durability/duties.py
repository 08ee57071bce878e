"""Duties: what was accepted and is still to be brought somewhere. A duty that is not done at a kill is done again."""

import contextvars
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from time import time_ns
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope

from local.cloud.repairs.durability.codec import Codec, key_of
from local.cloud.repairs.durability.documents import Record
from local.cloud.repairs.durability.journal import Journal

SERVICE = "duties"
logger = logging.getLogger("durability")


Duty = tuple[str, str]  # its kind and its number's text


@dataclass(frozen=True)
class _Left:
    """A duty of the process before: of whose account and region, and all that is needed to do it again."""

    duty: Duty
    account: str
    region: str
    content: Any


class Duties:
    """Journals duties. Doing one again may do it twice: at least once, as on AWS."""

    def __init__(self, journal: Journal, codec: Codec) -> None:
        self._journal = journal
        self._codec = codec
        self._numbers = count(time_ns())  # later than those of all earlier starts, so that duties stay in order
        self._again: dict[str, Callable[[Any], None]] = {}
        self._left: list[_Left] = []

    def handle(self, kind: str, again: Callable[[Any], None]) -> None:
        """Says how duties of a kind are done again, from their content."""
        self._again[kind] = again

    def add(self, kind: str, content: Any) -> Duty:
        """A new duty of the account and region that this thread works for."""
        duty = kind, key_of(next(self._numbers))
        self._journal.put(SERVICE, *duty, self._codec.encode([get_account_id(), get_region(), content]))
        return duty

    def done(self, duty: Duty) -> None:
        """The duty is done, or has become another one."""
        self._journal.drop(SERVICE, *duty)

    def load(self, records: list[Record]) -> None:
        """Takes up what was left undone, oldest first."""
        oldest_first = sorted(records, key=lambda record: int(record[1]))
        self._left = [_Left((kind, key_of(number)), *content) for kind, number, content in oldest_first]

    def resume(self) -> None:
        """Does all again that was left."""
        left, self._left = self._left, []
        for owed in left:
            kind = owed.duty[0]
            logger.info("%s was not done when the cloud was ended, and is done again.", kind)
            try:
                with request_scope(owed.account, owed.region):
                    self._again[kind](owed.content)
            except Exception:
                logger.exception("%s could not be done again: %s", kind, owed.content)
            self.done(owed.duty)

    def in_background(self, kind: str, content: Any, act: Callable[[], None]) -> None:
        """Starts the act in the background, for the same account and region."""
        owed = self.until_done(kind, content, act)
        threading.Thread(target=contextvars.copy_context().run, args=(owed,), daemon=True).start()

    def until_done(self, kind: str, content: Any, act: Callable[[], None]) -> Callable[[], None]:
        """The act, owed from now until it has ended."""
        duty = self.add(kind, content)

        def run() -> None:
            try:
                act()
            finally:
                self.done(duty)

        return run
