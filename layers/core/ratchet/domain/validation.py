"""What an upload must hold: the data contract as rules in SQL, and the verdict on what they found.

The SQL reads a relation of text: columns `c0`, `c1`, … in the file's order, an empty value being null, with `line`
(the row's place in the file) and `problem` (why the line is no row at all, null for a row).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ratchet.contracts.base import Contract, Finding
from ratchet.domain.definition import ColumnRule, DataSection
from ratchet.domain.file_findings import counted, header_only

MAX_EXAMPLES = 20
BUCKETS = 10_000
_SHOWN = 40  # characters of a value
_NAMED = 3  # rows a finding names
_LISTED = 12  # columns or values a sentence lists

ColumnType = Literal["timestamp", "number", "integer", "string", "boolean"]

_SQL_TYPES: dict[ColumnType, str] = {
    "timestamp": "TIMESTAMP",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
}
EXPECTS: dict[ColumnType, str] = {
    "timestamp": "a date and time such as 2017-03-31 08:00:00 or 2017-03-31T08:00:00Z",
    "number": "a number such as 3.5, without thousands separators or units",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
}
# DuckDB also reads 'infinity', 'epoch', BC years and one-digit months as timestamps; a contract should not.
TIME = r"[12]\d{3}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?"
ZONED_TIME = r"[12]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)? ?(Z|UTC|[+-](0\d|1[0-4])(:?[0-5]\d)?)"


@dataclass(frozen=True)
class Rule:
    """One thing a row can break. `broken` and `reason` are SQL over the relation and its typed columns."""

    column: str | None  # None: the line as a whole
    name: str  # shape | required | type | min | max | allowed | pattern
    expects: str
    broken: str
    reason: str


class BrokenRule(Contract):
    """How often a rule was broken."""

    column: str | None
    rule: str
    expects: str
    rows: int
    first_line: int


class BadRow(Contract):
    """A row that breaks the contract: the columns to look at and every reason."""

    line: int
    columns: tuple[str, ...]
    reasons: tuple[str, ...]


class Judgement(Contract):
    """What validation found in a file; a finding means that the file as a whole is rejected."""

    unit: Literal["line", "row"] = "line"
    rows: int = 0
    bad_rows: int = 0
    broken: tuple[BrokenRule, ...] = ()
    examples: tuple[BadRow, ...] = ()
    unexpected: tuple[str, ...] = ()  # columns the contract does not know: ignored
    absent: tuple[str, ...] = ()  # optional columns the file does not have: all null
    finding: Finding | None = None

    @property
    def accepted_rows(self) -> int:
        return 0 if self.finding else self.rows - self.bad_rows


def literal(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A SQL name."""
    return '"' + name.replace('"', '""') + '"'


def needed_columns(data: DataSection) -> tuple[str, ...]:
    """Columns without which a row is of no use: the required ones, and those that training itself relies on."""
    relied_on = {data.target, *data.key, *([data.timestamp] if data.timestamp else [])}
    return tuple(name for name, rule in data.columns.items() if rule.required or name in relied_on)


def typed(kind: ColumnType, text: str) -> str:
    """SQL: the text as the contract's type, null when it is not of that type."""
    number, whole = f"TRY_CAST({text} AS DOUBLE)", f"TRY_CAST({text} AS BIGINT)"
    match kind:
        case "string":
            return text
        case "number":
            return f"CASE WHEN isfinite({number}) AND NOT contains({text}, '_') THEN {number} END"
        case "integer":  # the cast alone would round 1.5 and read 0x1F and 1_000
            return f"CASE WHEN {number} = {whole} AND NOT contains({text}, '_') THEN {whole} END"
        case "boolean":
            return f"TRY_CAST(trim({text}) AS BOOLEAN)"
        case "timestamp":  # zones by way of ICU cost ten times as much
            return (
                f"CASE WHEN regexp_full_match(trim({text}), {literal(TIME)}) THEN TRY_CAST(trim({text}) AS TIMESTAMP) "
                f"WHEN regexp_full_match(trim({text}), {literal(ZONED_TIME)}) "
                f"THEN TRY_CAST(trim({text}) AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END"
            )


