"""The holdout and what batch transform answered for it, joined row by row."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ratchet.domain.errors import ScoringIncompleteError
from ratchet.domain.ports import ObjectStore

_NAMED = 5  # rows an error names


class HoldoutRow(NamedTuple):
    """One line of the holdout, as the preprocess job writes it."""

    row: int
    actual: Any
    naive: Any
    time: datetime | None
    record: dict[str, Any]


def holdout_stream(store: ObjectStore, holdout_uri: str) -> Iterator[HoldoutRow]:
    """Every row of the holdout as the files have them, one in memory at a time."""
    empty = True
    for line in _documents(store, holdout_uri, ".jsonl"):
        empty = False
        yield HoldoutRow(line["row"], line["actual"], line["naive"], utc_time(line["time"]), line["record"])
    if empty:
        raise ScoringIncompleteError(f"the holdout under {holdout_uri} is empty")


def holdout_rows(store: ObjectStore, holdout_uri: str) -> list[HoldoutRow]:
    """Every row of the holdout, in order of its number."""
    return sorted(holdout_stream(store, holdout_uri), key=lambda row: row.row)


def holdout_size(store: ObjectStore, holdout_uri: str) -> int:
    """How many rows the holdout has."""
    return sum(1 for _ in _lines(store, holdout_uri, ".jsonl"))


def answer_stream(store: ObjectStore, output_uri: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number and prediction of every line of a transform job that holds one."""
    for line in _documents(store, output_uri, ".out"):
        answer = line.get("SageMakerOutput", {})
        if "row" in line and _says_something(answer.get("prediction")):
            yield line["row"], answer


def predictions(store: ObjectStore, output_uri: str, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Row number → prediction for the rows asked for; ScoringIncompleteError when one is missing or answered twice."""
    wanted = set(rows)
    found: dict[int, dict[str, Any]] = {}
    doubled = []
    for row, answer in answer_stream(store, output_uri):
        if row in found:
            doubled.append(row)
        elif row in wanted:
            found[row] = answer
    check_complete(output_uri, sorted(wanted - found.keys()), sorted(doubled))
    return found


def check_complete(output_uri: str, missing: Sequence[int], doubled: Sequence[int]) -> None:
    """ScoringIncompleteError when there are any of either."""
    if missing:
        raise ScoringIncompleteError(f"no prediction under {output_uri} for {_some(missing)}")
    if doubled:
        raise ScoringIncompleteError(f"more than one prediction under {output_uri} for {_some(doubled)}")


def label(value: Any) -> str:
    """One spelling of a class: JSON's `true`, a whole number without its fraction, else the text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def utc_time(text: str | None) -> datetime | None:
    """ISO 8601 as the jobs write it; a time without a zone is UTC."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _says_something(prediction: Any) -> bool:
    return prediction is not None and not (isinstance(prediction, float) and not math.isfinite(prediction))


def _documents(store: ObjectStore, prefix_uri: str, suffix: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _lines(store, prefix_uri, suffix))


def _lines(store: ObjectStore, prefix_uri: str, suffix: str) -> Iterator[str]:
    for uri in store.list(prefix_uri):
        if uri.endswith(suffix):
            yield from store.lines(uri)


def _some(rows: Sequence[int]) -> str:
    named = ", ".join(str(row) for row in rows[:_NAMED])
    return f"row {named}" if len(rows) == 1 else f"{len(rows)} rows: {named}{', …' if len(rows) > _NAMED else ''}"
