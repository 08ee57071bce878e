"""T14: what is logged becomes metrics, by the embedded metric format and by metric filters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cloudwatch, cloudwatch_logs

from local.cloud.repairs.embedded_metrics import Measure, embedded
from local.cloud.repairs.log_patterns import PatternError, matcher, selected
from local.cloud.repairs.patching import Function, expect, replace


def apply() -> None:
    """Looks at every line on its way to a log group, from functions and from PutLogEvents."""
    replace(cloudwatch_logs, "_fanout_to_subscription_filters", "(group_name, stream_name, events)", _measure)
    replace(cloudwatch_logs, "_put_metric_filter", "(data)", _checked)
    expect(cloudwatch, "_store_datum", "(namespace, name, dims, ts, unit, value, values, counts, stat_values)")


def _measure(original: Function) -> Function:
    def fan_out(group_name: str, stream_name: str, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            line, at = event.get("message", ""), event.get("timestamp", 0) / 1000
            for measure in (*embedded(line), *_filtered(group_name, line)):
                cloudwatch._store_datum(
                    measure.namespace,
                    measure.name,
                    dict(measure.dimensions),
                    measure.at or at,
                    measure.unit,
                    None,
                    list(measure.values),
                    None,
                    None,
                )
        original(group_name, stream_name, events)

    return fan_out


def _filtered(group: str, line: str) -> Iterator[Measure]:
    for metric_filter in list(cloudwatch_logs._metric_filters.values()):
        if metric_filter["logGroupName"] != group:
            continue
        matches = matcher(metric_filter["filterPattern"])(line)
        for transformation in metric_filter["metricTransformations"]:
            value = _value(line, transformation["metricValue"]) if matches else transformation.get("defaultValue")
            if value is not None:
                yield Measure(
                    transformation["metricNamespace"],
                    transformation["metricName"],
                    transformation.get("unit", "None"),
                    _dimensions(line, transformation.get("dimensions") or {}),
                    [value],
                )


def _value(line: str, given: Any) -> float | None:
    text = str(given)
    try:
        return float(selected(line, text) if text.startswith("$") else text)
    except (TypeError, ValueError):
        return None


def _dimensions(line: str, given: Mapping[str, str]) -> dict[str, str]:
    values = {name: selected(line, selector) for name, selector in given.items()}
    return {name: str(value) for name, value in values.items() if value is not None}


def _checked(original: Function) -> Function:
    def put(data: dict[str, Any]) -> Any:
        try:
            matcher(data.get("filterPattern", ""))
        except PatternError as error:
            return error_response_json("InvalidParameterException", str(error), 400)
        return original(data)

    return put
