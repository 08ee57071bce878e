"""The inside of one Lambda execution environment: loads the handler, then answers one request per line.

Run by the function's interpreter, which has nothing of ours: only the standard library may be imported. Requests come
on standard input, answers go to the standard output it was started with; all else that is printed is the log.
Behaviour and error names follow AWS's open-source runtime interface client for Python (awslambdaric).
"""

import importlib
import json
import logging
import os
import site
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

END_OF_LOG = "\x1eEND "
_LARGEST_RESULT = 6_291_556
_LEVELS = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}


class Fault(Exception):  # noqa: N818  the runtime's own word
    """An error of the runtime rather than of the handler."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Context:
    """What a handler gets as its second argument."""

    def __init__(self, request: dict[str, Any]) -> None:
        environment = os.environ
        self.aws_request_id = request["request_id"]
        self.invoked_function_arn = request["function_arn"]
        self.function_name = environment["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = environment["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = environment["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = environment["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = request["deadline"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation times out."""
        return max(0, int((self._deadline - time.time()) * 1000))


class LogFormatter(logging.Formatter):
    """The log lines of the managed runtime, as text or as JSON (LoggingConfig)."""

    request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        message = record.getMessage()
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if os.environ.get("AWS_LAMBDA_LOG_FORMAT") != "JSON":
            text = f"[{record.levelname}]\t{moment}\t{self.request_id}\t{message}"
            return f"{text}\n{trace}" if trace else text
        line = {"timestamp": moment, "level": record.levelname, "message": message, "logger": record.name}
        optional = {"stackTrace": trace.splitlines(), "requestId": self.request_id}
        return json.dumps({**line, **{name: value for name, value in optional.items() if value}})


def main() -> None:
    """Serves until standard input ends, or a fault leaves nothing to serve."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # also what libraries and child processes print belongs to the log
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    formatter = _set_up_logging()
    _set_up_path()
    handler, failure = _load(os.environ["_HANDLER"])
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        formatter.request_id = request["request_id"]
        _set_trace(request.get("trace_id"))
        answer = _invoke(handler, request) if handler else {"error": {**failure, "requestId": ""}, "broken": True}
        sys.stdout.flush()
        sys.stderr.write(f"{END_OF_LOG}{request['request_id']}\n")
        sys.stderr.flush()
        _answer(answers, answer)
        if handler is None:
            sys.exit(1)


def _set_up_logging() -> LogFormatter:
    formatter = LogFormatter()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "")
    if level:
        root.setLevel(_LEVELS.get(level, level))
    return formatter


def _set_up_path() -> None:
    """The function's code first, then its layers, then the runtime's own packages; nothing of this file's folder."""
    sys.path[:0] = [os.environ["LAMBDA_TASK_ROOT"]]
    if len(sys.argv) > 1:
        python = Path(sys.argv[1]) / "python"
        packages = python / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        sys.path[1:1] = [str(packages), str(python)]
        if packages.is_dir():
            site.addsitedir(str(packages))


def _load(name: str) -> tuple[Callable[[Any, Context], Any] | None, dict[str, Any]]:
    try:
        return _handler(name), {}
    except Fault as fault:
        return None, _report(fault.error_type, str(fault), [])
    except Exception as error:  # noqa: BLE001  whatever the function's module raises is its answer
        return None, _failure(error)


def _handler(name: str) -> Callable[[Any, Context], Any]:
    module_name, _, function = name.rpartition(".")
    if not module_name:
        raise Fault(
            "Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from error
    handler: Callable[[Any, Context], Any] | None = getattr(module, function, None)
    if handler is None:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'")
    return handler


def _invoke(handler: Callable[[Any, Context], Any], request: dict[str, Any]) -> dict[str, Any]:
    try:
        result = handler(request["event"], Context(request))
    except Exception as error:  # noqa: BLE001  whatever the handler raises is its answer
        return {"error": {**_failure(error), "requestId": request["request_id"]}}
    try:
        if len(json.dumps(result)) <= _LARGEST_RESULT:
            return {"result": result}
        message = f"Response payload size exceeded maximum allowed payload size ({_LARGEST_RESULT} bytes)."
        report = _report("Function.ResponseSizeTooLarge", message, [])
    except (TypeError, ValueError) as error:
        report = _report("Runtime.MarshalError", f"Unable to marshal response: {error}", [])
    return {"error": {**report, "requestId": request["request_id"]}}


def _failure(error: Exception) -> dict[str, Any]:
    frames = traceback.extract_tb(_users_part(error.__traceback__))
    return _report(type(error).__name__, str(error), traceback.format_list(frames))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the function's own first frame on."""
    while trace and (trace.tb_frame.f_code.co_filename == __file__ or "importlib" in trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _report(error_type: str, message: str, stack: list[str]) -> dict[str, Any]:
    trace = f"\nTraceback (most recent call last):\n{''.join(stack)}" if stack else ""
    sys.stdout.write(f"[ERROR] {error_type}: {message}{trace.rstrip()}\n")
    return {"errorMessage": message, "errorType": error_type, "stackTrace": stack}


def _set_trace(trace_id: str | None) -> None:
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)


def _answer(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
