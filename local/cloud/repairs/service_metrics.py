"""T32: the metrics that services write of themselves, as far as the template's alarms ask for them.

SQS: ApproximateNumberOfMessagesVisible, ApproximateAgeOfOldestMessage, once in a minute of the cloud's time.
Step Functions: ExecutionsStarted, -Succeeded, -Failed, -TimedOut, -Aborted, ExecutionTime, of both kinds of workflow.
"""

import threading
import time
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch, sqs, stepfunctions

from local.cloud.repairs.patching import Function, expect, replace
from local.cloud.settings import CloudSettings

_MINUTE = 60
_SHORTEST_WAIT = 0.2
_ENDED = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}


def apply(settings: CloudSettings) -> None:
    """Samples the queues by the clock, and counts executions as they start and end."""
    expect(cloudwatch, "_store_datum", "(namespace, name, dims, ts, unit, value, values, counts, stat_values)")
    replace(stepfunctions, "_emit_execution_status_event", "(execution) -> None", _counting)
    wait = max(_MINUTE / settings.speed, _SHORTEST_WAIT)
    threading.Thread(target=_sample_for_ever, args=(wait,), name="queue metrics", daemon=True).start()


def _counting(original: Function) -> Function:
    def emit(execution: Any) -> None:
        machine = {"StateMachineArn": execution["stateMachineArn"]}
        kind = _ENDED.get(execution["status"])
        if kind or not execution.get("redriveCount"):
            _store("AWS/States", f"Executions{kind or 'Started'}", machine, 1, "Count")
        if kind:
            seconds = _seconds(execution)
            _store("AWS/States", "ExecutionTime", machine, seconds * 1000, "Milliseconds")
        original(execution)

    return emit


def _seconds(execution: Any) -> float:
    started, stopped = (stepfunctions._iso_to_epoch_ms(execution.get(name)) for name in ("startDate", "stopDate"))
    return (stopped - started) / 1000 if started and stopped else 0.0


def _sample_for_ever(wait: float) -> None:
    while True:
        time.sleep(wait)
        for account, region in {key[:2] for key in list(sqs._queues._data)}:
            with request_scope(account, region):
                try:
                    _sample()
                except Exception:  # noqa: BLE001 - the next minute comes
                    cloudwatch.logger.exception("the queues could not be measured")


def _sample() -> None:
    now = time.time()
    for queue in list(sqs._queues.values()):
        visible = [message["sent_at"] for message in list(queue["messages"]) if message["visible_at"] <= now]
        name = {"QueueName": queue["name"]}
        _store("AWS/SQS", "ApproximateNumberOfMessagesVisible", name, len(visible), "Count")
        _store("AWS/SQS", "ApproximateAgeOfOldestMessage", name, now - min(visible, default=now), "Seconds")


def _store(namespace: str, metric: str, dimensions: dict[str, str], value: float, unit: str) -> None:
    cloudwatch._store_datum(namespace, metric, dimensions, time.time(), unit, value, None, None, None)
