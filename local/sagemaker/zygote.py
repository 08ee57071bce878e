"""A process that has imported the container's libraries and forks itself for each container.

Runs on the container's interpreter, standard library only. Reads one JSON request per line on standard input
(`id, arguments, cwd, env, log`), answers `{"id", "pid"}` at once and `{"id", "code"}` when the container has ended.
It ends, with all its containers, when its input closes: when its parent has ended, however that happened.
"""

import builtins
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

# OpenMP must not run here: a thread pool does not survive a fork. Importing starts none.
PRELOADED = ("numpy", "pandas", "xgboost", "pyarrow.parquet", "http.server", "argparse", "tarfile")


def main() -> None:
    """Serves requests; comes back from here only in a forked child, which then becomes the container."""
    # This file's folder is no place to import from, neither here nor in a container.
    del sys.path[0]
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # Objects made so far stay out of the children's collections, so their pages stay shared.
    gc.freeze()
    request = _serve()
    if request is not None:
        _become(request)


def _serve() -> dict[str, Any] | None:
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    children: dict[int, int] = {}
    pending = b""
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(children)
        if 0 not in ready:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            for pid in children:
                _kill_group(pid)
            return None
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            request: dict[str, Any] = json.loads(line)
            pid = _fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                os.close(wake_read)
                os.close(wake_write)
                return request
            children[pid] = request["id"]
            _answer(id=request["id"], pid=pid)


def _fork() -> int:
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        os.setsid()
        os.close(ready_write)
        return 0
    os.close(ready_write)
    # The group must exist before anyone may signal it.
    os.read(ready_read, 1)
    os.close(ready_read)
    return pid


def _reap(children: dict[int, int]) -> None:
    for pid in list(children):
        # Without reaping yet: until then nobody else can get this process group's number.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            _kill_group(pid)
            _, status = os.waitpid(pid, 0)
            _answer(id=children.pop(pid), code=os.waitstatus_to_exitcode(status))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _answer(**message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _become(request: dict[str, Any]) -> None:
    """Makes this forked process what `python <arguments>` would be, and runs the script."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = request["arguments"]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    if "numpy" in sys.modules:
        # Python reseeds its generator after a fork, numpy does not.
        sys.modules["numpy"].random.seed()
    _run_as_main(sys.argv[0])


def _run_as_main(script: str) -> None:
    main_module = types.ModuleType("__main__")
    main_module.__dict__.update(__file__=script, __builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main_module
    try:
        code = compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)
        exec(code, main_module.__dict__)  # noqa: S102 - the job's script is what this process is for
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - shown and turned into an exit code, as the interpreter does
        # The frames of this file are no part of the script's traceback.
        shown = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(shown), shown)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)


if __name__ == "__main__":
    main()