@dataclass(frozen=True)
class Plan:
    """A data contract bound to the columns of one file."""

    data: DataSection
    columns: tuple[str, ...]  # of the file, in its order

    @property
    def unexpected(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in self.data.columns)

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(name for name in self.data.columns if name not in self.columns)

    def rules(self) -> tuple[Rule, ...]:
        """Every rule a row of this file can break, in the contract's order."""
        shape = Rule(None, "shape", "as many values as the header names", "problem IS NOT NULL", "problem")
        return (shape, *(rule for name in self.data.columns if name in self.columns for rule in self._rules_of(name)))

    def counting(self, relation: str) -> str:
        """SELECT rows, bad rows, the bad rows of each rule, then each column's values (so that all are read)."""
        counts = ", ".join(
            (
                *(f"count(*) FILTER (b{index})" for index in range(len(self.rules()))),
                *(f"count(c{index})" for index in range(len(self.columns))),
            )
        )
        return f"SELECT count(*), count(*) FILTER (bad), {counts} FROM ({self._judged(relation)})"  # noqa: S608

    def examples(self, relation: str) -> str:
        """SELECT line, the indices of the rules it breaks, and the reasons, for the first bad rows."""
        broken = ", ".join(f"CASE WHEN b{index} THEN {index} END" for index in range(len(self.rules())))
        return (
            f"SELECT line, list_filter([{broken}], lambda x: x IS NOT NULL), {self._reasons()} "  # noqa: S608
            f"FROM ({self._judged(relation)}) WHERE bad ORDER BY line LIMIT {MAX_EXAMPLES}"
        )

    def first_lines(self, relation: str) -> str:
        """SELECT for each rule the first line that breaks it."""
        firsts = ", ".join(f"min(line) FILTER (b{index})" for index in range(len(self.rules())))
        return f"SELECT {firsts} FROM ({self._judged(relation)})"  # noqa: S608

    def accepted(self, relation: str, upload_id: str, *, all_good: bool) -> str:
        """SELECT the good rows in the contract's types; without looking again when all are good."""
        values = ", ".join(f"{self._value(name)} AS {identifier(name)}" for name in self.data.columns)
        own = f"{literal(upload_id)} AS ratchet_upload, line AS ratchet_line, {self._bucket()} AS ratchet_bucket"
        good = "" if all_good else " WHERE bad IS NOT TRUE"
        return f"SELECT {values}, {own} FROM ({self._judged(relation)}){good}"  # noqa: S608

    def quarantine(self, relation: str) -> str:
        """SELECT the bad rows as the file has them, each with its reasons."""
        values = "".join(f"c{index} AS {identifier(name)}, " for index, name in enumerate(self._quarantine_names()))
        own = f"line AS ratchet_line, {self._reasons()} AS ratchet_reasons"
        return f"SELECT {values}{own} FROM ({self._judged(relation)}) WHERE bad"  # noqa: S608

    def _judged(self, relation: str) -> str:
        """The relation with its typed columns `v0`, …, one flag per rule `b0`, … and whether any of them is set.

        DuckDB computes an expression once for all its uses, but not inside CASE, AND and OR: hence greatest().
        """
        values = "".join(
            f", {typed(rule.type, self._text(name))} AS v{index}"
            for index, (name, rule) in enumerate(self.data.columns.items())
            if name in self.columns
        )
        rules = self.rules()
        flags = ", ".join(f"{rule.broken} AS b{index}" for index, rule in enumerate(rules))
        bad = ", ".join(f"b{index}" for index in range(len(rules)))
        flagged = f"SELECT *, {flags} FROM (SELECT *{values} FROM ({relation}))"  # noqa: S608
        return f"SELECT *, greatest({bad}) AS bad FROM ({flagged})"  # noqa: S608

    def _text(self, name: str) -> str:
        """The column's text, null in a line that is no row."""
        return f"CASE WHEN problem IS NULL THEN c{self.columns.index(name)} END"

    def _rules_of(self, name: str) -> tuple[Rule, ...]:
        rule = self.data.columns[name]
        text, value = self._text(name), f"v{list(self.data.columns).index(name)}"
        kind = EXPECTS[rule.type]
        checks = []
        if name in needed_columns(self.data):
            empty = f"problem IS NULL AND {text} IS NULL"
            checks.append(("required", "a value in every row", empty, "is empty"))
        if rule.type != "string":
            checks.append(("type", kind, f"({text} IS NULL) <> ({value} IS NULL)", f"is not {kind}"))
        checks += _bounds(rule, value)
        if rule.allowed is not None:
            listed = ", ".join(literal(item) for item in rule.allowed)
            checks.append(("allowed", f"one of {_list(rule.allowed)}", f"{text} NOT IN ({listed})", "is not allowed"))
        if rule.pattern is not None:
            match = f"NOT regexp_full_match({text}, {literal(rule.pattern)})"
            checks.append(("pattern", f"text matching {rule.pattern}", match, f"does not match {rule.pattern}"))
        return tuple(
            Rule(name, check, expects, broken, _reason(name, text, check, says))
            for check, expects, broken, says in checks
        )

    def _value(self, name: str) -> str:
        kind = _SQL_TYPES[self.data.columns[name].type]
        if name not in self.columns:
            return f"CAST(NULL AS {kind})"
        return f"v{list(self.data.columns).index(name)}"

    def _reasons(self) -> str:
        reasons = ", ".join(f"CASE WHEN b{index} THEN {rule.reason} END" for index, rule in enumerate(self.rules()))
        return f"list_filter([{reasons}], lambda x: x IS NOT NULL)"

    def _bucket(self) -> str:
        """MD5's first 32 bits: the same on every machine, and of the value, not of how a file spells it."""
        names = self.data.key or tuple(self.data.columns)
        parts = ", ".join(f"coalesce(CAST({self._value(name)} AS VARCHAR), '')" for name in names)
        return f"CAST(CAST('0x' || left(md5(concat_ws(chr(31), {parts})), 8) AS BIGINT) % {BUCKETS} AS INTEGER)"

    def _quarantine_names(self) -> list[str]:
        return [f"source_{name}" if name.lower().startswith("ratchet_") else name for name in self.columns]


