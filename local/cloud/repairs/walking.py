"""T35: the walk of an execution through its states, which knows where it stands.

MiniStack's own leaves nothing but a history behind, so that what has ended cannot go on. Here a place is kept in the
execution's record, as JSON: the state of the walk and its input, and below it a place for each branch or iteration of
that state, which has an output once it is through. Besides, histories tell of branches and iterations, `$$.Execution`
has its RoleArn and counts redrives, and a Succeed state in JSONata has an Output.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import stepfunctions

from local.cloud.repairs.patching import Function, expect_all, replace

Execution = dict[str, Any]
State = dict[str, Any]
# Every key is there from the start: a copy of the record may be made, to be saved, while the walk goes on.
Place = dict[str, Any]

_ANSWER_FIRST_SECONDS = 0.005  # StartExecution's answer leaves first, as on AWS
_Failure = stepfunctions._ExecutionError


class _OvertakenError(stepfunctions._ExecutionError):  # type: ignore[misc]  # MiniStack is untyped
    """The execution has ended, or is redriven by now. No Retry or Catch matches States.Runtime."""

    def __init__(self) -> None:
        super().__init__("States.Runtime", "The execution has ended.")


@dataclass(frozen=True)
class _Run:
    """One attempt at an execution: the first one, or a redrive."""

    execution: Execution
    redrive: int

    def goes_on(self) -> bool:
        """Whether this attempt is still the one that counts."""
        current: int = self.execution.get("redriveCount", 0)
        return self.execution["status"] == "RUNNING" and current == self.redrive


@dataclass
class _Visit:
    """A state at work, as its branches and iterations see it."""

    name: str
    place: Place
    state: State
    resumed: bool

    def branch(self, states: Any, ctx: dict[str, Any]) -> Place:
        """The place of a branch, known by its states, or of an iteration, known by its index."""
        branches = [branch.get("States") for branch in self.state.get("Branches", [])]
        found = next((index for index, known in enumerate(branches) if known is states), None)
        index = str(ctx["Map"]["Item"]["Index"] if found is None else found)
        with _lock:
            if index not in self.place["branches"]:
                self.place["branches"] = {**self.place["branches"], index: new_place()}
            branch: Place = self.place["branches"][index]
        return branch


_lock = threading.Lock()
_run: ContextVar[_Run | None] = ContextVar("execution_run", default=None)
_visit: ContextVar[_Visit | None] = ContextVar("state_visit", default=None)


def apply() -> None:
    """Puts our walk in place of MiniStack's, for machines and for branches."""
    replace(stepfunctions, "_run_execution", "(exec_arn)", lambda _: _run_execution)
    replace(
        stepfunctions, "_run_sub_machine", "(states, start_at, input_data, execution, ctx)", lambda _: _run_sub_machine
    )
    for name in ("_run_parallel_branches", "_run_map_items"):
        replace(stepfunctions, name, "(state_def, raw_input, execution, ctx)", _beginning, ("_run_sub_machine",))
    expect_all(
        stepfunctions,
        {
            "_execute_choice": "(state_def, raw_input, ctx=None)",
            "_execute_map": "(state_def, raw_input, execution, ctx)",
            "_execute_parallel": "(state_def, raw_input, execution, ctx)",
            "_execute_pass": "(state_def, raw_input, ctx=None)",
            "_execute_task": "(state_def, raw_input, execution, ctx)",
            "_execute_wait": "(state_def, raw_input, ctx=None)",
            "_fail_state_error": "(state_def, raw_input, ctx=None)",
        },
    )


def new_place() -> Place:
    """The place of a walk that has not begun."""
    return {"state": None, "input": None, "variables": {}, "branches": {}, "output": None}


def overtaken() -> bool:
    """Whether the attempt that this thread works for no longer counts."""
    run = _run.get()
    return run is not None and not run.goes_on()


# -- the execution ------------------------------------------------------------------------------------------------


def _run_execution(exec_arn: str) -> None:
    execution = stepfunctions._executions.get(exec_arn)
    if not execution:
        return
    time.sleep(_ANSWER_FIRST_SECONDS)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"])
    if not machine:
        stepfunctions._fail_execution(execution, "StateMachineDeleted", "State machine no longer exists")
        return
    definition = json.loads(execution.get("definition") or machine["definition"])
    run = _Run(execution, execution.get("redriveCount", 0))
    token = _run.set(run)
    try:
        place = execution.setdefault("place", new_place())
        ctx = _context(execution, machine, definition, place)
        output = _walk(definition, json.loads(execution["input"]), place, ctx, execution)
        _end(run, lambda: _succeed(execution, json.dumps(output)))
    except _Failure as failure:
        error, cause = failure.error, failure.cause
        _end(run, lambda: stepfunctions._fail_execution(execution, error, cause))
    except Exception as defect:  # noqa: BLE001  whatever a service's code raises ends the execution
        stepfunctions.logger.exception("Unexpected error in execution %s", exec_arn)
        cause = str(defect)
        _end(run, lambda: stepfunctions._fail_execution(execution, "States.Runtime", cause))
    finally:
        _run.reset(token)  # a nested execution runs on its parent's thread


def _end(run: _Run, end: Callable[[], None]) -> None:
    if run.goes_on():
        end()


