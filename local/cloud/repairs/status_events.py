"""T22: executions of Express workflows announce nothing; only Standard workflows send status events."""

from typing import Any

from ministack.services import stepfunctions

from local.cloud.repairs.patching import Function, replace


def apply() -> None:
    """Keeps the status events of Express executions off the bus."""
    replace(stepfunctions, "_emit_execution_status_event", "(execution) -> None", _standard_only)


def _standard_only(original: Function) -> Function:
    def emit(execution: Any) -> None:
        machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
        if machine.get("type") != "EXPRESS":
            original(execution)

    return emit
