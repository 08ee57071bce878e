"""T11: the history of a Standard execution holds 25,000 events, and ends with the execution."""

from typing import Any

from ministack.services import stepfunctions

from local.cloud.repairs import walking
from local.cloud.repairs.patching import Function, replace

_MOST_EVENTS = 25_000
_LAST = frozenset({"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"})
_CAUSE = f"The execution reached the maximum number of history events ({_MOST_EVENTS})."


def apply() -> None:
    """Counts the events of each history; before jsonpath, which puts the state's name before causes of its own."""
    fail = stepfunctions._fail_execution
    replace(
        stepfunctions,
        "_add_event",
        "(execution, event_type, details=None)",
        lambda original: _limited(original, fail),
        ('execution["events"].append(event)',),
    )


def _limited(original: Function, fail: Function) -> Function:
    def add(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        if event_type in _LAST:
            return original(execution, event_type, details)
        if walking.overtaken():  # a task that returns after its execution has ended
            return {}
        if len(execution["events"]) + 1 >= _MOST_EVENTS and _is_standard(execution):
            if execution["status"] == "RUNNING":
                fail(execution, "States.Runtime", _CAUSE)
            raise stepfunctions._ExecutionError("States.Runtime", _CAUSE)
        return original(execution, event_type, details)

    return add


def _is_standard(execution: dict[str, Any]) -> bool:
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
    return machine.get("type") != "EXPRESS"
