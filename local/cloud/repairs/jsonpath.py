"""T1: a JSONPath that finds nothing fails the execution, instead of giving null and carrying on."""

import json
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ministack.services import stepfunctions

from local.cloud.repairs.patching import Function, expect, replace

_RUNTIME = "States.Runtime"
# States.ALL matches neither of them, and a Runtime error cannot be caught at all (concepts-error-handling).
_NOT_IN_ALL = frozenset({_RUNTIME, "States.DataLimitExceeded"})
_context: ContextVar[Any] = ContextVar("context_object", default=None)


class _NotFoundError(stepfunctions._ExecutionError):  # type: ignore[misc]  # MiniStack is untyped
    """A path that found nothing in its document."""

    def __init__(self, path: str, data: Any, field: str = "") -> None:
        self.path, self.data = path, data
        named = f" specified for the field '{field}'" if field else ""
        document = json.dumps(data, separators=(",", ":"))
        super().__init__(_RUNTIME, f"The JSONPath '{path}'{named} could not be found in the input '{document}'")


def apply() -> None:
    """Makes every path strict, and the errors of paths as final as they are on AWS."""
    expect(stepfunctions, "_parse_jsonpath_tokens", "(path)", ('tokens.append(("wildcard", None))',))
    expect(stepfunctions, "_evaluate_intrinsic", "(expression, data, ctx)")
    replace(stepfunctions, "_resolve_path", "(path, data)", lambda _: _resolve)
    replace(stepfunctions, "_resolve_params_obj", "(template, data, ctx=None)", lambda _: _payload)
    replace(stepfunctions, "_apply_input_path", "(state_def, data, ctx=None)", _whole("InputPath"))
    replace(stepfunctions, "_apply_output_path", "(state_def, data, ctx=None)", _whole("OutputPath"))
    replace(stepfunctions, "_apply_result_selector", "(state_def, data)", lambda _: _result_selector)
    replace(stepfunctions, "_apply_result_path_raw", "(result_path, original, result)", _result_path)
    replace(stepfunctions, "_evaluate_rule", "(rule, data, ctx=None)", _rule)
    replace(stepfunctions, "_evaluate_intrinsic", "(expression, data, ctx)", _intrinsic)
    replace(stepfunctions, "_run_map_items", "(state_def, raw_input, execution, ctx)", _map_items, ("ItemsPath",))
    replace(stepfunctions, "_execute_wait", "(state_def, raw_input, ctx=None)", _wait, ("SecondsPath",))
    replace(stepfunctions, "_error_matches", "(error_equals, error)", _error_matches)
    replace(stepfunctions, "_fail_execution", "(execution, error, cause)", _fail_execution, ('["status"] = "FAILED"',))


def _resolve(path: Any, data: Any) -> Any:
    if path in ("$", "", None):
        return data
    if not path.startswith("$"):
        return data
    tokens = stepfunctions._parse_jsonpath_tokens(path)
    if tokens is None:
        raise stepfunctions._ExecutionError(_RUNTIME, f"The embedded cloud cannot read the JSONPath '{path}'")
    values, projected = [data], False
    for kind, key in tokens:
        projected = projected or kind == "wildcard"
        values = [found for value in values for found in _step(kind, key, value)]
        if not values and not projected:
            raise _NotFoundError(path, data)
    return values if projected else values[0]


def _step(kind: str, key: Any, value: Any) -> list[Any]:
    match kind, value:
        case "field", dict():
            return [value[key]] if key in value else []
        case "index", list():
            return [value[key]] if key < len(value) else []
        case "wildcard", list():
            return value
        case "wildcard", dict():
            return list(value.values())
        case _:
            return []


def _payload(template: Any, data: Any, ctx: Any = None) -> Any:
    """A payload template (Parameters, ResultSelector, ItemSelector) filled in."""
    if isinstance(template, list):
        return [_payload(item, data, ctx) for item in template]
    if not isinstance(template, dict):
        return template
    return {
        key.removesuffix(".$"): _field(key, value, data, ctx) if key.endswith(".$") else _payload(value, data, ctx)
        for key, value in template.items()
    }