def judge(
    plan: Plan, unit: Literal["line", "row"], counts: Sequence[int], firsts: Sequence[int | None], bad: Sequence[BadRow]
) -> Judgement:
    """The verdict on the counts of a plan's SQL."""
    rows, bad_rows, *by_rule = counts[: 2 + len(plan.rules())]
    broken = tuple(
        BrokenRule(column=rule.column, rule=rule.name, expects=rule.expects, rows=count, first_line=first)
        for rule, count, first in zip(plan.rules(), by_rule, firsts or [None] * len(by_rule), strict=True)
        if count and first is not None
    )
    judgement = Judgement(
        unit=unit,
        rows=rows,
        bad_rows=bad_rows,
        broken=broken,
        examples=tuple(bad),
        unexpected=plan.unexpected,
        absent=plan.absent,
    )
    return judgement.model_copy(update={"finding": _finding(plan.data, judgement)})


def _finding(data: DataSection, judged: Judgement) -> Finding | None:
    if judged.rows == 0:
        return header_only(data.min_rows)
    if judged.bad_rows > Decimal(str(data.max_bad_rows)) * judged.rows:  # binary 0.29 x 100 is less than 29
        return _too_many_bad_rows(data, judged)
    if judged.rows - judged.bad_rows < data.min_rows:
        good = judged.rows - judged.bad_rows
        return Finding(
            what=f"The file holds {counted(good, 'usable row')}, fewer than the contract asks for.",
            where=f"the whole file ({counted(judged.rows, 'row')}, {judged.bad_rows} of them bad)",
            why=f"data.min_rows is {data.min_rows}.",
            fix="Upload a more complete file, or lower data.min_rows in pipeline.yaml if such small files are right.",
        )
    return None


def _too_many_bad_rows(data: DataSection, judged: Judgement) -> Finding:
    share = f"more than the {data.max_bad_rows * 100:g} % it tolerates"
    tolerated = share if data.max_bad_rows else "which tolerates none"
    named = [
        f"{judged.unit} {row.line}" + (f", column {' and '.join(row.columns)}" if row.columns else "")
        for row in judged.examples[:_NAMED]
    ]
    more = judged.bad_rows - len(named)
    first = judged.examples[0]
    kinds = "; ".join(
        f"{counted(rule.rows, 'row')}: {rule.column or 'the line'} must be {rule.expects}" for rule in judged.broken
    )
    return Finding(
        what=f"{judged.bad_rows:,} of {counted(judged.rows, 'row')} break the data contract, {tolerated}.",
        where="; ".join(named) + (f"; and {counted(more, 'more row')}" if more else ""),
        why=f"In {judged.unit} {first.line}, {'; '.join(first.reasons)}. Broken rules: {kinds}.",
        fix="Correct these rows and upload the file again; the report lists the first of them. "
        "If the values are right, change the column's rule or data.max_bad_rows in pipeline.yaml.",
    )


def _bounds(rule: ColumnRule, value: str) -> list[tuple[str, str, str, str]]:
    bounds = []
    if rule.min is not None:
        text = f"{rule.min:g}"
        bounds.append(("min", f"at least {text}", f"{value} < {rule.min!r}::DOUBLE", f"is below {text}"))
    if rule.max is not None:
        text = f"{rule.max:g}"
        bounds.append(("max", f"at most {text}", f"{value} > {rule.max!r}::DOUBLE", f"is above {text}"))
    return bounds


def _reason(column: str, text: str, check: str, says: str) -> str:
    if check == "required":
        return literal(f"{column} {says}")
    shown = f"CASE WHEN length({text}) > {_SHOWN} THEN left({text}, {_SHOWN}) || '…' ELSE {text} END"
    return f"{literal(f'{column} ')} || '\"' || {shown} || '\" ' || {literal(says)}"


def _list(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_LISTED])
    return f"{shown} and {len(items) - _LISTED} more" if len(items) > _LISTED else shown
