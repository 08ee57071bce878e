"""T5, T15, T16, T17: Python functions run in an environment of their own kind, and fail as they do on AWS.

MiniStack's worker runs on MiniStack's interpreter and packages, inherits the host's variables, reports every exception
as `Runtime.HandlerError`, loses what `logging` writes, and waits 50 ms for the log of a silent handler.
"""

import hashlib
import json
import math
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json
from ministack.services import lambda_svc, stepfunctions
from ministack.services.cloudformation import provisioners

from local.cloud.repairs.crowd import CROWD
from local.cloud.repairs.lambda_bootstrap import END_OF_LOG
from local.cloud.repairs.lambda_memory import Memory
from local.cloud.repairs.lambda_variables import variables
from local.cloud.repairs.patching import Function, expect, replace
from local.cloud.settings import CloudSettings

_BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
_INIT_SECONDS = 10  # what AWS gives the initialization of an environment
_LOG_SECONDS = 1.0
_EXIT_SECONDS = 0.2  # between closing its output and ending
_UNUSED_SECONDS = 7 * 24 * 3600
_peak_megabytes: ContextVar[int] = ContextVar("peak_megabytes", default=0)


def apply(settings: CloudSettings) -> None:
    """Gives Python functions the environment below, and refuses runtimes that this machine does not have."""
    expect(lambda_runtime.Worker, "__init__", "(self, func_name: str, config: dict, code_zip: bytes)")
    expect(lambda_runtime, "execution_credentials", "(config: dict) -> dict[str, str]")
    expect(lambda_runtime, "release_worker", "(worker: ministack.core.lambda_runtime.Worker) -> None")
    expect(lambda_runtime, "kill_workers", "(workers) -> None", ("worker._proc, None",))
    expect(
        lambda_runtime,
        "acquire_worker",
        "(func_name: str, config: dict, code_zip: bytes, qualifier: str = '$LATEST', "
        "max_concurrency: int | None = None)",
        ("_worker_class_for(config)(func_name, config, code_zip)",),
    )
    expect(lambda_svc, "_resolve_layer_zip", "(attachment: str | dict) -> bytes | None")
    runtime = _Runtime(settings)
    replace(lambda_runtime, "_worker_class_for", "(config: dict)", runtime.worker_class, ("return Worker",))
    replace(lambda_svc, "_execute_function_warm", "(func: dict, event: dict, request_id: str) -> dict", _execute_warm)
    replace(lambda_svc, "_probe_peak_memory_mb", "(func: dict) -> int", _peak)
    replace(stepfunctions, "_call_lambda", "(func_ref, event)", _name_throttling, ('"Lambda.Unknown"',))
    replace(lambda_svc, "_create_function", "(data: dict)", runtime.refuse_create)
    replace(lambda_svc, "_update_config", "(name: str, data: dict)", runtime.refuse_update)
    replace(provisioners, "_lambda_create", "(logical_id, props, stack_name)", runtime.refuse_resource)
    provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]["create"] = provisioners._lambda_create


