"""CloudWatch: log lines and metric values, as they come in."""

from inspect import signature
from itertools import count
from time import time, time_ns
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import cloudwatch, cloudwatch_logs

from local.cloud.repairs.durability.codec import Codec, key_of
from local.cloud.repairs.durability.documents import Record, restored
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.patching import Function, expect, replace

LOGS = "cloudwatch_logs"
METRICS = "cloudwatch"
_LINES = "lines"
_VALUES = "values"
_RECORD = "(namespace: str, metric_name: str, value: float, unit: str = 'None', dimensions: dict | None = None) -> None"
_STORE = "(namespace, name, dims, ts, unit, value, values, counts, stat_values)"


class Telemetry:
    """Appends; nothing of it is written twice."""

    def __init__(self, journal: Journal, codec: Codec) -> None:
        self._journal = journal
        self._codec = codec
        self._numbers = count(time_ns())
        self._values: list[tuple[Any, list[Any]]] = []
        self._store: Function = cloudwatch._store_datum

    def install(self) -> None:
        """Follows every line and every value."""
        replace(cloudwatch_logs, "_fanout_to_subscription_filters", "(group_name, stream_name, events)", self._lines)
        replace(cloudwatch, "_store_datum", _STORE, self._value)
        replace(cloudwatch, "record_metric", _RECORD, self._service_value)
        expect(cloudwatch_logs, "_append_log_events", "(stream, events)")

    def restore_logs(self, base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        """What a clean stop saved, with the groups as journaled and the lines in their streams."""
        saved = {key: group["streams"] for key, group in _groups(base).items()}
        state = restored(base, [record for record in records if record[0] != _LINES])
        for key, group in _groups(state).items():
            group.setdefault("streams", saved.get(key, {}))
        lines = sorted(((key, value) for store, key, value in records if store == _LINES), key=lambda line: line[0])
        for (_, account, region, group_name, stream_name), events in lines:
            found = _groups(state).get((account, region, group_name))
            if found is not None:  # else it was deleted since
                stream = found["streams"].setdefault(stream_name, _stream(events[0]["timestamp"]))
                cloudwatch_logs._append_log_events(
                    stream, [{**event, "ingestionTime": event["timestamp"]} for event in events]
                )
        return state

    def restore_metrics(self, base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        """What a clean stop saved, without the journaled values: `store` adds them when the rest is there."""
        self._values = sorted((key, value) for store, key, value in records if store == _VALUES)
        return restored(base, [record for record in records if record[0] != _VALUES])

    def store(self) -> None:
        """Stores the journaled values."""
        values, self._values = self._values, []
        for (_, account, region), datum in values:
            with request_scope(account, region):
                self._store(*datum)

    def _lines(self, original: Function) -> Function:
        def fan_out(group_name: str, stream_name: str, events: list[dict[str, Any]]) -> None:
            key = next(self._numbers), get_account_id(), get_region(), group_name, stream_name
            if events:
                self._journal.put(LOGS, _LINES, key_of(key), self._codec.encode(list(events)))
            original(group_name, stream_name, events)

        return fan_out

    def _value(self, original: Function) -> Function:
        self._store = original
        named = signature(original)

        def store(*values: Any, **more: Any) -> None:
            original(*values, **more)
            self._put_value(list(named.bind(*values, **more).args))

        return store

    def _service_value(self, original: Function) -> Function:
        def record(namespace: str, metric_name: str, value: float, unit: str = "None", dimensions: Any = None) -> None:
            original(namespace, metric_name, value, unit, dimensions)
            self._put_value([namespace, metric_name, dimensions or {}, time(), unit, value, None, None, None])

        return record

    def _put_value(self, datum: list[Any]) -> None:
        key = next(self._numbers), get_account_id(), get_region()
        self._journal.put(METRICS, _VALUES, key_of(key), self._codec.encode(datum))


def _groups(state: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    return state["log_groups"]._data if "log_groups" in state else {}


def _stream(created: int) -> dict[str, Any]:
    """A stream as MiniStack makes it."""
    return {
        "events": [],
        "uploadSequenceToken": "1",
        "creationTime": created,
        "firstEventTimestamp": None,
        "lastEventTimestamp": None,
        "lastIngestionTime": None,
    }