def _context(execution: Execution, machine: dict[str, Any], definition: State, place: Place) -> dict[str, Any]:
    redrives = execution.get("redriveCount", 0)
    return {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": execution["executionArn"],
            "Input": json.loads(execution["input"]),
            "Name": execution["name"],
            "RoleArn": machine["roleArn"],
            "StartTime": execution["startDate"],
            "RedriveCount": redrives,
            **({"RedriveTime": execution["redriveDate"]} if redrives else {}),
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
        "variables": dict(place["variables"]),
    }


def _succeed(execution: Execution, output: str) -> None:
    execution.update(status="SUCCEEDED", output=output, stopDate=now_iso(), place=None)
    stepfunctions._add_event(execution, "ExecutionSucceeded", {"executionSucceededEventDetails": {"output": output}})
    stepfunctions._emit_execution_status_event(execution)


# -- states -------------------------------------------------------------------------------------------------------


def _walk(machine: State, given: Any, place: Place, ctx: dict[str, Any], execution: Execution) -> Any:
    """From where the place is, or the start, to the end; the output of the last state."""
    resumed = place["state"] is not None
    name = place["state"] if resumed else machine.get("StartAt")
    document = json.loads(place["input"]) if resumed else given
    while name:
        if overtaken():
            raise _OvertakenError
        state = machine.get("States", {}).get(name)
        if state is None:
            raise _Failure("States.Runtime", f"State '{name}' not found in definition")
        ctx["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
        if not resumed:
            place.update(input=json.dumps(document), state=name, variables=dict(ctx.get("variables", {})), branches={})
        # What is redriven is scheduled again; only a Fail state is entered again.
        if not resumed or state["Type"] == "Fail":
            details = {"name": name, "input": place["input"]}
            stepfunctions._add_event(execution, f"{state['Type']}StateEntered", {"stateEnteredEventDetails": details})
        _visit.set(_Visit(name, place, state, resumed))
        document, following = _perform(state, document, execution, ctx)
        if overtaken():
            raise _OvertakenError
        details = {"name": name, "output": json.dumps(document)}
        stepfunctions._add_event(execution, f"{state['Type']}StateExited", {"stateExitedEventDetails": details})
        name, resumed = following, False
    return document


def _perform(state: State, given: Any, execution: Execution, ctx: dict[str, Any]) -> tuple[Any, str | None]:
    kind = state["Type"]
    if kind == "Fail":
        raise _Failure(*stepfunctions._fail_state_error(state, given, ctx))
    if kind == "Succeed":
        return _succeeded(state, given, ctx), None
    execute = getattr(stepfunctions, f"_execute_{kind.lower()}")
    done: tuple[Any, str | None] = (
        execute(state, given, execution, ctx) if kind in ("Task", "Parallel", "Map") else execute(state, given, ctx)
    )
    return done


def _succeeded(state: State, given: Any, ctx: dict[str, Any]) -> Any:
    if stepfunctions._state_query_language(state, ctx) == "JSONata":
        return stepfunctions._apply_jsonata_output(state, given, ctx, default=given)
    return stepfunctions._apply_output_path(state, stepfunctions._apply_input_path(state, given, ctx), ctx)


def _run_sub_machine(states: Any, start_at: Any, input_data: Any, execution: Execution, ctx: dict[str, Any]) -> Any:
    visit = _visit.get()
    place = visit.branch(states, ctx) if visit else new_place()
    if place["output"] is None:
        # The branches of a Parallel state are given one context object to share.
        with _told(visit, execution, ctx):
            output = _walk({"States": states, "StartAt": start_at}, input_data, place, {**ctx}, execution)
        place.update(output=json.dumps(output), state=None, input=None, branches={})
    return json.loads(place["output"])


@contextmanager
def _told(visit: _Visit | None, execution: Execution, ctx: dict[str, Any]) -> Iterator[None]:
    """The events of an iteration of an inline Map; branches have none, and a Map Run's children are executions."""
    if visit is None or visit.state["Type"] != "Map" or execution.get("mapRunArn"):
        yield
        return
    details = {"name": visit.name, "index": ctx["Map"]["Item"]["Index"]}
    stepfunctions._add_event(execution, "MapIterationStarted", {"mapIterationStartedEventDetails": details})
    try:
        yield
    except _Failure:
        stepfunctions._add_event(execution, "MapIterationFailed", {"mapIterationFailedEventDetails": details})
        raise
    stepfunctions._add_event(execution, "MapIterationSucceeded", {"mapIterationSucceededEventDetails": details})


def _beginning(original: Function) -> Function:
    def run(state_def: State, raw_input: Any, execution: Execution, ctx: dict[str, Any]) -> Any:
        visit = _visit.get()
        if visit is not None:
            if not visit.resumed:  # entered, or tried again: all its branches are to be walked
                visit.place["branches"] = {}
            visit.resumed = False
        stepfunctions._add_event(execution, f"{state_def['Type']}StateStarted")
        try:
            done = original(state_def, raw_input, execution, ctx)
        except _Failure:
            stepfunctions._add_event(execution, f"{state_def['Type']}StateFailed")
            raise
        stepfunctions._add_event(execution, f"{state_def['Type']}StateSucceeded")
        return done

    return run
