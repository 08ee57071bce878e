"""Puts the script of `local.cloud.faults` before every task that calls a service, by whatever integration."""

import json
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack import app
from ministack.services import stepfunctions

from local.cloud.fault_answers import request_call, task_error, wire_answer
from local.cloud.fault_processes import end_cloud
from local.cloud.faults import Call, Fault, Faults, FaultScriptError, Kind
from local.cloud.repairs import roles
from local.cloud.repairs.patching import Function, replace

_HANDLE = "(handler, method, path, headers, body, query_params, timeout: float | None = None)"
_state: ContextVar[tuple[str, str]] = ContextVar("fault_state", default=("", ""))  # execution and state of the task


def apply(faults: Faults) -> None:
    """Lets each task know its state, and asks the script before its call."""
    replace(stepfunctions, "_execute_task", "(state_def, raw_input, execution, ctx)", _named)
    replace(stepfunctions, "_invoke_resource", "(resource, input_data)", lambda invoke: _optimized(faults, invoke))
    replace(app, "call_service_handler_sync", _HANDLE, lambda call: _sdk(faults, call))


def _named(execute: Function) -> Function:
    def execute_task(state: Any, raw_input: Any, execution: dict[str, Any], ctx: dict[str, Any]) -> Any:
        token = _state.set((execution.get("executionArn", ""), ctx["State"]["Name"]))
        try:
            return execute(state, raw_input, execution, ctx)
        finally:
            _state.reset(token)

    return execute_task


def _optimized(faults: Faults, invoke: Function) -> Function:
    def guarded(resource: str, data: Any) -> Any:
        known = roles.task_operation(resource) if faults.on else None
        if known is None:
            return invoke(resource, data)
        execution, state = _state.get()
        call = Call(roles.iam_action(*known), roles.acting_role(), state, f"{execution} {json.dumps(data)}")

        def refuse(fault: Fault) -> Any:
            raise stepfunctions._ExecutionError(*task_error(*known, fault))

        return _struck(faults, call, lambda: invoke(resource, data), refuse)

    return guarded


def _sdk(faults: Faults, handle: Function) -> Function:
    def guarded(handler: Any, *request: Any, **options: Any) -> Any:
        sdk_service = roles.sdk_task() if faults.on else ""
        if not sdk_service:
            return handle(handler, *request, **options)
        service = stepfunctions._AWS_SDK_SERVICE_MAP[sdk_service].get("service_key", sdk_service)
        execution, state = _state.get()
        sent = roles.Request(*request[:5])
        call = request_call(service, sent, role=roles.acting_role(), state=state, execution=execution)

        def refuse(fault: Fault) -> Any:
            if fault.kind is Kind.TIMEOUT:
                raise stepfunctions._ExecutionError("States.Timeout", fault.name)
            if fault.kind is Kind.LOST:
                prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(sdk_service, sdk_service.capitalize())
                raise stepfunctions._ExecutionError(f"{prefix}.SdkClientException", fault.name)
            return wire_answer(service, call, fault, sent.headers, call.caller)

        return _struck(faults, call, lambda: handle(handler, *request, **options), refuse)

    return guarded


def _struck(faults: Faults, call: Call, perform: Callable[[], Any], refuse: Callable[[Fault], Any]) -> Any:
    try:
        fault = faults.strike(call)
    except FaultScriptError as error:
        raise stepfunctions._ExecutionError("States.Runtime", str(error)) from error
    if fault is None:
        return perform()
    if fault.kind is Kind.CLOUD_KILLED:
        end_cloud(fault)
        return perform()
    time.sleep(fault.seconds)
    if fault.kind in (Kind.LOST, Kind.DUPLICATE):
        perform()
    return perform() if fault.kind in (Kind.SLOW, Kind.DUPLICATE) else refuse(fault)
