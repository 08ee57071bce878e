"""T10: a state machine whose graph cannot run is refused when it is made, with what is wrong and where."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import json_response
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from local.cloud.repairs.patching import Function, expect, replace

State = dict[str, Any]
_COMMON = frozenset({"Type", "Comment", "QueryLanguage", "InputPath", "OutputPath", "Assign", "Output"})
_MOVES = frozenset({"Next", "End"})
_RESULT = frozenset({"Parameters", "ResultPath", "ResultSelector"})
_FAILS = frozenset({"Retry", "Catch"})
_TIMES = frozenset({"TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath"})
_MAP = frozenset({
    "Iterator", "ItemProcessor", "ItemsPath", "Items", "ItemSelector", "ItemReader", "ItemBatcher", "ResultWriter",
    "MaxConcurrency", "MaxConcurrencyPath", "ToleratedFailurePercentage", "ToleratedFailurePercentagePath",
    "ToleratedFailureCount", "ToleratedFailureCountPath", "Label",
})  # fmt: skip
_FIELDS = {
    "Pass": _COMMON | _MOVES | {"Parameters", "Result", "ResultPath"},
    "Task": _COMMON | _MOVES | _RESULT | _FAILS | _TIMES | {"Resource", "Arguments", "Credentials"},
    "Choice": _COMMON | {"Choices", "Default"},
    "Wait": _COMMON | _MOVES | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Succeed": _COMMON,
    "Fail": frozenset({"Type", "Comment", "QueryLanguage", "Error", "ErrorPath", "Cause", "CausePath"}),
    "Parallel": _COMMON | _MOVES | _RESULT | _FAILS | {"Branches", "Arguments"},
    "Map": _COMMON | _MOVES | _RESULT | _FAILS | _MAP,
}
_MISSING_TARGET, _SCHEMA = "MISSING_TRANSITION_TARGET", "SCHEMA_VALIDATION_FAILED"
Problem = tuple[str, str, str]  # code, message, location
# What other repairs ask of each state: the state, the query language of its machine, its location.
STATE_CHECKS: list[Callable[[State, str, str], Iterator[Problem]]] = []


def apply() -> None:
    """Checks definitions in CreateStateMachine, UpdateStateMachine, ValidateStateMachineDefinition and in stacks."""
    replace(stepfunctions, "_validate_definition_jsonata", "(definition_str) -> str | None", _refuse)
    replace(stepfunctions, "_validate_state_machine_definition", "(data)", lambda _: _validate)
    expect(stepfunctions, "_create_state_machine", "(data)", ("_validate_definition_jsonata(data.get(",))
    expect(stepfunctions, "_update_state_machine", "(data)", ('_validate_definition_jsonata(data["definition"])',))
    replace(provisioners, "_sfn_definition", "(props)", _refuse_in_stack)


def _refuse(original: Function) -> Function:
    def validate(definition_str: Any) -> str | None:
        return _refusal(definition_str) or original(definition_str)

    return validate


def _refuse_in_stack(original: Function) -> Function:
    def definition(props: dict[str, Any]) -> str:
        text = str(original(props))
        if refusal := _refusal(text):
            raise ValueError(refusal)
        return text

    return definition


def _validate(data: dict[str, Any]) -> Any:
    diagnostics = [
        {"severity": "ERROR", "code": code, "message": message, "location": location}
        for code, message, location in problems(data.get("definition"))
    ]
    return json_response({"result": "FAIL" if diagnostics else "OK", "diagnostics": diagnostics, "truncated": False})


def _refusal(definition: Any) -> str | None:
    return refusal(problems(definition))


def refusal(found_problems: Iterator[Problem]) -> str | None:
    """The problems in AWS's words; None when there is none."""
    found = [f"{code}: {message} at {location}" for code, message, location in found_problems]
    return f"Invalid State Machine Definition: '{', '.join(found)}'" if found else None