def _field(key: str, value: Any, data: Any, ctx: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.startswith("States."):
        return stepfunctions._evaluate_intrinsic(value, data, ctx)
    try:
        return _resolve(value[1:], ctx or {}) if value.startswith("$$") else _resolve(value, data)
    except _NotFoundError as error:
        raise _NotFoundError(value, error.data, key) from error


def _whole(field: str) -> Callable[[Function], Function]:
    def make(original: Function) -> Function:
        def apply_path(state_def: Any, data: Any, ctx: Any = None) -> Any:
            _context.set(ctx)
            try:
                return original(state_def, data, ctx)
            except _NotFoundError as error:
                cause = f"Invalid path '{error.path}' : No results for path: {_brackets(error.path)}"
                raise stepfunctions._ExecutionError(_RUNTIME, f"{cause} (specified for the field '{field}')") from error

        return apply_path

    return make


def _brackets(path: str) -> str:
    return "$" + "".join(f"['{key}']" for key in path.lstrip("$.").split("."))


def _result_selector(state_def: Any, data: Any) -> Any:
    # MiniStack gives the template no context object, which ResultSelector may read as Parameters may.
    selector = state_def.get("ResultSelector")
    return data if selector is None else _payload(selector, data, _context.get())


def _result_path(original: Function) -> Function:
    def apply_result_path(result_path: Any, state_input: Any, result: Any) -> Any:
        if result_path not in (None, "$") and not isinstance(state_input, dict):
            document = json.dumps(state_input, separators=(",", ":"))
            cause = f'Unable to apply step "{result_path.lstrip("$.")}" to input {document}'
            raise stepfunctions._ExecutionError("States.ResultPathMatchFailure", cause)
        return original(result_path, state_input, result)

    return apply_result_path


def _rule(original: Function) -> Function:
    def evaluate(rule: Any, data: Any, ctx: Any = None) -> bool:
        variable = rule.get("Variable")
        if not variable:
            return bool(original(rule, data, ctx))
        if "IsPresent" in rule:
            return bool(_present(variable, data, ctx) == rule["IsPresent"])
        try:
            value = stepfunctions._resolve_path_or_ctx(variable, data, ctx)
            literal = {
                key.removesuffix("Path") if key.endswith("Path") else key: stepfunctions._resolve_path_or_ctx(
                    operand, data, ctx
                )
                if key.endswith("Path")
                else operand
                for key, operand in rule.items()
            }
        except _NotFoundError as error:
            cause = f"Invalid path '{error.path}': The choice state's condition path references an invalid value."
            raise stepfunctions._ExecutionError(_RUNTIME, cause) from error
        if "BooleanEquals" in literal:  # 1 is no boolean
            return isinstance(value, bool) and bool(value == literal["BooleanEquals"])
        if "IsNumeric" in literal:
            return bool(stepfunctions._is_num(value) == literal["IsNumeric"])
        return bool(original(literal, data, ctx))

    return evaluate


def _present(variable: str, data: Any, ctx: Any) -> bool:
    try:
        stepfunctions._resolve_path_or_ctx(variable, data, ctx)
    except _NotFoundError:
        return False
    return True


def _intrinsic(original: Function) -> Function:
    def evaluate(expression: Any, data: Any, ctx: Any) -> Any:
        try:
            return original(expression, data, ctx)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise stepfunctions._ExecutionError("States.IntrinsicFailure", f"{expression}: {error}") from error

    return evaluate


def _map_items(original: Function) -> Function:
    def run(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        if stepfunctions._state_query_language(state_def, ctx) == "JSONPath" and "ItemReader" not in state_def:
            path = state_def.get("ItemsPath", "$")
            items = stepfunctions._resolve_path_or_ctx(
                path, stepfunctions._apply_input_path(state_def, raw_input, ctx), ctx
            )
            if not isinstance(items, list):
                raise stepfunctions._ExecutionError(_RUNTIME, f'Reference path "{path}" must point to array.')
        return original(state_def, raw_input, execution, ctx)

    return run


def _wait(original: Function) -> Function:
    def execute(state_def: Any, raw_input: Any, ctx: Any = None) -> Any:
        for field, valid in (("SecondsPath", _whole_seconds), ("TimestampPath", stepfunctions._is_timestamp)):
            if field in state_def:
                value = _resolve(state_def[field], stepfunctions._apply_input_path(state_def, raw_input, ctx))
                if not valid(value):
                    cause = f"The {field} parameter does not reference a valid value: {state_def[field]} == {value}"
                    raise stepfunctions._ExecutionError(_RUNTIME, cause)
        return original(state_def, raw_input, ctx)

    return execute


def _whole_seconds(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _error_matches(original: Function) -> Function:
    def matches(error_equals: Any, error: Any) -> bool:
        if error == _RUNTIME:
            return False
        return error in error_equals if error in _NOT_IN_ALL else bool(original(error_equals, error))

    return matches


def _fail_execution(original: Function) -> Function:
    def fail(execution: Any, error: Any, cause: Any) -> None:
        if error == _RUNTIME and (entered := _unfinished(execution["events"])):
            name, number = entered["stateEnteredEventDetails"]["name"], entered["id"]
            cause = f"An error occurred while executing the state '{name}' (entered at the event id #{number}). {cause}"
        original(execution, error, cause)

    return fail


def _unfinished(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The event of the state that was entered last and not left; those inside a Map are left before it is."""
    left: Counter[str] = Counter()
    for event in reversed(events):
        if event["type"].endswith("StateExited"):
            left[event["stateExitedEventDetails"]["name"]] += 1
        elif event["type"].endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            if not left[name]:
                found: dict[str, Any] = event
                return found
            left[name] -= 1
    return None
