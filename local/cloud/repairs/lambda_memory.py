"""T15: a function that uses more memory than its MemorySize is killed, as on AWS.

Resident memory is what counts, as in Lambda's own accounting: a limit on addresses would stop libraries that map much
and touch little. Where there is no /proc, `ps` is asked, and less often.
"""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_SAMPLE_SECONDS, _PS_SECONDS = 0.05, 1.0
_KIB = 1024


class Memory:
    """What one process uses, and may use (megabytes)."""

    def __init__(self, process: "subprocess.Popen[str]", limit: int) -> None:
        self._process, self._limit = process, limit
        self.peak = 0.0
        self.exceeded = False

    def look(self) -> None:
        """Measures the process, and kills it when it has ever used more than it may."""
        if self._process.poll() is None:
            self.peak = max(self.peak, _peak_megabytes(self._process.pid))
        if self.peak > self._limit and not self.exceeded:
            self.exceeded = True
            self._process.kill()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Looks while the process is at work, and once more when it has answered: a short peak counts as well."""
        _WATCH.add(self)
        try:
            yield
        finally:
            _WATCH.remove(self)
            self.look()


class _Watch:
    """One thread that looks at all processes at work."""

    def __init__(self) -> None:
        self._watched: set[Memory] = set()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, memory: Memory) -> None:
        with self._change:
            self._watched.add(memory)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memory of functions", daemon=True)
                self._thread.start()
            self._change.notify()

    def remove(self, memory: Memory) -> None:
        with self._change:
            self._watched.discard(memory)

    def _run(self) -> None:
        interval, pause = _SAMPLE_SECONDS if _PROC.is_dir() else _PS_SECONDS, threading.Event()
        while True:
            with self._change:
                self._change.wait_for(lambda: self._watched)
                watched = list(self._watched)
            for memory in watched:
                memory.look()
            pause.wait(interval)


_WATCH = _Watch()


def _peak_megabytes(pid: int) -> float:
    """The most that the process has used so far, or uses now where only that is known; 0 when it is gone."""
    if not _PROC.is_dir():
        used = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
        return int(used or 0) / _KIB
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0.0
    peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
    return int(peak) / _KIB
