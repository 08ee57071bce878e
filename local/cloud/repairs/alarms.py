"""T12: alarms look at their own metric, change with data and with time, and EventBridge hears of it.

With the cloud's speed S, a period of P seconds is P / S real seconds long. Alarms are looked at once in such a minute,
those with shorter periods every ten such seconds.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import cloudwatch, eventbridge

from local.cloud.repairs import alarm_math
from local.cloud.repairs.alarm_rules import COMPARISONS, evaluation_range, judge
from local.cloud.repairs.patching import Function, expect, expect_all, replace
from local.cloud.settings import CloudSettings

_TICK_SECONDS = 10
_TICKS_A_MINUTE = 6
_SHORTEST_TICK = 0.05
_MINUTE = 60
_SHORT_PERIODS = (10, 20, 30)


def apply(settings: CloudSettings) -> None:
    """Evaluates alarms when data arrives and by the clock, and announces each change of state."""
    alarms = _Alarms(settings.speed)
    replace(
        cloudwatch,
        "_record_history",
        "(alarm_name, old_state, new_state, reason, alarm_type='MetricAlarm', reason_data=None)",
        _announce,
    )
    replace(cloudwatch, "_evaluate_alarm", "(alarm)", lambda _: _with(alarms), ("in _metrics.items():",))
    replace(cloudwatch, "_put_metric_alarm", "(params, cbor_data, is_cbor, is_json=False)", _checked)
    expect_all(
        cloudwatch,
        {
            "_error": "(code, message, status, use_json=False, use_cbor=False)",
            "_calc_stats": "(points)",
            "_dims_key": "(dims: dict) -> str",
            "_dispatch_alarm_actions": "(alarm, old_state, new_state, reason)",
            "_evaluate_parent_alarms": "(child, seen=frozenset())",
            "_p": "(params, key, default='')",
            "_stat_value": "(stats, stat_name, points=None)",
        },
    )
    expect(eventbridge, "_put_events", "(data, allow_aws_source=False)")
    threading.Thread(target=alarms.run, name="alarms", daemon=True).start()


class _Alarms:
    """Looks at alarms, at the cloud's speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._lock = threading.Lock()

    def run(self) -> None:
        """Evaluates all alarms for ever."""
        tick = 0
        while True:
            time.sleep(max(_TICK_SECONDS / self._speed, _SHORTEST_TICK))
            tick += 1
            for account, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
                with request_scope(account, region):
                    for alarm in list(cloudwatch._alarms.values()):
                        if alarm.get("Period", _MINUTE) < _MINUTE or tick % _TICKS_A_MINUTE == 0:
                            self._evaluate_safely(alarm)

    def evaluate(self, alarm: dict[str, Any]) -> None:
        """Changes the alarm's state if its metric says so, and tells those who want to know."""
        with self._lock:  # data and the clock may both find the same change
            state, reason = self._state(alarm)
            old = alarm["StateValue"]
            if state in (None, old):
                return
            now = int(time.time())
            alarm.update(
                StateValue=state, StateReason=reason, StateUpdatedTimestamp=now, StateTransitionedTimestamp=now
            )
        cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
        cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)

    def _evaluate_safely(self, alarm: dict[str, Any]) -> None:
        try:
            self.evaluate(alarm)
        except Exception:  # noqa: BLE001 - the other alarms go on
            cloudwatch.logger.exception("alarm %s could not be evaluated", alarm.get("AlarmName"))

    def _state(self, alarm: dict[str, Any]) -> tuple[str | None, str]:
        """The state that the alarm's periods put it in, None when they leave it as it is; and why."""
        if not (alarm.get("MetricName") or alarm.get("Metrics")) or alarm.get("ComparisonOperator") not in COMPARISONS:
            return None, ""
        values = self._datapoints(alarm)
        threshold, compare = alarm.get("Threshold", 0), COMPARISONS[alarm["ComparisonOperator"]]
        breaches = [None if value is None else compare(value, threshold) for value in values]
        periods = alarm.get("EvaluationPeriods", 1)
        needed = alarm.get("DatapointsToAlarm") or periods
        treatment = alarm.get("TreatMissingData") or "missing"
        state = judge(breaches, periods, needed, treatment)
        shown = [value for value in values if value is not None][:periods]
        if not shown:
            return state, f"No datapoints were received for {periods} period(s) and they were treated as {treatment}."
        crossed = sum(breach is True for breach in breaches[:periods])
        return state, (
            f"Threshold Crossed: {crossed} out of the last {periods} datapoints {shown}: "
            f"{alarm['ComparisonOperator']} ({threshold})"
        )

    def _datapoints(self, alarm: dict[str, Any]) -> alarm_math.Series:
        """The statistic of each period of the evaluation range, newest first; None where the metric has no data."""
        periods = evaluation_range(alarm.get("EvaluationPeriods", 1))
        seconds = alarm.get("Period", _MINUTE) / self._speed

        def series(metric: dict[str, Any], statistic: str) -> alarm_math.Series:
            return _series(metric, statistic, periods, seconds)

        if alarm.get("Metrics"):
            return alarm_math.values(alarm["Metrics"], periods, series)
        return series(alarm, alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average"))


def _series(metric: dict[str, Any], statistic: str, periods: int, seconds: float) -> alarm_math.Series:
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(metric.get("Dimensions") or []))
    points = list(cloudwatch._metrics.get((metric.get("Namespace"), metric.get("MetricName"), dimensions)) or [])
    now, unit = time.time(), metric.get("Unit")
    oldest = now - periods * seconds
    recent = [point for point in points if point["Timestamp"] > oldest and unit in (None, "", point["Unit"])]
    values: list[float | None] = []
    for index in range(periods):
        newest = now - index * seconds
        inside = [point for point in recent if newest - seconds < point["Timestamp"] <= newest]
        values.append(cloudwatch._stat_value(cloudwatch._calc_stats(inside), statistic, inside) if inside else None)
    return values


def _with(alarms: _Alarms) -> Function:
    def evaluate(alarm: dict[str, Any]) -> None:
        alarms.evaluate(alarm)

    return evaluate


def _checked(original: Function) -> Function:
    def put(params: dict[str, Any], data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        given = data if is_cbor or is_json else {name: cloudwatch._p(params, name) for name in params}
        if problem := _problem(given):
            return cloudwatch._error("ValidationError", problem, 400, use_json=is_json, use_cbor=is_cbor)
        return original(params, data, is_cbor, is_json)

    return put


def _problem(alarm: Mapping[str, Any]) -> str:
    """What CloudWatch refuses and MiniStack takes, or drops without a word."""
    if any(name.partition(".")[0] in ("Metrics", "ThresholdMetricId") for name in alarm):
        return "Alarms on metric math are taken from stacks only here."
    if ("Statistic" in alarm) == ("ExtendedStatistic" in alarm):
        return "Exactly one of Statistic and ExtendedStatistic must be specified."
    period, periods = int(alarm.get("Period", 0)), int(alarm.get("EvaluationPeriods", 0))
    if period not in _SHORT_PERIODS and (period <= 0 or period % _MINUTE):
        return f"Period must be 10, 20, 30 or a multiple of 60, not {period}."
    if int(alarm.get("DatapointsToAlarm") or 0) > periods:
        return f"DatapointsToAlarm must not be larger than EvaluationPeriods ({periods})."
    return ""


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
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    stat = {"metric": metric, "period": alarm.get("Period", _MINUTE), "stat": statistic}
    return {**configuration, "metrics": [{"id": "m1", "metricStat": stat, "returnData": True}]}
