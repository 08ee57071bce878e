"""JSON records under a data contract: the rules an upload's rows are held to, for requests that cannot wait for SQL."""

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ratchet.contracts.predict import RecordProblem
from ratchet.domain.contract_sql import EXPECTS, TIME, ZONED_TIME
from ratchet.domain.data_contract import ColumnRule, DataSection, parse_comparison
from ratchet.domain.errors import RecordsInvalidError

MAX_PROBLEMS = 20
_SHOWN = 40  # characters of a value
_LISTED = 12
_WHOLE = range(-(2**63), 2**63)  # what an upload's integer column holds
_YEARS = range(1000, 3000)
_WRITTEN_TIME = re.compile(f"{TIME}|{ZONED_TIME}", re.ASCII)

# Whether a whole value matches a pattern in RE2's syntax.
Matches = Callable[[str, str], bool]


class _BreaksRule(Exception):  # noqa: N818  (a finding on its way to the caller)
    """A value that its column does not allow."""


def asked_columns(data: DataSection) -> dict[str, ColumnRule]:
    """The columns a record may have: all but the target, which is what is asked for."""
    return {name: rule for name, rule in data.columns.items() if name != data.target}


def asked_comparisons(data: DataSection) -> tuple[str, ...]:
    """The comparisons between columns that a record may have."""
    return tuple(
        text
        for text, each in zip(data.compare, data.comparisons, strict=True)
        if data.target not in (each.left, each.right)
    )


def asked_for(data: DataSection) -> tuple[str, ...]:
    """The columns a record must have: the required ones, and the time that features are computed from."""
    return tuple(name for name, rule in asked_columns(data).items() if rule.required or name == data.timestamp)


def check(records: Sequence[Any], data: DataSection, matches: Matches) -> list[dict[str, Any]]:
    """The records as the model takes them: contract columns only, times in UTC without their offset.

    RecordsInvalidError names each record, field and reason, up to MAX_PROBLEMS. A target is ignored.
    """
    problems: list[RecordProblem] = []
    bad = 0
    checked = []
    for place, record in enumerate(records):
        values, found = _check(place, record, data, matches)
        checked.append(values)
        bad += bool(found)
        problems.extend(found[: MAX_PROBLEMS - len(problems)])
    if problems:
        first = problems[0]
        where = f"record {first.record}" + (f", field {first.field}" if first.field is not None else "")
        raise RecordsInvalidError(
            f"{bad} of {len(records)} records break the data contract; {where}: {first.problem}", problems
        )
    return checked


def _check(place: int, record: Any, data: DataSection, matches: Matches) -> tuple[dict[str, Any], list[RecordProblem]]:
    if not isinstance(record, dict):
        said = f"is {_kind(record)}, not an object of column names and values"
        return {}, [RecordProblem(record=place, field=None, problem=said)]
    columns, needed = asked_columns(data), asked_for(data)
    values: dict[str, Any] = {}
    problems = [
        RecordProblem(record=place, field=name[:_SHOWN], problem=_unknown(name, columns))
        for name in record
        if name not in data.columns
    ]
    for name, rule in columns.items():
        try:
            given = record.get(name)
            values[name] = None if _stands_for_nothing(given, data) else _value(rule, given, matches)
        except _BreaksRule as broken:
            problems.append(RecordProblem(record=place, field=name, problem=str(broken)))
            continue
        if values[name] is None and name in needed:
            said = "is empty" if name in record else "is missing"
            problems.append(RecordProblem(record=place, field=name, problem=said))
    if not problems:
        problems += _compared(place, values, data)
    return values, problems


def _compared(place: int, values: dict[str, Any], data: DataSection) -> list[RecordProblem]:
    problems = []
    for text in asked_comparisons(data):
        each = parse_comparison(text)
        left, right = values[each.left], values[each.right]
        if left is not None and right is not None and not _COMPARE[each.operator](left, right):
            said = f"{_show(left)} and {_show(right)} break the comparison {text}"
            problems.append(RecordProblem(record=place, field=each.left, problem=said))
    return problems


def _unknown(name: str, columns: dict[str, ColumnRule]) -> str:
    alike = difflib.get_close_matches(name[:_SHOWN], columns, n=1)
    known = ", ".join([*columns][:_LISTED]) + (" …" if len(columns) > _LISTED else "")
    return "is no column of the contract; " + (f"did you mean {alike[0]}?" if alike else f"its columns are {known}")


