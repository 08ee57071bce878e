"""A burst shares the environments that this machine can run at once, instead of a cold start for each of it.

On AWS there is no such queue, so the time in it is the machine's and counts against no task's TimeoutSeconds.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

AT_ONCE = 4 * (os.cpu_count() or 1)  # invocations of one function
PATIENCE_SECONDS = 20.0


class Crowd:
    """The places of each function.

    Who has a place may wait for who has none (a function that invokes itself): when nobody has come or gone for a
    while, one more goes in.
    """

    def __init__(self, at_once: int = AT_ONCE, patience: float = PATIENCE_SECONDS) -> None:
        self._places: dict[str, _Places] = defaultdict(lambda: _Places(at_once, patience))
        self._lock = threading.Lock()
        self._held: ContextVar[str] = ContextVar("the function whose place is held", default="")

    @contextmanager
    def place(self, function: str) -> Iterator[None]:
        """Waits for a place, and has it until the end; within the same context it is the same place."""
        if self._held.get() == function:
            yield
            return
        with self._lock:
            places = self._places[function]
        places.take()
        token = self._held.set(function)
        try:
            yield
        finally:
            self._held.reset(token)
            places.give_back()


class _Places:
    def __init__(self, at_once: int, patience: float) -> None:
        self._free, self._extra, self._patience = at_once, 0, patience
        self._moved = time.monotonic()
        self._changed = threading.Condition()

    def take(self) -> None:
        with self._changed:
            while not self._free:
                left = self._moved + self._patience - time.monotonic()
                if left <= 0:
                    self._free, self._extra = 1, self._extra + 1
                else:
                    self._changed.wait(left)
            self._free -= 1
            self._moved = time.monotonic()

    def give_back(self) -> None:
        with self._changed:
            if self._extra:
                self._extra -= 1
            else:
                self._free += 1
            self._moved = time.monotonic()
            self._changed.notify()


CROWD = Crowd()
