"""The holdout and what batch transform answered for it, joined row by row."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ratchet.domain.errors import ScoringIncompleteError
from ratchet.domain.ports import ObjectStore

_NAMED = 5  # rows an error names


@dataclass(frozen=True)
class HoldoutRow:
    """One line of the holdout, as the preprocess job writes it."""

    row: int
    actual: Any
    naive: Any
    time: datetime | None
    record: dict[str, Any]


def holdout_rows(store: ObjectStore, holdout_uri: str) -> list[HoldoutRow]:
    """Every row of the holdout, in order of its number."""
    rows = [
        HoldoutRow(line["row"], line["actual"], line["naive"], utc_time(line["time"]), line["record"])
        for line in _documents(store, holdout_uri, ".jsonl")
    ]
    if not rows:
        raise ScoringIncompleteError(f"the holdout under {holdout_uri} is empty")
    return sorted(rows, key=lambda row: row.row)


def predictions(store: ObjectStore, output_uri: str, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Row number → prediction of a transform job; ScoringIncompleteError when a row is missing or answered twice."""
    found: dict[int, dict[str, Any]] = {}
    doubled = []
    for line in _documents(store, output_uri, ".out"):
        if line.get("row") in found:
            doubled.append(line["row"])
        if "row" in line and "prediction" in line.get("SageMakerOutput", {}):
            found[line["row"]] = line["SageMakerOutput"]
    if missing := sorted(set(rows) - found.keys()):
        raise ScoringIncompleteError(f"no prediction under {output_uri} for {_some(missing)}")
    if doubled:
        raise ScoringIncompleteError(f"more than one prediction under {output_uri} for {_some(sorted(doubled))}")
    return found


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


def classes_of(rows: Iterable[HoldoutRow], answers: Iterable[Mapping[int, dict[str, Any]]]) -> list[str]:
    """Every class that occurs, or that a model knows."""
    known: set[str] = set()
    for row in rows:
        known.update(label(value) for value in (row.actual, row.naive) if value is not None)
    for by_row in answers:
        for answer in by_row.values():
            known.add(label(answer["prediction"]))
            known.update(label(name) for name in answer.get("probabilities", {}))
    return sorted(known)


def _documents(store: ObjectStore, prefix_uri: str, suffix: str) -> Iterator[dict[str, Any]]:
    for uri in store.list(prefix_uri):
        if uri.endswith(suffix):
            yield from (json.loads(line) for line in store.lines(uri))


def _some(rows: list[int]) -> str:
    named = ", ".join(str(row) for row in rows[:_NAMED])
    return f"row {named}" if len(rows) == 1 else f"{len(rows)} rows: {named}{', …' if len(rows) > _NAMED else ''}"
