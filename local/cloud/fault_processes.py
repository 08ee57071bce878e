"""Ends processes, and fills their disks, as the script of `local.cloud.faults` says: functions, jobs, the cloud."""

import base64
import json
import logging
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from local.cloud.faults import IN_PROCESS, Call, Fault, Faults, FaultScriptError, Kind
from local.cloud.repairs import lambda_environment
from local.cloud.repairs.patching import Function, replace
from local.glue import script
from local.sagemaker import jobs

# What a job may still write to one file: its log is one, and must say what happened.
_LEFT_BYTES = 4096
_log = logging.getLogger(__name__)


def apply(faults: Faults) -> None:
    """Asks the script when a process has begun to work on a request."""
    replace(
        lambda_environment._Environment,
        "_hand_over",
        "(self, request: dict[str, typing.Any]) -> None",
        lambda original: _in_functions(faults, original),
    )
    replace(
        jobs.Job,
        "attach",
        "(self, container: local.sagemaker.containers.Container) -> None",
        lambda original: _in_sagemaker(faults, original),
    )
    replace(
        script.Script,
        "_start",
        "(self, environment: collections.abc.Mapping[str, str], output: IO[bytes], errors: IO[bytes]) "
        "-> subprocess.Popen[bytes]",
        lambda original: _in_glue(faults, original),
    )


def end_cloud(fault: Fault) -> None:
    """Ends this server as a power failure would, now or after the fault's seconds."""
    _later(fault.seconds, os.getpid())


def _in_functions(faults: Faults, hand_over: Function) -> Function:
    full: set[int] = set()

    def begin(self: Any, request: dict[str, Any]) -> None:
        pid = self._proc.pid
        if pid in full:  # the environment is used again
            full.discard(pid)
            _allow(pid, resource.RLIM_INFINITY)
        text = f"{self.func_name} {json.dumps(request['event'])}"
        fault = _met(faults, Call("lambda:InvokeFunction", "", "", text))
        if fault is not None and fault.kind is Kind.DISK_FULL:
            full.add(pid)
            _allow(pid, 0)
        hand_over(self, request)
        if fault is not None and fault.kind is Kind.KILLED:
            _later(fault.seconds, pid)

    return begin


def _in_sagemaker(faults: Faults, attach: Function) -> Function:
    def begin(self: jobs.Job, container: Any) -> None:
        attach(self, container)
        _strike(faults, f"sagemaker:Create{self.kind.noun}", self.name, container.pid)

    return begin


def _in_glue(faults: Faults, start: Function) -> Function:
    def begin(self: script.Script, *started: Any) -> "subprocess.Popen[bytes]":
        process: subprocess.Popen[bytes] = start(self, *started)
        _strike(faults, "glue:StartJobRun", _readable(self.arguments), process.pid)
        return process

    return begin


def _readable(arguments: Mapping[str, str]) -> str:
    """A job's arguments, and what is encoded in them: faults are aimed by content."""
    decoded = []
    for value in arguments.values():
        with suppress(ValueError):  # of another alphabet, or no text
            decoded.append(base64.b64decode(value, validate=True).decode())
    return f"{json.dumps(dict(arguments))} {' '.join(decoded)}"


def _strike(faults: Faults, action: str, text: str, pid: int) -> None:
    fault = _met(faults, Call(action, "", "", text))
    if fault is None:
        return
    if fault.kind is Kind.DISK_FULL:
        _allow(pid, _LEFT_BYTES)
    else:
        _later(fault.seconds, pid)


def _met(faults: Faults, call: Call) -> Fault | None:
    if not faults.on:
        return None
    try:
        return faults.strike(call, IN_PROCESS)
    except FaultScriptError:
        _log.exception("no process is harmed")  # the calls say it to their callers
        return None


def _allow(pid: int, size: int) -> None:
    """Lets no file of the process grow beyond the size: its writes fail, as on a full disk, but with EFBIG."""
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _later(seconds: float, pid: int) -> None:
    if not seconds:
        _kill(pid)
        return
    timer = threading.Timer(seconds, _kill, (pid,))
    timer.daemon = True
    timer.start()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
