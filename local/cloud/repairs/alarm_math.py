"""T31: alarms on metric math, in stacks: SUM, MAX, MIN and AVG of several metrics, and arithmetic.

What is not evaluated, an anomaly detection band above all, leaves its alarm without data.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ministack.services.cloudformation import provisioners

from local.cloud.repairs.patching import Function, replace

Series = Sequence[float | None]  # a value a period, newest first; None where there is no data

_AGGREGATES: dict[str, Callable[[list[float]], float]] = {"SUM": sum, "MAX": max, "MIN": min, "AVG": fmean}
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class MathError(ValueError):
    """An expression that is not evaluated here."""


def apply() -> None:
    """Takes an alarm's Metrics from a stack, which MiniStack refuses."""
    replace(
        provisioners,
        "_cw_metric_alarm_record",
        "(name, props)",
        _with_metrics,
        ("(metric math) is not supported", '"Threshold is required'),
    )


def _with_metrics(original: Function) -> Function:
    def record(name: str, props: dict[str, Any]) -> dict[str, Any]:
        metrics = props.get("Metrics")
        if not metrics:
            return dict(original(name, props))
        plain = {key: value for key, value in props.items() if key != "Metrics"}
        stats = [metric["MetricStat"] for metric in metrics if "MetricStat" in metric]
        period = max(int(stat["Period"]) for stat in stats)
        made: dict[str, Any] = original(
            name, {"Threshold": 0, **plain, "MetricName": "math", "Namespace": "math", "Period": period}
        )
        return {**made, "MetricName": None, "Namespace": None, "Metrics": metrics}

    return record


def values(metrics: Sequence[Mapping[str, Any]], periods: int, series: Callable[[Any, str], Series]) -> Series:
    """The returned expression's value of each period; `series` gives those of a metric and a statistic.

    All without data when the expression is none that is evaluated here.
    """
    known = {
        metric["Id"]: series(metric["MetricStat"]["Metric"], metric["MetricStat"]["Stat"])
        for metric in metrics
        if "MetricStat" in metric
    }
    returned = next(metric for metric in metrics if metric.get("ReturnData", True))
    if "Expression" not in returned:
        return known[returned["Id"]]
    try:
        tree = ast.parse(returned["Expression"], mode="eval").body
        return [_value(tree, {name: of[period] for name, of in known.items()}) for period in range(periods)]
    except (MathError, SyntaxError):
        return [None] * periods


def _value(node: ast.expr, known: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
            first, second = _value(left, known), _value(right, known)
            if first is None or second is None or (second == 0 and isinstance(kind, ast.Div)):
                return None
            return _OPERATORS[type(kind)](first, second)
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _AGGREGATES:
            there = [value for value in _members(argument, known) if value is not None]
            return _AGGREGATES[name](there) if there else None
    raise MathError(ast.unparse(node))


def _members(node: ast.expr, known: Mapping[str, float | None]) -> Iterable[float | None]:
    match node:
        case ast.Call(func=ast.Name(id="METRICS"), args=[]):
            return known.values()
        case ast.List(elts=elements):
            return [_value(element, known) for element in elements]
    raise MathError(ast.unparse(node))
