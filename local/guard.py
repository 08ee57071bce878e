"""A process that outlives its parent for a moment, to end what the parent has started and can end no more.

A cloud that is killed cannot end its jobs; they would go on, and write what a run that is reported failed should not
have written. Standard library only, for the process runs on any interpreter.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_LOOK_SECONDS = 0.02


class Guard:
    """Ends process groups when this process has ended, however that happened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def watching(self, group: int) -> Iterator[None]:
        """Ends the group should this process end meanwhile."""
        self.watch(group)
        try:
            yield
        finally:
            self.release(group)

    def watch(self, group: int) -> None:
        """Ends the group with this process, from now on."""
        self._tell(f"+{group}")

    def release(self, group: int) -> None:
        """The group has ended by itself."""
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = _start()
            if self._process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # somebody has ended the guard: jobs run without
                    self._process.stdin.write(f"{line}\n".encode())
                    self._process.stdin.flush()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__)), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what ends the parent's group must not end the guard
    )


GUARD = Guard()


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent, groups = int(sys.argv[1]), set[int]()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    while os.getppid() == parent:  # at a clean stop the pipe may close a little earlier than the parent ends
        time.sleep(_LOOK_SECONDS)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    _main()
