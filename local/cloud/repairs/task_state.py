"""T8, T9, T11, T23, T25, T26: an execution's time and size: timeouts, heartbeats, retry delays, the payload limit.

MiniStack knows a task's TimeoutSeconds only. It ignores the machine's own, HeartbeatSeconds and both Paths, caps every
retry delay at 60 s whatever MaxDelaySeconds says, reuses one task token for all attempts, and lets a callback task
wait for its timeout after the function that should have used the token has failed. Payloads may have any size, and
an execution that is started twice by name is an error even when both requests are the same.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import Any

from ministack.core.responses import json_response, new_uuid, now_iso
from ministack.services import lambda_svc, stepfunctions

from local.cloud.repairs.crowd import CROWD
from local.cloud.repairs.patching import Function, expect, expect_all, replace

_EXPRESS_SECONDS = 300
_FOREVER = 99_999_999
_TICK_SECONDS = 0.2
_LARGEST_PAYLOAD = 256 * 1024
_Failure = stepfunctions._ExecutionError
_CALLED = {
    "_add_event": "(execution, event_type, details=None)",
    "_apply_catcher": "(catcher, raw_input, ctx, query_language, error_output)",
    "_apply_jsonata_arguments": "(state_def, raw_input, ctx=None)",
    "_apply_jsonata_output": "(state_def, raw_input, ctx=None, result=None, error_output=None, default=None)",
    "_apply_state_assign": "(state_def, raw_input, ctx, result=None, error_output=None)",
    "_find_matching_catcher": "(catchers, error)",
    "_find_matching_retrier": "(retriers, error, retry_counts)",
    "_invoke_resource": "(resource, input_data)",
    "_invoke_resource_with_timeout": "(resource, input_data, timeout)",
    "_jsonata_state_field": "(state_def, field, expected, raw_input, ctx)",
    "_resolve_path_or_ctx": "(path, data, ctx)",
}


def apply() -> None:
    """Puts our Task state, retrier and clock of an execution in place of MiniStack's."""
    replace(stepfunctions, "_execute_task", "(state_def, raw_input, execution, ctx)", lambda _: _execute_task)
    replace(
        stepfunctions, "_with_retry_and_catch", "(state_def, raw_input, ctx, attempt)", lambda _: _with_retry_and_catch
    )
    replace(stepfunctions, "_run_execution", "(exec_arn)", _timed, ('execution["status"] == "RUNNING"',))
    replace(stepfunctions, "_fail_execution", "(execution, error, cause)", _fail_while_running)
    replace(stepfunctions, "_start_execution", "(data)", _start_once, ('"ExecutionAlreadyExists"',))
    expect_all(stepfunctions, _CALLED)
    expect(stepfunctions, "_send_task_heartbeat", "(data)", ('info["heartbeat"] = now_iso()',))


# -- the execution ------------------------------------------------------------------------------------------------


def _start_once(original: Function) -> Function:
    def start(data: dict[str, Any]) -> Any:
        """Started again under its name with the same input, a running execution is its own answer."""
        machine = stepfunctions._state_machines.get(data.get("stateMachineArn", "")) or {}
        arn = f"{machine.get('stateMachineArn', '').replace(':stateMachine:', ':execution:')}:{data.get('name')}"
        running = stepfunctions._executions.get(arn) or {}
        if running.get("status") == "RUNNING" and running["input"] == data.get("input", "{}"):
            return json_response({"executionArn": arn, "startDate": running["startDate"]})
        return original(data)

    return start


def _timed(original: Function) -> Function:
    def run(exec_arn: str) -> None:
        execution = stepfunctions._executions.get(exec_arn) or {}
        machine = stepfunctions._state_machines.get(execution.get("stateMachineArn", "")) or {}
        seconds = _machine_seconds(machine)
        if seconds is None:
            original(exec_arn)
            return
        # The timer's thread must see the account and region of the execution.
        clock = threading.Timer(seconds, copy_context().run, args=(_time_out, execution, execution.get("redriveCount")))
        clock.daemon = True
        clock.start()
        try:
            original(exec_arn)
        finally:
            clock.cancel()

    return run


def _machine_seconds(machine: dict[str, Any]) -> float | None:
    seconds: float | None = json.loads(machine.get("definition") or "{}").get("TimeoutSeconds")
    if machine.get("type") == "EXPRESS":
        return min(seconds or _EXPRESS_SECONDS, _EXPRESS_SECONDS)
    return seconds