class _Runtime:
    """The one Python runtime of this cloud: an interpreter, and the code it has unpacked."""

    def __init__(self, settings: CloudSettings) -> None:
        self.python = settings.lambda_python
        self._folders = settings.state / "lambda"
        version = "import sys; print('python%d.%d' % sys.version_info[:2])"
        self.name = subprocess.check_output([self.python, "-I", "-c", version], text=True).strip()
        self._forget_unused()

    def worker_class(self, original: Function) -> Function:
        """MiniStack's choice of a worker, with ours for Python functions."""

        def choose(config: dict[str, Any]) -> Any:
            if not _ours(config):
                return original(config)
            return lambda name, config, code: _Environment(self, name, config, code)

        return choose

    def unpacked(self, archives: Iterable[bytes]) -> Path:
        """A folder with the archives' content, later ones over earlier ones; shared by all environments."""
        archives = list(archives)
        digest = hashlib.sha256(b"".join(hashlib.sha256(archive).digest() for archive in archives)).hexdigest()
        folder = self._folders / digest[:32]
        if not folder.exists():
            self._folders.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=self._folders, prefix="draft-"))
            for archive in archives:
                with zipfile.ZipFile(BytesIO(archive)) as content:
                    content.extractall(draft)
            try:
                draft.rename(folder)
            except OSError:  # another environment of the function was faster
                rmtree(draft)
        os.utime(folder)
        return folder

    def refuse_create(self, original: Function) -> Function:
        """CreateFunction, refusing other runtimes."""
        return lambda data: self._refusal(data) or original(data)

    def refuse_update(self, original: Function) -> Function:
        """UpdateFunctionConfiguration, refusing other runtimes."""
        return lambda name, data: self._refusal(data) or original(name, data)

    def refuse_resource(self, original: Function) -> Function:
        """The CloudFormation resource, refusing other runtimes."""

        def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
            if reason := self._reason(props):
                raise ValueError(reason)
            return original(logical_id, props, stack_name)

        return create

    def _refusal(self, data: dict[str, Any]) -> Any:
        reason = self._reason(data)
        return error_response_json("InvalidParameterValueException", reason, 400) if reason else None

    def _reason(self, data: dict[str, Any]) -> str:
        runtime = data.get("Runtime") or ""
        if not runtime.startswith("python") or runtime == self.name:
            return ""
        return (
            f"This embedded cloud runs Lambda functions on {self.name} ({self.python}), not on {runtime}: build and "
            f"deploy with the runtime {self.name}, or give the cloud an interpreter of {runtime}."
        )

    def _forget_unused(self) -> None:
        for folder in self._folders.glob("*"):
            if folder.stat().st_mtime < time.time() - _UNUSED_SECONDS:
                rmtree(folder)


class _Environment(lambda_runtime.Worker):  # type: ignore[misc]  # MiniStack is untyped
    """One execution environment: a process that answers one invocation at a time."""

    def __init__(self, runtime: _Runtime, func_name: str, config: dict[str, Any], code_zip: bytes) -> None:
        super().__init__(func_name, config, code_zip)
        self._runtime = runtime
        self._proc: Any = None
        self._memory: Any = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._log: queue.Queue[str | None] = queue.Queue()

    def _spawn(self) -> None:
        self._discard_tmpdir()
        self._tmpdir = tempfile.mkdtemp(prefix=f"{self.func_name}-")
        code = self._runtime.unpacked([self.code_zip])
        layers = [lambda_svc._resolve_layer_zip(layer) for layer in self.config.get("Layers", [])]
        if None in layers:
            raise RuntimeError(f"A layer of {self.func_name} no longer exists.")
        process = subprocess.Popen(
            [self._runtime.python, "-P", _BOOTSTRAP, *([self._runtime.unpacked(layers)] if layers else [])],
            cwd=code,
            env=variables(self.config, code, self._tmpdir),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            bufsize=1,
        )
        self._proc, self._answers, self._log = process, queue.Queue(), queue.Queue()
        self._memory = Memory(process, self.config.get("MemorySize", 128))
        for stream, lines in ((process.stdout, self._answers), (process.stderr, self._log)):
            threading.Thread(target=_pump, args=(stream, lines), daemon=True).start()
        self._answer(max(_INIT_SECONDS, self.config.get("Timeout", 3)))

    def invoke(self, event: Any, request_id: str, **options: Any) -> dict[str, Any]:
        """The handler's result or its error document, and the log; a broken environment is discarded."""
        with self._lock:
            answer = self._run(event, request_id, options)
            if answer.pop("broken", False):
                self._discard()
            return {**answer, "log": "\n".join(answer["log"])}

    def _run(self, event: Any, request_id: str, options: dict[str, Any]) -> dict[str, Any]:
        timeout = self.config.get("Timeout", 3)
        try:
            if self._proc is None or self._proc.poll() is not None:
                self._spawn()
            request = {
                "event": event,
                "request_id": request_id,
                "function_arn": options.get("invoked_function_arn") or self.config.get("FunctionArn", ""),
                "trace_id": options.get("trace_id"),
                "deadline": time.time() + timeout,
            }
            self._hand_over(request)
            answer = self._answer(timeout)
        except queue.Empty:
            message = f"Task timed out after {timeout:.2f} seconds"
            self._discard()
            line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {request_id} {message}"
            return _ended("Sandbox.Timedout", message, request_id, [*self._logged(), line])
        except (BrokenPipeError, EOFError):
            status = self._discard()
            how = f"signal: {_signal_name(-status)}" if status < 0 else f"exit status {status}"
            message = f"Runtime exited with error: {how}" if status else "Runtime exited without providing a reason"
            error_type = "Runtime.OutOfMemory" if self._memory.exceeded else "Runtime.ExitError"
            return _ended(error_type, message, request_id, self._logged())
        return {**answer, "log": self._logged(request_id)}

    @property
    def peak_megabytes(self) -> int:
        """The most memory that the environment has used so far."""
        return math.ceil(float(self._memory.peak))

    def _hand_over(self, request: dict[str, Any]) -> None:
        process = self._proc
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()

    def _answer(self, timeout: float) -> dict[str, Any]:
        with self._memory.watched():
            line = self._answers.get(timeout=timeout)
        if line is None or self._memory.exceeded:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _logged(self, request_id: str | None = None) -> list[str]:
        """The log up to the invocation's end, or up to the process's end."""
        lines: list[str] = []
        while True:
            try:
                line = self._log.get(timeout=_LOG_SECONDS)
            except queue.Empty:  # a child process of the function's holds the log open
                return lines
            if line is None or line == f"{END_OF_LOG}{request_id}":
                return lines
            lines.append(line)

    def _discard(self) -> int:
        """Ends the process, if it has not ended by itself; its exit status, minus the signal that ended it."""
        process, self._proc = self._proc, None
        if process is None:  # MiniStack has ended it: the function was changed or the cloud is stopping
            return -signal.SIGTERM
        with suppress(subprocess.TimeoutExpired):
            return int(process.wait(_EXIT_SECONDS))
        process.kill()
        return int(process.wait())


