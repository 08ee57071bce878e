"""T32: `AWS/Lambda`: Invocations, Errors, Throttles and Duration of every invocation, by function and of all together.

MiniStack counts callers of Invoke only, not what rules, queues and state machines invoke; it takes what was throttled
for an invocation, and knows no metric without the function's name, which an alarm on the whole account asks for.
"""

import time
from typing import Any

from ministack.services import cloudwatch, lambda_svc

from local.cloud.repairs.patching import Function, expect, replace


def apply() -> None:
    """Measures where every invocation comes by, whatever brought it."""
    expect(cloudwatch, "record_metric", "(namespace: str, metric_name: str, value: float, unit: str = 'None', "
           "dimensions: dict | None = None) -> None")  # fmt: skip
    replace(
        lambda_svc,
        "_emit_lambda_metrics",
        "(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None",
        lambda _: _throttled,
    )
    replace(
        lambda_svc,
        "_execute_function_dispatch",
        "(func: dict, config: dict, event: dict, request_id: str, started: float) -> dict",
        _measured,
    )


def _throttled(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:  # noqa: ARG001
    if throttle:
        _record(function_name, "Throttles", 1, "Count")


def _measured(original: Function) -> Function:
    def execute(func: Any, config: dict[str, Any], event: Any, request_id: str, started: float) -> Any:
        began, error = time.monotonic(), True
        try:
            result = original(func, config, event, request_id, started)
            error = bool(isinstance(result, dict) and result.get("error"))
        finally:
            name = config.get("FunctionName", "unknown")
            for metric, value in (("Invocations", 1), ("Errors", int(error)), ("Throttles", 0)):
                _record(name, metric, value, "Count")
            _record(name, "Duration", (time.monotonic() - began) * 1000, "Milliseconds")
        return result

    return execute


def _record(function: str, metric: str, value: float, unit: str) -> None:
    for dimensions in ({"FunctionName": function}, {}):
        cloudwatch.record_metric("AWS/Lambda", metric, value, unit, dimensions)
