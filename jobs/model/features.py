"""Features of raw records, computed by this one file at training and at serving.

A feature depends on its own record and on what training stored in features.json, never on other records; so the model
answers for any record at any time. Every feature is a float32, and NaN is "not known".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Times = npt.NDArray[np.datetime64]

FILE_NAME = "features.json"
MAX_CATEGORIES = 256  # of one column; rarer values count as not known
HOLIDAY_REACH = 3  # days: further from a holiday makes no difference

DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")
MONTH = np.timedelta64(1, "M")
MONDAY = np.datetime64("1970-01-05")
EPOCH = np.datetime64("1970-01-01")


class RecordError(ValueError):
    """A record holds a value that its column's type does not allow; the message names the column."""


@dataclass(frozen=True)
class Features:
    """What turns columns into a matrix; `columns` are those the model may see, with their contract types."""

    columns: Mapping[str, str]
    calendar: Sequence[str]
    holidays: Mapping[str, Sequence[str]]
    categories: Mapping[str, Sequence[str]]
    labels: Sequence[str]  # of the target; empty for regression

    @classmethod
    def load(cls, folder: Path) -> "Features":
        """Those that training saved in the model folder."""
        return cls(**json.loads((folder / FILE_NAME).read_text()))

    def save(self, folder: Path) -> None:
        """Writes them where `load` finds them."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self)))

    @property
    def names(self) -> list[str]:
        """The matrix's columns: a column's name, or `<timestamp column>:<calendar part>`."""
        return [name for column in self.columns for name in self._names_of(column)]

    @property
    def types(self) -> list[str]:
        """XGBoost's feature types: `c` for categories, `q` for quantities."""
        return ["c" if self.columns.get(name) == "string" else "q" for name in self.names]

    def matrix(self, columns: Mapping[str, npt.NDArray[Any]]) -> Matrix:
        """Rows by features. Timestamps come as datetime64[us], strings as codes (`codes`), all else as float64."""
        parts = [part for column in self.columns for part in self._parts_of(column, columns[column])]
        return np.column_stack(parts).astype(np.float32)

    def from_records(self, records: Sequence[Mapping[str, Any]]) -> Matrix:
        """The matrix of JSON records; a missing column and an unseen category are not known."""
        return self.matrix(
            {name: self._values(name, [record.get(name) for record in records]) for name in self.columns}
        )

    def codes(self, column: str, values: Iterable[Any]) -> Floats:
        """Each value's place among the column's categories, NaN when it has none."""
        places = {value: float(code) for code, value in enumerate(self.categories[column])}
        return np.array([places.get(value, np.nan) for value in values], dtype=np.float64)

    def _names_of(self, column: str) -> list[str]:
        timestamp = self.columns[column] == "timestamp"
        return [f"{column}:{part}" for part in self.calendar] if timestamp else [column]

    def _parts_of(self, column: str, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        timestamp = self.columns[column] == "timestamp"
        return [self._calendar_part(part, values) for part in self.calendar] if timestamp else [values]

    def _calendar_part(self, part: str, time: Times) -> Floats:
        if part.startswith("holiday:"):
            return days_from_holiday(time, self.holidays[part.removeprefix("holiday:")])
        return CALENDAR[part](time)

    def _values(self, column: str, values: list[Any]) -> npt.NDArray[Any]:
        kind = self.columns[column]
        try:
            if kind == "timestamp":
                return times(values)
            if kind == "string":
                return self.codes(column, (text(value) for value in values))
            return np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise RecordError(f"column {column} must hold a {kind} or null: {error}") from None


def times(values: Sequence[str | None]) -> Times:
    """ISO 8601 texts as datetime64[us]; a time with an offset is turned to UTC."""
    plain = [value.removesuffix("Z") if isinstance(value, str) else value for value in values]
    if any(isinstance(value, str) and ("+" in value or value.count("-") > 2) for value in plain):
        plain = [value and without_offset(value) for value in plain]
    if any(not isinstance(value, (str, type(None))) for value in plain):
        raise TypeError("a time is written as ISO 8601 text, such as 2017-03-01T14:00:00")
    return np.array(plain, dtype="datetime64[us]")


def without_offset(value: str) -> str:
    """The same moment in UTC, written without its offset."""
    moment = datetime.fromisoformat(value)
    return (moment.astimezone(timezone.utc) if moment.tzinfo else moment).replace(tzinfo=None).isoformat()


def text(value: Any) -> str | None:
    """The value if it is text or null."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is not text")


def hour(time: Times) -> Floats:
    """0 to 23."""
    return np.floor(ratio(time - time.astype("datetime64[D]"), HOUR))


def weekday(time: Times) -> Floats:
    """0 (Monday) to 6."""
    return ratio(time.astype("datetime64[D]") - MONDAY, DAY) % 7


def month(time: Times) -> Floats:
    """1 to 12."""
    months = time.astype("datetime64[M]")
    return ratio(months - months.astype("datetime64[Y]").astype("datetime64[M]"), MONTH) + 1


def dayofyear(time: Times) -> Floats:
    """1 to 366."""
    return ratio(time.astype("datetime64[D]") - time.astype("datetime64[Y]").astype("datetime64[D]"), DAY) + 1


def trend(time: Times) -> Floats:
    """Days since 1970, with their fraction."""
    return ratio(time - EPOCH, DAY)


def ratio(span: npt.NDArray[np.timedelta64], unit: np.timedelta64) -> Floats:
    """A span of time in units of another; NaN where there is none."""
    quotient: Floats = span / unit
    return quotient


def days_from_holiday(time: Times, dates: Sequence[str]) -> Floats:
    """Days since the nearest holiday (negative: until it), 0 on the day itself, at most HOLIDAY_REACH either way."""
    days = trend(time.astype("datetime64[D]"))
    holidays = np.sort(trend(np.array(dates, dtype="datetime64[D]")))
    edges = np.concatenate([[-np.inf], holidays, [np.inf]])
    following = np.searchsorted(edges, days)
    since, until = days - edges[following - 1], edges[np.minimum(following, len(edges) - 1)] - days
    return np.clip(np.where(until <= since, -until, since), -HOLIDAY_REACH, HOLIDAY_REACH)


CALENDAR = {"hour": hour, "weekday": weekday, "month": month, "dayofyear": dayofyear, "trend": trend}