def _stands_for_nothing(value: Any, data: DataSection) -> bool:
    """Whether it is no value, as in an upload: nothing, an empty text, or what the contract names, numbers as JSON
    writes them."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = json.dumps(value)
    return value is None or value == "" or value in data.nulls


def _value(rule: ColumnRule, value: Any, matches: Matches) -> Any:
    """The value as the model takes it."""
    typed: Any = _timestamp(value, rule) if rule.type == "timestamp" else _READERS[rule.type](value)
    if rule.min is not None and typed < rule.min:
        raise _BreaksRule(f"{_show(value)} is below {rule.min:g}")
    if rule.max is not None and typed > rule.max:
        raise _BreaksRule(f"{_show(value)} is above {rule.max:g}")
    if rule.allowed is not None and typed not in rule.allowed:
        listed = ", ".join(map(str, rule.allowed[:_LISTED])) + (" …" if len(rule.allowed) > _LISTED else "")
        raise _BreaksRule(f"{_show(value)} is not allowed; it must be one of {listed}")
    if rule.min_length is not None and len(typed) < rule.min_length:
        raise _BreaksRule(f"{_show(value)} is shorter than {rule.min_length} characters")
    if rule.max_length is not None and len(typed) > rule.max_length:
        raise _BreaksRule(f"{_show(value)} is longer than {rule.max_length} characters")
    if rule.pattern is not None and not matches(rule.pattern, typed):
        raise _BreaksRule(f"{_show(value)} does not match {rule.pattern}")
    return typed


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not(value, "number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _BreaksRule(f"{_show(value)} is larger than a number can be")
    return number


def _integer(value: Any) -> int:
    if not _number(value).is_integer():
        raise _not(value, "integer")
    if int(value) not in _WHOLE:
        raise _BreaksRule(f"{_show(value)} does not fit into 64 bits")
    return int(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _not(value, "string")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _not(value, "boolean")
    return value


def _timestamp(value: Any, rule: ColumnRule) -> str:
    """In UTC, without an offset: what training saw of the same moment, and what every container's Python reads."""
    if not isinstance(value, str):
        raise _not(value, "timestamp")
    try:
        moment = _as_written(value.strip(), rule.format) if rule.format else _iso(value.strip())
    except ValueError as error:
        if rule.format:
            raise _BreaksRule(f"{_show(value)} is not a date and time as {rule.format}") from error
        raise _not(value, "timestamp") from error
    if moment.tzinfo is None and rule.zone not in (None, "UTC"):
        moment = _in_zone(moment, ZoneInfo(rule.zone))
    return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None).isoformat()


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """The later moment that it may mean, as in files: where clocks go back an hour comes twice."""
    return max(moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _as_written(text: str, form: str) -> datetime:
    moment = datetime.strptime(text, form.replace("%-", "%"))  # noqa: DTZ007  (the contract's zone is set later)
    if moment.year not in _YEARS or any(sign.isdigit() and not sign.isascii() for sign in text):
        raise ValueError(text)
    return moment


def _iso(text: str) -> datetime:
    if not _WRITTEN_TIME.fullmatch(text):
        raise ValueError(text)
    plain = text.replace("UTC", "Z").replace(" Z", "Z")
    head, sign, offset = plain.rpartition(" ")
    if sign and offset[0] in "+-":
        plain = head + offset
    if plain[11:16] != "24:00":
        return datetime.fromisoformat(plain)
    midnight = datetime.fromisoformat(plain.replace("24:00", "00:00", 1))  # how some write the end of a day
    if midnight.second or midnight.microsecond:
        raise ValueError(text)
    return midnight + timedelta(days=1)


_READERS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _integer,
    "string": _string,
    "boolean": _boolean,
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _not(value: Any, kind: str) -> _BreaksRule:
    shown = _show(value) if isinstance(value, str | int | float) else _kind(value)
    hint = " (write it without quotes)" if isinstance(value, str) and kind in ("number", "integer", "boolean") else ""
    return _BreaksRule(f"{shown} is not {EXPECTS[kind]}{hint}")  # type: ignore[index]


def _show(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
