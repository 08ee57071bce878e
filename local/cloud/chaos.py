"""A test switch, off by default: event deliveries duplicated, delayed, so reordered, or dropped; jobs left at work.

EventBridge delivers at least once and in no order, and some sources only do their best. The switch is a file in the
state folder, so whoever can write there can turn it, at run time, and nobody over the network can.
"""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from local.cloud.settings import CloudSettings

MOST_COPIES = 4
_AT_ONCE = (0.0,)


@dataclass(frozen=True)
class Chaos:
    """How deliveries and the ends of jobs are disturbed; the same seed gives the same fates in the same order.

    Attributes:
        seed: of the random numbers.
        duplicates: the chance that a delivery is made once more, and then again once more, `MOST_COPIES` in all.
        delay: seconds; every copy waits a random time up to this, so later events overtake it.
        dropped: sources whose events reach no target at all, such as `aws.s3`.
        abandons: an execution that is stopped leaves its job at work; AWS only tries to stop it.
    """

    seed: int = 0
    duplicates: float = 0.0
    delay: float = 0.0
    dropped: tuple[str, ...] = ()
    abandons: bool = False

    def fates(self) -> Iterator[tuple[float, ...]]:
        """For one delivery after the other: the seconds that each of its copies waits."""
        draw = random.Random(self.seed)  # noqa: S311  fates must repeat
        while True:
            copies = 1
            while copies < MOST_COPIES and draw.random() < self.duplicates:
                copies += 1
            yield tuple(draw.uniform(0, self.delay) for _ in range(copies))


@contextmanager
def disturbed(settings: CloudSettings, chaos: Chaos) -> Iterator[None]:
    """Disturbs the deliveries of a running cloud; those still waiting at the end arrive all the same."""
    written = settings.chaos_file.with_suffix(".new")
    written.write_text(json.dumps(asdict(chaos)))
    written.replace(settings.chaos_file)
    try:
        yield
    finally:
        settings.chaos_file.unlink()


class Switch:
    """What the server sees of the switch: it looks at the file before each delivery."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._chaos = Chaos()
        self._fates: Iterator[tuple[float, ...]] | None = None

    def fate(self, source: str) -> tuple[float, ...]:
        """The seconds that each copy of the next delivery waits; none when it is dropped."""
        with self._lock:
            self._look()
            if source in self._chaos.dropped:
                return ()
            return next(self._fates) if self._fates else _AT_ONCE

    def abandons(self) -> bool:
        """Whether a stopped execution leaves its job at work."""
        with self._lock:
            self._look()
            return self._chaos.abandons

    def _look(self) -> None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._seen, self._chaos, self._fates = None, Chaos(), None
            return
        if self._seen != (found.st_ino, found.st_mtime_ns):
            self._seen = found.st_ino, found.st_mtime_ns
            self._chaos = Chaos(**json.loads(self._file.read_text()))
            self._fates = self._chaos.fates()
