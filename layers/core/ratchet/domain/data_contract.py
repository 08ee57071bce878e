"""The data contract as a user writes it: `data` in pipeline.yaml."""

import codecs
import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AliasPath, Field, field_validator, model_validator

from ratchet.contracts.base import ForeignContract
from ratchet.domain.fields import Duration, Section

# Rows are matched by RE2: linear in the value's length, so that no pattern can stall validation.
_NOT_RE2 = re.compile(r"\(\?(=|!|<=|<!|>|P=|\()|(?<!\\)(\\\\)*\\[1-9]")
_COMPARISON = re.compile(r"^\s*(.+?)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*$")
_FORMAT_CODES = frozenset("YmdHMSfyjbBpIzZT%-aA")
_NUMERIC = ("number", "integer")

ColumnType = Literal["timestamp", "number", "integer", "string", "boolean"]
Policy = Literal["ignore", "warn", "reject"]
Delimiter = Literal[",", ";", "\t", "|"]
DELIMITERS: tuple[Delimiter, ...] = (",", ";", "\t", "|")
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ColumnRule(Section):
    """What a column must hold; a row that breaks a rule is a bad row."""

    type: ColumnType
    required: bool = False  # a null is a broken rule; target, timestamp and key are required anyway
    min: Finite | None = None
    max: Finite | None = None
    allowed: Annotated[tuple[str | int | float, ...], Field(min_length=1)] | None = None
    pattern: str | None = None  # of the whole value, in RE2's syntax
    min_length: Annotated[int, Field(ge=0)] | None = None  # characters
    max_length: Annotated[int, Field(ge=0)] | None = None
    max_null_share: Annotated[float, Field(ge=0, le=1)] | None = None  # of the usable rows; more rejects the file
    format: str | None = None  # of a timestamp, as strptime writes it; without it ISO 8601
    zone: str | None = None  # of timestamps without one, such as Europe/Berlin; without it UTC

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression ({error}); correct it") from error
            if _NOT_RE2.search(pattern):
                raise ValueError(f"{pattern!r} looks around or back, which RE2 cannot; write it without or use allowed")
        return pattern

    @field_validator("format")
    @classmethod
    def _format_is_strptime(cls, text: str | None) -> str | None:
        if text is not None:
            codes = re.findall(r"%-?(.?)", text)
            if not codes or (wrong := next((code for code in codes if code not in _FORMAT_CODES), None)) is not None:
                shown = f"%{wrong} is no code of it" if codes else "it has no codes"
                raise ValueError(
                    f"{text!r} is not a timestamp format ({shown}); write it as strptime does: %d.%m.%Y %H:%M"
                )
        return text

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, zone: str | None) -> str | None:
        from zoneinfo import available_timezones  # noqa: PLC0415  (few contracts name a zone)

        # Listing them reads the whole database; where the system has none, nothing can be said.
        if zone is not None and (known := available_timezones()) and zone not in known:
            raise ValueError(f"{zone!r} is not a time zone; write an IANA name such as Europe/Berlin or UTC")
        return zone

    @model_validator(mode="after")
    def _rules_fit_type(self) -> Self:
        for fields, types in (
            (("min", "max"), _NUMERIC),
            (("pattern", "min_length", "max_length"), ("string",)),
            (("allowed",), ("string", *_NUMERIC)),
            (("format", "zone"), ("timestamp",)),
        ):
            if self.type not in types and any(getattr(self, field) is not None for field in fields):
                named = " and ".join(fields) + (" need" if len(fields) > 1 else " needs")
                raise ValueError(
                    f"{named} type {' or '.join(types)}, not {self.type}; remove what does not fit or change the type"
                )
        for low, high in (("min", "max"), ("min_length", "max_length")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low} {least} is above {high} {most}; swap them")
        if odd := [item for item in self.allowed or () if isinstance(item, str) != (self.type == "string")]:
            fix = "put it in quotes" if self.type == "string" else "write a number without quotes"
            raise ValueError(f"allowed holds {odd[0]!r}, which is not of type {self.type}; {fix}")
        return self


class Comparison(Section):
    """Two columns of a row and how they must stand to each other."""

    left: str
    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    right: str


def parse_comparison(text: str) -> Comparison:
    """`start <= end` → its parts; ValueError says how to write one."""
    match = _COMPARISON.match(text)
    if match is None:
        raise ValueError(f"{text!r} compares nothing; write two columns with <, <=, >, >=, == or != between them")
    return Comparison.model_validate(dict(zip(("left", "operator", "right"), match.groups(), strict=True)))


