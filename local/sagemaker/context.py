"""What every part of the engine works with."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.host import Host, Scope
from local.sagemaker.containers import Container, Launcher
from local.sagemaker.store import Store

LOG_INTERVAL = 0.25
_log = logging.getLogger(__name__)


@dataclass
class Context:
    """The host, the records, the containers, and the threads that look after them.

    `speed` is how many seconds of a deployment's waits pass in one real second.
    """

    host: Host
    store: Store
    launcher: Launcher
    directory: Path
    stop_grace: float
    speed: float = 1.0
    closed: threading.Event = field(default_factory=threading.Event)
    _threads: set[threading.Thread] = field(default_factory=set)
    _threads_lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> Container:
        """Starts a container; one that comes too late, after the end of everything, is ended at once."""
        container = self.launcher.start(arguments, cwd=cwd, env=env, log=log)
        if self.closed.is_set():
            container.send(signal.SIGKILL)
        return container

    def run(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Does the work on a thread of its own."""
        thread = threading.Thread(target=_guarded, args=(work, *arguments), name=work.__qualname__, daemon=True)
        with self._threads_lock:  # `join` must not meet a thread that has not started
            thread.start()
            self._threads = {other for other in self._threads if other.is_alive()} | {thread}
        return thread

    def join(self, timeout: float) -> None:
        """Waits until the work in hand has ended."""
        deadline = time.monotonic() + timeout
        with self._threads_lock:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def emit(self, scope: Scope, detail_type: str, arn: str, detail: Mapping[str, Any]) -> None:
        """Sends `SageMaker … State Change`; a job goes on when that fails."""
        if self.closed.is_set():
            return
        try:
            self.host.emit(scope, "aws.sagemaker", f"SageMaker {detail_type} State Change", [arn], detail)
        except Exception:  # noqa: BLE001 - an event is best effort, on AWS too
            _log.exception("the event of %s was not sent", arn)

    def ship_logs(self, scope: Scope, container: Container, group: str, stream: str) -> threading.Thread:
        """Sends what the container writes to a log stream, while it runs and to its last line."""
        return self.run(self._ship, scope, container, group, stream)

    def _ship(self, scope: Scope, container: Container, group: str, stream: str) -> None:
        with container.log.open("rb") as file:
            rest = b""
            ended = False
            while not ended:
                ended = container.wait(LOG_INTERVAL) is not None
                *lines, rest = (rest + file.read()).split(b"\n")
                if ended and rest:
                    lines.append(rest)
                self.log(scope, group, stream, [line.decode(errors="replace") for line in lines])

    def log(self, scope: Scope, group: str, stream: str, lines: Sequence[str]) -> None:
        """Writes lines to a log stream; a job goes on when that fails."""
        if not lines or self.closed.is_set():
            return
        try:
            self.host.log(scope, group, stream, lines)
        except Exception:  # noqa: BLE001 - so is a log line
            _log.exception("%d lines for %s %s were not logged", len(lines), group, stream)


def _guarded(work: Callable[..., None], *arguments: Any) -> None:
    try:
        work(*arguments)
    except Exception:  # noqa: BLE001 - nobody waits for this thread: the log is where it is seen
        _log.exception("%s failed", work.__qualname__)


def milliseconds(moment: float) -> int:
    """A time as SageMaker's events state it."""
    return int(moment * 1000)
