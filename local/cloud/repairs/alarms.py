"""T12: an alarm looks at its own dimensions, and EventBridge hears when its state really changes."""

import json
import operator
import time
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, eventbridge

from local.cloud.repairs.patching import Function, expect, expect_all, replace

_TREATED = ("breaching", "notBreaching")
_COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def apply() -> None:
    """Evaluates alarms on the metric they name and announces each change of state."""
    replace(
        cloudwatch,
        "_record_history",
        "(alarm_name, old_state, new_state, reason, alarm_type='MetricAlarm', reason_data=None)",
        _announce,
    )
    replace(cloudwatch, "_evaluate_alarm", "(alarm)", lambda _: _evaluate, ("in _metrics.items():",))
    expect_all(
        cloudwatch,
        {
            "_calc_stats": "(points)",
            "_dims_key": "(dims: dict) -> str",
            "_dispatch_alarm_actions": "(alarm, old_state, new_state, reason)",
            "_evaluate_parent_alarms": "(child, seen=frozenset())",
            "_stat_value": "(stats, stat_name, points=None)",
        },
    )
    expect(eventbridge, "_put_events", "(data, allow_aws_source=False)")


def _announce(original: Function) -> Function:
    def record(alarm_name: str, old_state: str, new_state: str, reason: str, *rest: Any, **options: Any) -> None:
        original(alarm_name, old_state, new_state, reason, *rest, **options)
        if old_state == new_state:  # MiniStack writes the creation of an alarm as a change of state
            return
        alarm = cloudwatch._alarms.get(alarm_name) or cloudwatch._composite_alarms.get(alarm_name) or {}
        detail = {
            "alarmName": alarm_name,
            "configuration": _configuration(alarm),
            "previousState": {"value": old_state},
            "state": {"value": new_state, "reason": reason, "timestamp": cloudwatch._ts_iso(time.time())},
        }
        entry = {
            "Source": "aws.cloudwatch",
            "DetailType": "CloudWatch Alarm State Change",
            "Resources": [f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{alarm_name}"],
            "Detail": json.dumps(detail),
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    return record


def _configuration(alarm: dict[str, Any]) -> dict[str, Any]:
    configuration = {"description": alarm.get("AlarmDescription") or ""}
    if not alarm.get("MetricName"):
        return configuration
    metric = {
        "namespace": alarm["Namespace"],
        "name": alarm["MetricName"],
        "dimensions": cloudwatch._dims_from_list(alarm.get("Dimensions") or []),
    }
    stat = {"metric": metric, "period": alarm.get("Period", 60), "stat": alarm.get("Statistic", "Average")}
    return {**configuration, "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}


def _evaluate(alarm: dict[str, Any]) -> None:
    state, reason = _state(alarm)
    old = alarm["StateValue"]
    if state in (None, old):
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _state(alarm: dict[str, Any]) -> tuple[str | None, str]:
    """The state that the newest periods put the alarm in, None when they say nothing; and why."""
    treatment = alarm.get("TreatMissingData") or "missing"
    values = [value for value in _datapoints(alarm) if value is not None or treatment in _TREATED]
    if not values or (values.count(None) == len(values) and alarm["StateValue"] == "INSUFFICIENT_DATA"):
        return None, ""
    threshold, compare = alarm.get("Threshold", 0), _COMPARISONS[alarm["ComparisonOperator"]]
    breaching = [treatment == "breaching" if value is None else compare(value, threshold) for value in values]
    needed = min(alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"], len(values))
    state = "ALARM" if sum(breaching) >= needed else "OK"
    reason = f"Threshold Crossed: {sum(breaching)} of {len(values)} datapoints {values} {alarm['ComparisonOperator']}"
    return state, f"{reason} {threshold}"


def _datapoints(alarm: dict[str, Any]) -> list[float | None]:
    """The statistic of each evaluated period, newest first; None where the metric has no data."""
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(alarm.get("Dimensions") or []))
    points = cloudwatch._metrics.get((alarm.get("Namespace"), alarm.get("MetricName"), dimensions)) or []
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    now, period = time.time(), alarm.get("Period", 60)
    values: list[float | None] = []
    for index in range(alarm.get("EvaluationPeriods", 1)):
        newest = now - index * period
        inside = [point for point in points if newest - period < point["Timestamp"] <= newest]
        values.append(cloudwatch._stat_value(cloudwatch._calc_stats(inside), statistic, inside) if inside else None)
    return values