def problems(definition: Any) -> Iterator[Problem]:
    """What AWS would refuse in a definition (JSON text): codes, messages and locations as it words them."""
    try:
        machine = json.loads(definition)
    except (TypeError, ValueError) as error:
        yield "INVALID_JSON_DESCRIPTION", str(error), "/"
        return
    language = machine.get("QueryLanguage", "JSONPath") if isinstance(machine, dict) else ""
    yield from _graph(machine, language, "")


def _graph(machine: Any, language: str, location: str) -> Iterator[Problem]:
    states = machine.get("States") if isinstance(machine, dict) else None
    if not isinstance(states, dict) or not states:
        yield _SCHEMA, "The field 'States' is required but was missing", location or "/"
        return
    start = machine.get("StartAt")
    if start not in states:
        yield _MISSING_TARGET, f"Missing 'StartAt' target: {start}", f"{location}/StartAt"
    reached = {start}
    for name, state in states.items():
        here = f"{location}/States/{name}"
        yield from _state(state, language, here)
        for field, target in _targets(state):
            reached.add(target)
            if target not in states:
                yield _MISSING_TARGET, f"Missing 'Next' target: {target}", f"{here}/{field}"
    for name in states:
        if name not in reached:
            yield _MISSING_TARGET, f'State "{name}" is not reachable.', f"{location}/States/{name}"


def _state(state: State, language: str, here: str) -> Iterator[Problem]:
    kind = state.get("Type")
    if kind not in _FIELDS:
        yield _SCHEMA, f"Value should be one of {sorted(_FIELDS)}, but was {kind}", f"{here}/Type"
        return
    for field in sorted(set(state) - _FIELDS[kind]):
        yield _SCHEMA, f"Field '{field}' is not supported", f"{here}/{field}"
    if "Next" in _FIELDS[kind] and ("Next" in state) == bool(state.get("End")):
        yield _SCHEMA, "These fields are required and exclude each other: [Next, End]", here
    if kind == "Choice" and not state.get("Choices"):
        yield _SCHEMA, "The field 'Choices' should have at least one value", here
    if kind == "Task" and not str(state.get("Resource", "")).startswith(("arn:", "{%")):
        yield _SCHEMA, f"Value is not a valid resource ARN: {state.get('Resource')}", f"{here}/Resource"
    for field in ("Parameters", "ResultSelector", "ItemSelector"):
        yield from _template(state.get(field), f"{here}/{field}")
    for field in ("Retry", "Catch"):
        yield from _handlers(state.get(field) or [], f"{here}/{field}")
    for index, branch in enumerate(state.get("Branches") or []):
        yield from _graph(branch, language, f"{here}/Branches[{index}]")
    for field in ("Iterator", "ItemProcessor"):
        if field in state:
            yield from _graph(state[field], language, f"{here}/{field}")
    for check in STATE_CHECKS:
        yield from check(state, language, here)


def _targets(state: State) -> Iterator[tuple[str, str]]:
    for field in ("Next", "Default"):
        if field in state:
            yield field, state[field]
    for field in ("Choices", "Catch"):
        for index, rule in enumerate(state.get(field) or []):
            yield f"{field}[{index}]/Next", rule.get("Next")


def _template(value: Any, here: str) -> Iterator[Problem]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _template(item, f"{here}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not key.endswith(".$"):
                yield from _template(item, f"{here}/{key}")
            elif not (isinstance(item, str) and item.startswith(("$", "States."))):
                message = f"The value for the field '{key}' must be a valid JSONPath or a valid intrinsic function call"
                yield _SCHEMA, message, f"{here}/{key}"


def _handlers(handlers: list[dict[str, Any]], here: str) -> Iterator[Problem]:
    for index, handler in enumerate(handlers):
        names = handler.get("ErrorEquals") or []
        if not names:
            yield _SCHEMA, "The field 'ErrorEquals' should have at least one value", f"{here}[{index}]"
        if "States.ALL" in names and (len(names) > 1 or index < len(handlers) - 1):
            yield _SCHEMA, "States.ALL must appear alone and in the last handler", f"{here}[{index}]/ErrorEquals"