def _signal_name(number: int) -> str:
    return (signal.strsignal(number) or str(number)).lower()


def _pump(stream: Iterable[str], lines: "queue.Queue[str | None]") -> None:
    for line in stream:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def _ended(error_type: str, message: str, request_id: str, log: list[str]) -> dict[str, Any]:
    error = {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}
    return {"error": error, "log": log}


def _name_throttling(original: Function) -> Function:
    def call(func_ref: str, event: Any) -> Any:
        try:
            return original(func_ref, event)
        except stepfunctions._ExecutionError as error:
            if error.error == "Lambda.Unknown" and '"TooManyRequestsException"' in error.cause:
                raise stepfunctions._ExecutionError("Lambda.TooManyRequestsException", error.cause) from error
            raise

    return call


def _ours(config: dict[str, Any]) -> bool:
    special = (config.get("SnapStart") or {}).get("OptimizationStatus") == "On" or config.get("DurableConfig")
    return str(config.get("Runtime", "")).startswith("python") and not special


def _peak(original: Function) -> Function:
    # The log's last line is written by the thread that has just invoked the function.
    return lambda func: _peak_megabytes.get() if _ours(func.get("config") or func) else original(func)


def _execute_warm(original: Function) -> Function:
    def execute(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        config = func.get("config") or func
        if not _ours(config) or not func.get("code_zip"):
            return dict(original(func, event, request_id))
        lambda_svc._ensure_reaper_thread()
        with CROWD.place(config["FunctionName"]):
            worker, _ = lambda_runtime.acquire_worker(
                config["FunctionName"], config, func["code_zip"], qualifier=config.get("Version", "$LATEST")
            )
            try:
                answer = worker.invoke(
                    event,
                    request_id,
                    trace_id=lambda_svc._xray_trace_id_for_invocation(config),
                    invoked_function_arn=config.get("FunctionArn", ""),
                )
            finally:
                lambda_runtime.release_worker(worker)
            _peak_megabytes.set(worker.peak_megabytes)
        if "error" in answer:
            return {"body": answer["error"], "error": True, "log": answer["log"]}
        return {"body": answer["result"], "log": answer["log"]}

    return execute