def _time_out(execution: dict[str, Any], redrive: int | None) -> None:
    if execution["status"] == "RUNNING" and execution.get("redriveCount") == redrive:
        execution.update(status="TIMED_OUT", error="States.Timeout", stopDate=now_iso())
        stepfunctions._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        stepfunctions._emit_execution_status_event(execution)


def _fail_while_running(original: Function) -> Function:
    def fail(execution: dict[str, Any], error: str, cause: str) -> None:
        # A task that ends after its execution was stopped or timed out changes nothing any more.
        if execution["status"] == "RUNNING":
            original(execution, error, cause)

    return fail


# -- the Task state -----------------------------------------------------------------------------------------------


def _execute_task(state: dict[str, Any], raw_input: Any, execution: dict[str, Any], ctx: dict[str, Any]) -> Any:
    def attempt() -> Any:
        effective = _arguments(state, raw_input, ctx)
        result = _perform(state, effective, raw_input, execution, ctx)
        details = {"output": _within_limit(result, state["Resource"]), "resource": state["Resource"]}
        stepfunctions._add_event(execution, "TaskSucceeded", {"taskSucceededEventDetails": details})
        return _output(state, raw_input, result, ctx), stepfunctions._next_or_end(state)

    def failed(error: Any) -> None:
        details = {"error": error.error, "cause": error.cause, "resource": state["Resource"]}
        stepfunctions._add_event(execution, "TaskFailed", {"taskFailedEventDetails": details})

    return _attempts(state, raw_input, ctx, attempt, failed=failed, execution=execution)


def _within_limit(result: Any, resource: str) -> str:
    document = json.dumps(result)
    if len(document.encode()) > _LARGEST_PAYLOAD:
        cause = f"The state/task '{resource}' returned a result with a size exceeding the maximum number of bytes"
        raise _Failure("States.DataLimitExceeded", f"{cause} service limit.")
    return document


def _arguments(state: dict[str, Any], raw_input: Any, ctx: dict[str, Any]) -> Any:
    if ".waitForTaskToken" in state["Resource"]:
        ctx["Task"] = {"Token": new_uuid()}
    if _is_jsonata(state, ctx):
        return stepfunctions._apply_jsonata_arguments(state, raw_input, ctx)
    return stepfunctions._apply_parameters(state, stepfunctions._apply_input_path(state, raw_input, ctx), ctx)


def _output(state: dict[str, Any], raw_input: Any, result: Any, ctx: dict[str, Any]) -> Any:
    if _is_jsonata(state, ctx):
        output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=result, default=result)
        stepfunctions._apply_state_assign(state, raw_input, ctx, result=result)
        return output
    selected = stepfunctions._apply_result_selector(state, result)
    return stepfunctions._apply_output_path(state, stepfunctions._apply_result_path(state, raw_input, selected), ctx)


def _perform(
    state: dict[str, Any], effective: Any, raw_input: Any, execution: dict[str, Any], ctx: dict[str, Any]
) -> Any:
    resource = state["Resource"]
    details = {"resourceType": "lambda" if "lambda" in resource else "states", "resource": resource}
    stepfunctions._add_event(execution, "TaskScheduled", {"taskScheduledEventDetails": details})
    timeout = _seconds(state, "TimeoutSeconds", raw_input, ctx)
    if ".waitForTaskToken" in resource:
        heartbeat = _seconds(state, "HeartbeatSeconds", raw_input, ctx)
        token = ctx["Task"]["Token"]
        return _callback(resource, effective, token, execution, timeout=timeout or _FOREVER, heartbeat=heartbeat)
    if timeout is None or ":activity:" in resource:
        return stepfunctions._invoke_resource(resource, effective)
    with _place(resource, effective):
        return stepfunctions._invoke_resource_with_timeout(resource, effective, timeout)


def _place(resource: str, effective: Any) -> AbstractContextManager[None]:
    """The place of a task's function in the crowd, so that the wait for it comes before the task's time."""
    reference = resource if ":function:" in resource else None
    if resource == "arn:aws:states:::lambda:invoke":
        reference = effective.get("FunctionName")
    if not reference:
        return nullcontext()
    function, config, _ = lambda_svc._get_func_record_for_ref(reference)
    return CROWD.place(config["FunctionName"]) if function and config else nullcontext()