class DataSection(Section):
    """The data contract."""

    format: Literal["csv", "parquet", "jsonl"] = "csv"  # each also gzip
    delimiter: Delimiter | None = None  # of csv; null: the one that finds the contract's columns in the header
    encoding: str | None = None  # of csv and jsonl; null: UTF-8, or UTF-16 and UTF-32 by their byte order mark
    decimal: Literal[".", ","] = "."
    header: bool = True  # csv without one: its columns are the contract's, in this order
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0  # of csv, before the header
    nulls: tuple[str, ...] = ()  # what else than nothing stands for no value, such as NA
    target: str
    task: Literal["regression", "classification"]
    timestamp: str | None = None  # without it the holdout is a stable hash split
    key: tuple[str, ...] = ()  # rows with the same key: latest upload wins
    series: tuple[str, ...] = ()  # columns that tell time series apart; by default the key's besides the timestamp
    unique: bool = False  # within an upload a key stands once; a later row with it is a bad row
    order: Literal["ascending"] | None = None  # of the timestamp, within the key's other columns
    max_age: Duration | None = None  # of the newest timestamp when the upload arrives
    columns: Annotated[dict[Annotated[str, Field(min_length=1)], ColumnRule], Field(min_length=2)]
    compare: tuple[str, ...] = ()  # such as: start <= end
    unexpected_columns: Policy = "ignore"  # columns the contract does not know
    missing_columns: Policy = "ignore"  # optional columns the file lacks; a required one always rejects it
    max_bad_rows: Annotated[float, Field(ge=0, le=1)] = 0.0
    min_rows: Annotated[int, Field(ge=1)] = 1
    max_rows: Annotated[int, Field(ge=1)] | None = None
    window: Duration | None = None

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """`compare`, parsed."""
        return tuple(map(parse_comparison, self.compare))

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                known = codecs.lookup(encoding)
            except LookupError as error:
                raise ValueError(
                    f"{encoding!r} is not an encoding; write one such as utf-8, cp1252 or utf-16"
                ) from error
            if not known._is_text_encoding:  # the registry also holds base64 and zlib
                raise ValueError(f"{encoding!r} does not encode text; write one such as utf-8, cp1252 or utf-16")
        return encoding

    @model_validator(mode="after")
    def _named_columns_exist(self) -> Self:
        for field, name in self._names():
            if name not in self.columns:
                raise ValueError(f"{field} names the column {name!r}, which data.columns lacks; add it there")
        if self.timestamp and self.columns[self.timestamp].type != "timestamp":
            raise ValueError(f"timestamp names {self.timestamp!r}, whose type is not timestamp; change its type")
        if self.series and not self.timestamp:
            raise ValueError("series tells time series apart, but there is no timestamp; add one or remove series")
        if bad := {self.target, self.timestamp}.intersection(self.series):
            raise ValueError(f"series names {bad.pop()!r}, which is the target or the timestamp; name other columns")
        folded = [name.casefold() for name in self.columns]
        if alike := [name for name in self.columns if folded.count(name.casefold()) > 1]:
            raise ValueError(
                f"{' and '.join(alike)} differ by case alone, which SQL engines ignore; rename one of them"
            )
        if reserved := [name for name in self.columns if name.lower().startswith("ratchet_")]:
            raise ValueError(f"column names starting with ratchet_ are reserved; rename {reserved[0]!r}")
        return self

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        if self.unique and not self.key:
            raise ValueError("unique is true, but there is no key to be unique; name the key's columns in key")
        for field in ("order", "max_age"):
            if getattr(self, field) is not None and self.timestamp is None:
                raise ValueError(f"{field} is about the timestamp, but there is none; name its column in timestamp")
        if self.max_rows is not None and self.max_rows < self.min_rows:
            raise ValueError(f"min_rows {self.min_rows} is above max_rows {self.max_rows}; swap them")
        if self.decimal == "," and self.delimiter == ",":
            raise ValueError("decimal and delimiter are both a comma; set delimiter to the one the file has, often ';'")
        for text, each in zip(self.compare, self.comparisons, strict=True):
            kinds = [_family(self.columns[name]) for name in (each.left, each.right)]
            if kinds[0] != kinds[1]:
                raise ValueError(f"compare {text!r} compares {kinds[0]} with {kinds[1]}; compare columns of one type")
        return self

    def _names(self) -> Iterator[tuple[str, str]]:
        yield "target", self.target
        if self.timestamp:
            yield "timestamp", self.timestamp
        yield from (("key", name) for name in self.key)
        yield from (("series", name) for name in self.series)
        for text, each in zip(self.compare, self.comparisons, strict=True):
            yield from ((f"compare {text!r}", name) for name in (each.left, each.right))


class CompiledData(ForeignContract):
    """The data contract of a compiled definition, for those who need nothing else of it."""

    data: DataSection = Field(validation_alias=AliasPath("definition", "data"))


def _family(rule: ColumnRule) -> str:
    return "numbers" if rule.type in _NUMERIC else f"{rule.type}s"
