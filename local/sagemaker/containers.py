"""Starts the processes that stand for containers, from a warm process or as plain ones."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path

from local.guard import GUARD

# Read once when a library is loaded: a forked child would not see a change, so such containers start cold.
_READ_AT_LOAD = ("GOMP_", "KMP_", "LD_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHON")
_DEFAULTS = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONUNBUFFERED": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
_FAMILIAR = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
_log = logging.getLogger(__name__)


def base_environment() -> dict[str, str]:
    """What every container has; nothing else of this process's environment gets in."""
    kept = {name: os.environ[name] for name in _FAMILIAR if name in os.environ}
    # On a container's own cores OpenMP may spin while it waits; here containers share the cores, and spinning threads
    # of one keep the others from working: measured on two busy cores, training took four times as long.
    return {**_DEFAULTS, **kept}


class Container:
    """One running container: a process group, and the exit code of its first process when it has one."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self.code: int | None = None
        self._ended = threading.Event()

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code (negative: the signal that ended it), or None when it still runs after the timeout."""
        self._ended.wait(timeout)
        return self.code

    def ended(self, code: int) -> None:
        """Told by whoever reaped the process."""
        self.code = code
        self._ended.set()

    def send(self, number: signal.Signals) -> None:
        """Signals the whole group, as a container's end reaches all its processes."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def stop(self, grace: float) -> None:
        """Asks it to end, and ends it when it has not after the grace period (seconds)."""
        self.send(signal.SIGTERM)
        if self.wait(grace) is None:
            self.send(signal.SIGKILL)
            self.wait()

    def tail(self, characters: int) -> str:
        """The end of what it wrote."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="replace").strip()[-characters:]
        return ""


class Launcher:
    """Starts containers and knows all that run."""

    def __init__(self, python: Path, directory: Path, *, warm: bool) -> None:
        self._python = python
        # Forking a process that has loaded system frameworks is safe on Linux only.
        self._warm = _WarmPool(python, directory) if warm and sys.platform == "linux" else None
        self._running: set[Container] = set()
        self._lock = threading.Lock()
        if self._warm:
            self._warm.prepare()

    def start(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> Container:
        """Runs `python <arguments>` with exactly this environment; its output goes to the log file."""
        log.touch()
        container = self._start_warm(arguments, cwd, env, log) or self._start_cold(arguments, cwd, env, log)
        with self._lock:
            self._running = {other for other in self._running if other.code is None} | {container}
        return container

    def end_all(self) -> None:
        """Ends every container at once."""
        with self._lock:
            running = list(self._running)
        for container in running:
            container.send(signal.SIGKILL)
        for container in running:
            container.wait()

    def close(self) -> None:
        """Ends every container and the warm process."""
        self.end_all()
        if self._warm:
            self._warm.close()

    def _start_warm(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> Container | None:
        if self._warm is None or _load_time(env) != _load_time(base_environment()):
            return None
        try:
            return self._warm.start(arguments, cwd, env, log)
        except OSError as error:
            _log.warning("starting %s cold, the warm process failed: %s", arguments[0], error)
            return None

    def _start_cold(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> Container:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(self._python), *arguments],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        GUARD.watch(process.pid)
        container = Container(process.pid, log)
        threading.Thread(target=_watch, args=(process, container), daemon=True).start()
        return container


def _watch(process: subprocess.Popen[bytes], container: Container) -> None:
    # The group is ended before the process is reaped: until then nobody else can get its number.
    # macOS has no waitid before Python 3.13; a container's children then end on their own.
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        container.send(signal.SIGKILL)
    code = process.wait()
    GUARD.release(process.pid)
    container.ended(code)


def _load_time(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_LOAD)}


class _WarmPool:
    """The zygote process and the conversation with it; a zygote that died is replaced at the next start."""

    def __init__(self, python: Path, directory: Path) -> None:
        self._python = python
        self._directory = directory
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None

    def prepare(self) -> None:
        """Starts importing now, so that the first container finds it done."""
        with contextlib.suppress(OSError):
            self._alive()

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> Container:
        return self._alive().start(arguments, cwd, env, log)

    def close(self) -> None:
        with self._lock:
            if self._zygote:
                self._zygote.close()
            self._zygote = None

    def _alive(self) -> "_Zygote":
        with self._lock:
            if self._zygote is None or not self._zygote.alive:
                self._zygote = _Zygote(self._python, self._directory)
            return self._zygote


class _Zygote:
    def __init__(self, python: Path, directory: Path) -> None:
        self._ids = count()
        self._lock = threading.Lock()
        self._starting: dict[int, tuple[Future[Container], Path]] = {}
        self._running: dict[int, Container] = {}
        with (directory / "zygote.log").open("ab") as errors:
            self._process = subprocess.Popen(
                [str(python), str(Path(__file__).with_name("zygote.py"))],
                cwd=directory,
                # BLAS threads do not survive a fork: the zygote starts none.
                env={**base_environment(), "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.alive = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> Container:
        """Raises an OSError when the zygote has ended."""
        future: Future[Container] = Future()
        with self._lock:
            if not self.alive or self._process.stdin is None:
                raise BrokenPipeError("the zygote has ended")
            number = next(self._ids)
            self._starting[number] = future, log
            request = {"id": number, "arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "log": str(log)}
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return future.result()

    def close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        self._reader.join()

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as answers:
            for line in answers:
                self._heard(json.loads(line))
        with self._lock:
            self.alive = False
        self._process.wait()
        for future, _ in self._starting.values():
            future.set_exception(BrokenPipeError("the zygote has ended"))
        for container in self._running.values():
            container.send(signal.SIGKILL)
            container.ended(-signal.SIGKILL)

    def _heard(self, answer: Mapping[str, int]) -> None:
        number = answer["id"]
        if "pid" in answer:
            future, log = self._starting.pop(number)
            self._running[number] = Container(answer["pid"], log)
            future.set_result(self._running[number])
        else:
            self._running.pop(number).ended(answer["code"])
