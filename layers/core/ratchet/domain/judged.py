"""What the judge looks at: the holdout and every model's answers, joined row by row and held column by column.

A million rows take a few hundred megabytes here; as the records they come from they would take gigabytes.
"""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ratchet.domain.metrics import Answers, Floats, Indices
from ratchet.domain.ports import ObjectStore
from ratchet.domain.scores import HoldoutRow, answer_stream, check_complete, holdout_stream, label

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Labels:
    """A column of text: each row's place among the names."""

    codes: Indices
    names: tuple[str, ...]  # sorted


@dataclass(frozen=True)
class Judged:
    """The joined rows in order of their number; in a classification `actual` and the answers are class codes."""

    rows: NDArray[np.int64]
    actual: Floats
    naive: Floats  # NaN where no naive forecast exists
    times: NDArray[np.datetime64] | None  # microseconds UTC; None when the pipeline has no timestamp
    columns: Mapping[str, Labels]  # of the records, those asked for
    answers: Mapping[str, Answers]  # by role: candidate, champion
    classes: tuple[str, ...] | None  # what the codes mean; None in a regression

    def text_of(self, values: Floats) -> list[Any]:
        """Values as people read them: classes by name, numbers as they are, None for not known."""
        if self.classes is None:
            return [None if np.isnan(value) else value for value in values.tolist()]
        return [None if np.isnan(value) else self.classes[int(value)] for value in values]


def read_judged(
    store: ObjectStore,
    holdout_uri: str,
    outputs: Mapping[str, str],
    *,
    classification: bool,
    columns: Iterable[str] = (),
) -> Judged:
    """Reads the holdout and each role's transform output; ScoringIncompleteError unless every row has one answer."""
    classes = _Vocabulary() if classification else None
    holdout = _Columns(classes, {name: _Vocabulary() for name in columns})
    for row in holdout_stream(store, holdout_uri):
        holdout.add(row)
    rows = np.array(holdout.rows, dtype=np.int64)
    order = np.argsort(rows)
    read = {role: _Answered(classes).read(store, uri) for role, uri in outputs.items()}
    places = None if classes is None else classes.places()
    return Judged(
        rows=rows[order],
        actual=_values(holdout.actual, places)[order],
        naive=_values(holdout.naive, places)[order],
        times=None if len(holdout.times) < len(rows) else np.array(holdout.times, dtype="datetime64[us]")[order],
        columns={name: _labels(holdout.columns[name], codes, order) for name, codes in holdout.codes.items()},
        answers={role: answered.answers(outputs[role], rows[order], places) for role, answered in read.items()},
        classes=None if classes is None else tuple(sorted(classes.codes)),
    )


class _Vocabulary:
    """Texts by the order they were first seen in."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code(self, value: Any) -> int:
        return self.codes.setdefault(label(value), len(self.codes))

    def places(self) -> Indices:
        """Code → place among the sorted texts."""
        places = np.empty(len(self.codes), np.intp)
        places[[self.codes[text] for text in sorted(self.codes)]] = np.arange(len(self.codes))
        return places


@dataclass
class _Columns:
    """The holdout's rows, taken apart."""

    classes: _Vocabulary | None
    columns: dict[str, _Vocabulary]
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    actual: "array[float]" = field(default_factory=lambda: array("d"))
    naive: "array[float]" = field(default_factory=lambda: array("d"))

    def __post_init__(self) -> None:
        self.codes = {name: array("q") for name in self.columns}

    def add(self, row: HoldoutRow) -> None:
        self.rows.append(row.row)
        self.actual.append(_number(row.actual, self.classes))
        self.naive.append(_number(row.naive, self.classes))
        if row.time is not None:
            self.times.append((row.time - _EPOCH) // _MICROSECOND)
        for name, vocabulary in self.columns.items():
            self.codes[name].append(vocabulary.code(row.record.get(name)))


@dataclass
class _Answered:
    """One model's answers, taken apart."""

    classes: _Vocabulary | None
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    said: "array[float]" = field(default_factory=lambda: array("d"))
    named: "array[int]" = field(default_factory=lambda: array("q"))  # how many classes a row gives a probability
    codes: "array[int]" = field(default_factory=lambda: array("q"))
    shares: "array[float]" = field(default_factory=lambda: array("d"))

    def read(self, store: ObjectStore, output_uri: str) -> "_Answered":
        for row, answer in answer_stream(store, output_uri):
            self.rows.append(row)
            self.said.append(_number(answer["prediction"], self.classes))
            if self.classes is not None:
                shares = answer.get("probabilities", {})
                self.named.append(len(shares))
                self.codes.extend(map(self.classes.code, shares))
                self.shares.extend(map(float, shares.values()))
        return self

    def answers(self, output_uri: str, wanted: NDArray[np.int64], places: Indices | None) -> Answers:
        """The answers for the rows wanted, in their order."""
        rows = np.array(self.rows, dtype=np.int64)
        order = np.argsort(rows, kind="stable")
        found = rows[order]
        doubled = np.unique(found[1:][found[1:] == found[:-1]])
        missing = np.setdiff1d(wanted, found, assume_unique=False)
        check_complete(output_uri, missing.tolist(), np.intersect1d(doubled, wanted).tolist())
        chosen = order[np.searchsorted(found, wanted)]
        values = _values(self.said, places)[chosen]
        if places is None or not len(self.codes):
            return Answers(values)
        probabilities = np.zeros((len(rows), len(places)))
        probabilities[np.repeat(np.arange(len(rows)), self.named), places[np.array(self.codes)]] = self.shares
        return Answers(values, probabilities[chosen])


def _number(value: Any, classes: _Vocabulary | None) -> float:
    if value is None:
        return float("nan")
    return float(value) if classes is None else float(classes.code(value))


def _values(values: "array[float]", places: Indices | None) -> Floats:
    """Numbers as they are, codes as places among the sorted classes."""
    numbers = np.array(values, dtype=np.float64)
    if places is None:
        return numbers
    known = ~np.isnan(numbers)
    numbers[known] = places[numbers[known].astype(np.intp)]
    return numbers


def _labels(vocabulary: _Vocabulary, codes: "array[int]", order: Indices) -> Labels:
    return Labels(vocabulary.places()[np.array(codes, dtype=np.intp)][order], tuple(sorted(vocabulary.codes)))
