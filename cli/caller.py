"""A client that never stops predicting, and counts what failed."""

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import CommandError
from cli.predict import ask
from cli.stack import Stack


class Caller:
    """Asks the pipeline's endpoint again and again between `with` and its end."""

    def __init__(self, stack: Stack, pipeline: str, records: Sequence[dict[str, Any]], every: float = 0.05) -> None:
        self._stack, self._pipeline = stack, pipeline
        self._records = itertools.cycle(records)
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)
        self.answered = 0
        self.failures: list[str] = []
        self.slowest_seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._stopped.wait(self._every):
            started = time.monotonic()
            try:
                ask(self._stack, self._pipeline, next(self._records))
                self.answered += 1
            except (CommandError, ClientError, BotoCoreError) as error:
                self.failures.append(str(error))
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