def _seconds(state: dict[str, Any], field: str, raw_input: Any, ctx: dict[str, Any]) -> float | None:
    if _is_jsonata(state, ctx):
        return stepfunctions._jsonata_state_field(state, field, "number", raw_input, ctx) if field in state else None
    path = state.get(f"{field}Path")
    if path is None:
        return state.get(field)
    value = stepfunctions._resolve_path_or_ctx(path, stepfunctions._apply_input_path(state, raw_input, ctx), ctx)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _Failure(
            "States.Runtime", f"The {field}Path parameter does not reference a positive integer: {path} == {value}"
        )
    return value


def _callback(
    resource: str, effective: Any, token: str, execution: dict[str, Any], *, timeout: float, heartbeat: float | None
) -> Any:
    task: dict[str, Any] = {"event": threading.Event(), "result": None, "error": None, "heartbeat": None}
    stepfunctions._task_tokens[token] = task
    try:
        deadline = time.monotonic() + timeout
        stepfunctions._invoke_resource_with_timeout(resource.replace(".waitForTaskToken", ""), effective, timeout)
        _await(task, execution, deadline, heartbeat)
    finally:
        stepfunctions._task_tokens.pop(token, None)
    if task["error"]:
        raise _Failure(task["error"].get("Error", ""), task["error"].get("Cause", ""))
    return json.loads(task["result"])


def _await(task: dict[str, Any], execution: dict[str, Any], deadline: float, heartbeat: float | None) -> None:
    beat, heard = task["heartbeat"], time.monotonic()
    while not task["event"].wait(_TICK_SECONDS):
        now = time.monotonic()
        if execution["status"] != "RUNNING":
            raise _Failure("States.Runtime", "The execution ended while the task was waiting.")
        if now >= deadline:
            raise _Failure("States.Timeout", "")
        if task["heartbeat"] != beat:
            beat, heard = task["heartbeat"], now
        if heartbeat is not None and now - heard >= heartbeat:
            raise _Failure("States.HeartbeatTimeout", "")


# -- Retry and Catch ----------------------------------------------------------------------------------------------


def _with_retry_and_catch(
    state: dict[str, Any], raw_input: Any, ctx: dict[str, Any], attempt: Callable[[], Any]
) -> Any:
    # MiniStack does not say here which execution it is, so a stopped one may wait out its retry delay.
    return _attempts(state, raw_input, ctx, attempt, failed=lambda _: None, execution={"status": "RUNNING"})


def _attempts(
    state: dict[str, Any],
    raw_input: Any,
    ctx: dict[str, Any],
    attempt: Callable[[], Any],
    *,
    failed: Callable[[Any], None],
    execution: dict[str, Any],
) -> Any:
    entered, counts = ctx["State"], Counter[int]()
    while True:
        ctx["State"] = {**entered, "RetryCount": counts.total()}
        try:
            return attempt()
        except _Failure as error:
            failed(error)
            retrier, index = stepfunctions._find_matching_retrier(state.get("Retry", []), error.error, counts)
            if retrier is None:
                return _caught(state, raw_input, ctx, error)
            _pause(_delay(retrier, counts[index]), execution)
            counts[index] += 1


def _caught(state: dict[str, Any], raw_input: Any, ctx: dict[str, Any], error: Any) -> Any:
    catcher = stepfunctions._find_matching_catcher(state.get("Catch", []), error.error)
    if catcher is None:
        raise error
    output = {"Error": error.error, "Cause": error.cause}
    language = stepfunctions._state_query_language(state, ctx)
    return stepfunctions._apply_catcher(catcher, raw_input, ctx, language, output), catcher["Next"]


def _delay(retrier: dict[str, Any], retries: int) -> float:
    delay = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retries)
    delay = min(delay, retrier.get("MaxDelaySeconds", _FOREVER))
    return random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay  # noqa: S311  no secret


def _pause(seconds: float, execution: dict[str, Any]) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if execution["status"] != "RUNNING":
            raise _Failure("States.Runtime", "The execution ended before the next attempt.")
        time.sleep(min(left, _TICK_SECONDS))


def _is_jsonata(state: dict[str, Any], ctx: dict[str, Any]) -> bool:
    return bool(stepfunctions._state_query_language(state, ctx) == "JSONata")
