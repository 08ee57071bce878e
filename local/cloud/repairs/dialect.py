"""T36: what the states language has, and MiniStack passes over in silence, is refused when a machine is made.

Some of it AWS refuses as well: fields of the other query language, or of Distributed Maps in inline ones, a comparison
that does not exist, an Express machine that waits for a job. What AWS would act upon, such as ItemBatcher, is refused
here alone: a machine that ran without it would prove nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from local.cloud.repairs.definitions import STATE_CHECKS, refusal
from local.cloud.repairs.patching import Function, replace

State = Mapping[str, Any]
Problem = tuple[str, str, str]  # code, message, location

_SCHEMA = "SCHEMA_VALIDATION_FAILED"
_JSONPATH, _JSONATA = "JSONPath", "JSONata"
_ONLY = {
    _JSONPATH: frozenset({
        "InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector", "ItemsPath", "TimeoutSecondsPath",
        "HeartbeatSecondsPath", "SecondsPath", "TimestampPath", "ErrorPath", "CausePath", "MaxConcurrencyPath",
        "ToleratedFailureCountPath", "ToleratedFailurePercentagePath",
    }),
    _JSONATA: frozenset({"Arguments", "Output", "Items"}),
}  # fmt: skip
_DISTRIBUTED_ONLY = frozenset({
    "ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailureCount", "ToleratedFailureCountPath",
    "ToleratedFailurePercentage", "ToleratedFailurePercentagePath",
})  # fmt: skip
_IGNORED = frozenset({
    "Credentials", "ItemBatcher", "ResultWriter", "MaxConcurrencyPath", "ToleratedFailureCountPath",
    "ToleratedFailurePercentagePath",
})  # fmt: skip
_READERS = (":s3:getObject", ":s3:listObjectsV2")
_READABLE = frozenset({"JSON", "JSONL", "CSV"})
_WAITS = frozenset({"Seconds", "SecondsPath", "Timestamp", "TimestampPath"})
_ORDERS = ("Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
_ORDERED = ("String", "Numeric", "Timestamp")
_COMPARISONS = frozenset({
    *(f"{kind}{order}{path}" for kind in _ORDERED for order in _ORDERS for path in ("", "Path")),
    *("BooleanEquals", "BooleanEqualsPath", "StringMatches"),
    *(f"Is{kind}" for kind in ("Null", "Present", "Numeric", "String", "Boolean", "Timestamp")),
})  # fmt: skip


def apply() -> None:
    """Adds to the checks of definitions, and checks Express machines when they are made and changed."""
    STATE_CHECKS.append(problems)
    replace(stepfunctions, "_create_state_machine", "(data)", _refuse)
    replace(stepfunctions, "_update_state_machine", "(data)", _refuse)
    replace(provisioners, "_sfn_definition", "(props)", _refuse_in_stack)


def _refuse(original: Function) -> Function:
    def make(data: dict[str, Any]) -> Any:
        known = stepfunctions._state_machines.get(data.get("stateMachineArn", "")) or data
        reason = _express_refusal(known.get("type"), data.get("definition"))
        return error_response_json("InvalidDefinition", reason, 400) if reason else original(data)

    return make


def _refuse_in_stack(original: Function) -> Function:
    def definition(props: dict[str, Any]) -> str:
        text = str(original(props))
        if reason := _express_refusal(props.get("StateMachineType"), text):
            raise ValueError(reason)
        return text

    return definition


def _express_refusal(kind: str | None, definition: Any) -> str | None:
    if kind != "EXPRESS":
        return None
    try:
        return refusal(express_problems(json.loads(definition)))
    except (AttributeError, TypeError, ValueError):  # refused as no definition at all
        return None


def problems(state: State, language: str, here: str) -> Iterator[Problem]:
    """What must not be in a state of a machine in this query language."""
    language = state.get("QueryLanguage", language)
    other = _JSONATA if language == _JSONPATH else _JSONPATH
    for field in sorted(_ONLY[other] & set(state)):
        yield _SCHEMA, f"Field '{field}' is not supported in {language} states", f"{here}/{field}"
    if "[" in (state.get("ResultPath") or ""):
        yield _SCHEMA, "The embedded cloud sets no elements of arrays by ResultPath", f"{here}/ResultPath"
    for field in sorted(_ignored(state, language)):
        yield _SCHEMA, f"The embedded cloud would ignore the field '{field}', which AWS acts upon", f"{here}/{field}"
    match state.get("Type"):
        case "Task":
            yield from _task(state, here)
        case "Wait":
            yield from _wait(state, here)
        case "Choice":
            yield from _choice(state, language, here)
        case "Parallel":
            yield from _parallel(state, here)
        case "Map":
            yield from _map(state, here)


def express_problems(machine: State) -> Iterator[Problem]:
    """What must not be in a machine of the Express kind."""
    for here, state in _states(machine, ""):
        resource = str(state.get("Resource", ""))
        if resource.endswith((".sync", ".sync:2", ".waitForTaskToken")) or ":activity:" in resource:
            message = f"Express state machine does not support '{resource}' service integration"
            yield _SCHEMA, message, f"{here}/Resource"
        if _is_distributed(state):
            yield _SCHEMA, "Express state machine does not support Distributed Map", here


def _ignored(state: State, language: str) -> frozenset[str]:
    fields = _IGNORED & set(state)
    if language == _JSONPATH:
        return fields | ({"Assign"} & set(state))
    if state.get("Type") == "Parallel":
        return fields | ({"Arguments", "Output", "Assign"} & set(state))
    if _is_distributed(state):
        return fields | ({"Items", "ItemReader", "Output", "Assign"} & set(state))
    return fields


def _task(state: State, here: str) -> Iterator[Problem]:
    timeout, heartbeat = state.get("TimeoutSeconds"), state.get("HeartbeatSeconds")
    if isinstance(timeout, int) and isinstance(heartbeat, int) and heartbeat >= timeout:
        yield _SCHEMA, "HeartbeatSeconds must be smaller than TimeoutSeconds", f"{here}/HeartbeatSeconds"


def _wait(state: State, here: str) -> Iterator[Problem]:
    if len(_WAITS & set(state)) != 1:
        yield _SCHEMA, f"Exactly one of {sorted(_WAITS)} is required", here


def _choice(state: State, language: str, here: str) -> Iterator[Problem]:
    for index, rule in enumerate(state.get("Choices") or []):
        if language == _JSONPATH:
            yield from _rule(rule, f"{here}/Choices[{index}]")
        elif "Condition" not in rule:
            yield _SCHEMA, "The field 'Condition' is required but was missing", f"{here}/Choices[{index}]"


def _rule(rule: Any, here: str) -> Iterator[Problem]:
    inner = [key for key in ("And", "Or", "Not") if key in rule]
    if inner:
        rules = rule[inner[0]]
        for index, part in enumerate(rules if isinstance(rules, list) else [rules]):
            yield from _rule(part, f"{here}/{inner[0]}[{index}]")
        return
    if "\\" in rule.get("StringMatches", ""):
        yield _SCHEMA, "The embedded cloud knows no escapes in StringMatches", f"{here}/StringMatches"
    asked = set(rule) - {"Variable", "Next", "Comment"}
    if "Variable" not in rule or len(asked) != 1 or not asked <= _COMPARISONS:
        yield _SCHEMA, f"A rule needs a Variable and one comparison, but has {sorted(rule)}", here


def _parallel(state: State, here: str) -> Iterator[Problem]:
    if not state.get("Branches"):
        yield _SCHEMA, "The field 'Branches' should have at least one value", here


def _map(state: State, here: str) -> Iterator[Problem]:
    if not (state.get("ItemProcessor") or state.get("Iterator")):
        yield _SCHEMA, "The field 'ItemProcessor' is required but was missing", here
    if not _is_distributed(state):
        for field in sorted(_DISTRIBUTED_ONLY & set(state)):
            yield _SCHEMA, f"Field '{field}' is not supported in inline Maps", f"{here}/{field}"
    reader = state.get("ItemReader") or {}
    resource, kind = str(reader.get("Resource")), (reader.get("ReaderConfig") or {}).get("InputType", "JSON")
    if reader and (not resource.endswith(_READERS) or kind not in _READABLE):
        message = f"The embedded cloud reads JSON, JSONL and CSV objects and lists of objects, not {kind} by {resource}"
        yield _SCHEMA, message, f"{here}/ItemReader"


def _is_distributed(state: State) -> bool:
    processor = state.get("ItemProcessor") or {}
    return bool((processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED")


def _states(machine: State, here: str) -> Iterator[tuple[str, State]]:
    """Every state of a machine and of the machines inside it, with its location."""
    for name, state in (machine.get("States") or {}).items():
        place = f"{here}/States/{name}"
        yield place, state
        for index, branch in enumerate(state.get("Branches") or []):
            yield from _states(branch, f"{place}/Branches[{index}]")
        for field in ("Iterator", "ItemProcessor"):
            if field in state:
                yield from _states(state[field], f"{place}/{field}")
