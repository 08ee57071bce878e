"""The data contract as SQL.

It reads relations of text: columns `c0`, `c1`, … in the file's order, no value being null. Those that say themselves
where a row stands also have `line` and `problem` (why the line is no row at all, null for a row). A typed plan reads
numbers and truth values that the CSV reader has cast already, which costs a quarter of casting its text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from ratchet.domain.data_contract import ColumnRule, ColumnType, DataSection

Unit = Literal["line", "row"]
BUCKETS = 10_000
_SHOWN = 40  # characters of a value
_EXACT = 2.0**53  # smaller whole numbers are the same as floats
_LISTED = 12  # allowed values a sentence lists

SQL_TYPES: dict[ColumnType, str] = {
    "timestamp": "TIMESTAMP",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
}
# Whole numbers as DOUBLE, for as BIGINT the reader rounds 1.5. It refuses whatever a cast of the text refuses.
_READ_AS: dict[ColumnType, str] = {"number": "DOUBLE", "integer": "DOUBLE", "boolean": "BOOLEAN"}
BEYOND_DOUBLES = "a whole number that DOUBLE cannot tell from the next"  # the error with which a typed plan gives up
EXPECTS: dict[ColumnType, str] = {
    "timestamp": "a date and time such as 2017-03-31 08:00:00 or 2017-03-31T08:00:00Z",
    "number": "a number such as 3.5, without thousands separators or units",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
}
_BROKEN_BY = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "<>", "!=": "="}
# DuckDB also reads 'infinity', 'epoch', BC years and one-digit months as timestamps; a contract should not.
TIME = r"[12]\d{3}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?"
ZONED_TIME = r"[12]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)? ?(Z|UTC|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
_FIRST, _LAST = "TIMESTAMP '1000-01-01'", "TIMESTAMP '2999-12-31 23:59:59.999999'"


class Rule(NamedTuple):
    """One thing a row can break. `broken` and `reason` are SQL over the relation and its typed columns."""

    column: str | None  # None: the line as a whole
    name: str  # shape | required | type | min | max | allowed | pattern | min_length | … | compare | unique | order
    expects: str
    broken: str
    reason: str
    columns: tuple[str, ...] = ()  # to look at


class Part(NamedTuple):
    """Some of a file's lines, each one row: a scan of text columns, and how many lines of the file stand before."""

    scan: str
    lines_before: int


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


def read_as(data: DataSection, columns: Sequence[str]) -> tuple[str, ...]:
    """The SQL type of each column of the file in the relations that a typed plan reads."""
    rules = (data.columns.get(name) for name in columns)
    return tuple(_READ_AS.get(rule.type, "VARCHAR") if rule else "VARCHAR" for rule in rules)


def no_value(text: str, data: DataSection) -> str:
    """SQL: the text, null where the contract says that it stands for no value."""
    listed = ", ".join(map(literal, ("", *data.nulls)))
    return f"CASE WHEN {text} NOT IN ({listed}) THEN {text} END"


def _casts(place: int, rule: ColumnRule, decimal: str) -> dict[str, str]:
    """SQL by name: `r<place>`, the text as the contract's type as far as DuckDB reads it, and what checks it."""
    text = f"x{place}"
    plain = f"replace({text}, ',', '.')" if decimal == "," else text
    match rule.type:
        case "string":
            return {f"r{place}": text if rule.allowed is None else f"TRY_CAST({text} AS {_enum(rule.allowed)})"}
        case "number":
            return {f"r{place}": f"TRY_CAST({plain} AS DOUBLE)"}
        case "integer":
            return {f"d{place}": f"TRY_CAST({plain} AS DOUBLE)", f"r{place}": f"TRY_CAST({plain} AS BIGINT)"}
        case "boolean":
            return {f"r{place}": f"TRY_CAST(trim({text}) AS BOOLEAN)"}
        case "timestamp" if rule.format:
            return {f"n{place}": f"try_strptime({text}, {literal(rule.format)})"}
        case "timestamp":
            return {f"n{place}": f"TRY_CAST({text} AS TIMESTAMP)"}


def _enum(allowed: Sequence[object]) -> str:
    """SQL: the type of these texts alone. What is cast to it is checked, and written without looking for repetition."""
    return f"ENUM ({', '.join(literal(str(item)) for item in dict.fromkeys(allowed))})"


def _typed_casts(place: int, rule: ColumnRule) -> dict[str, str]:
    """As `_casts`, of what the reader has cast."""
    value = f"x{place}"
    if rule.type == "integer" and _bounded(rule):
        value = f"TRY_CAST({value} AS BIGINT)"
    elif rule.type == "integer":
        beyond = f"error({literal(BEYOND_DOUBLES)})::BIGINT"
        value = f"CASE WHEN abs({value}) >= {_EXACT:.0f} THEN {beyond} ELSE CAST({value} AS BIGINT) END"
    return {f"r{place}": value}


def _typed_mistyped(place: int, rule: ColumnRule) -> str:
    """As `_mistyped`, of what the reader has cast, but for what the bounds refuse anyway: DuckDB sorts NaN last."""
    if rule.type == "number":
        return "false" if _bounded(rule) else f"NOT isfinite(r{place})"
    if rule.type == "integer":
        return f"x{place} {'IS DISTINCT FROM' if _bounded(rule) else '<>'} r{place}"
    return "false"


def _bounded(rule: ColumnRule) -> bool:
    """Whether least and greatest value leave only numbers that DOUBLE tells apart."""
    return rule.min is not None and rule.max is not None and max(-rule.min, rule.max) < _EXACT


def _value(place: int, rule: ColumnRule) -> str:
    """SQL over the casts: the value in UTC if it is a timestamp, else as it was cast."""
    if rule.type != "timestamp":
        return f"r{place}"
    text, naive = f"x{place}", f"n{place}"
    zone = literal(rule.zone or "UTC")
    shifted = f"timezone('UTC', timezone({zone}, {naive}))" if rule.zone not in (None, "UTC") else naive
    if rule.format:
        return f"CASE WHEN {naive} BETWEEN {_FIRST} AND {_LAST} THEN {shifted} END"
    # The first branch is the common spelling, and cheap; zones by way of ICU cost ten times as much.
    return (
        f"CASE WHEN CAST({naive} AS VARCHAR) = {text} AND {naive} BETWEEN {_FIRST} AND {_LAST} THEN {shifted} "
        f"WHEN regexp_full_match(trim({text}), {literal(TIME)}) THEN {shifted} "
        f"WHEN regexp_full_match(trim({text}), {literal(ZONED_TIME)}) "
        f"THEN TRY_CAST(trim({text}) AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END"
    )


def _mistyped(place: int, rule: ColumnRule, decimal: str, *, underscores: bool) -> str:
    """SQL over casts and value `r`: whether the text is not of the contract's type."""
    text, value = f"x{place}", f"r{place}"
    differs = f"({value} IS NULL) <> ({text} IS NULL)"
    signs = ["_"] * underscores + ["."] * (decimal == ",")
    foreign = [f"contains({text}, '{sign}')" for sign in signs]
    match rule.type:
        case "number":
            return " OR ".join((differs, f"NOT isfinite({value})", *foreign))
        case "integer":  # the cast alone would round 1.5 and read 0x1F and 1_000
            return " OR ".join((differs, f"d{place} IS DISTINCT FROM {value}", *foreign))
        case _:
            return differs


@dataclass(frozen=True)
class Plan:
    """A data contract bound to the columns of one file."""

    data: DataSection
    columns: tuple[str, ...]  # of the file, in its order
    underscores: bool = True  # the file may hold some; looking for them in every number costs more than all the rules
    typed: bool = False  # the relation's columns are of the types of `read_as`

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.data.columns)}

    @cached_property
    def _found(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.columns)}

    @property
    def unexpected(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in self._places)

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(name for name in self._places if name not in self._found)

    def accepted_of_lines(self, parts: Sequence[Part], upload_id: str) -> str:
        """SELECT the good rows of a file whose every line is a row, in the contract's types.

        The window that numbers the lines keeps DuckDB from casting again what the filter needs.
        """
        numbered = (
            f"SELECT row_number() OVER () + {part.lines_before} AS line, * FROM ({self._checked(part.scan)})"  # noqa: S608
            for part in parts
        )
        return self._good(" UNION ALL ".join(numbered), upload_id)

    def accepted(self, relation: str, upload_id: str) -> str:
        """SELECT the good rows of a relation with lines, in the contract's types."""
        return self._good(self._checked(relation, "line"), upload_id)

    def bad(self, relation: str) -> str:
        """SELECT the relation's bad rows."""
        texts = ", ".join(("line", "problem", *(f"c{at}" for at in range(len(self.columns)))))
        return f"SELECT {texts} FROM ({self._checked(relation, texts)}) WHERE bad IS TRUE"  # noqa: S608

    def _good(self, checked: str, upload_id: str) -> str:
        values = ", ".join(f"{self._typed(name)} AS {identifier(name)}" for name in self.data.columns)
        # Of an ENUM DuckDB knows the dictionary: hashing the same text for every row costs more than any other column.
        upload = f"{literal(upload_id)}::{_enum([upload_id])}"
        own = f"{upload} AS ratchet_upload, line AS ratchet_line, {self._bucket()} AS ratchet_bucket"
        return f"SELECT {values}, {own} FROM ({checked}) WHERE bad IS NOT TRUE"  # noqa: S608

    def _checked(self, relation: str, kept: str = "") -> str:
        """The typed columns `r0`, … and `bad`: whether any row rule is broken, null or false when none is."""
        with_line = bool(kept)
        rules = [rule.broken for rule in self._row_rules()]
        broken = " OR ".join(f"({each})" for each in (["problem IS NOT NULL"] if with_line else []) + rules)
        values = [f"r{place}" for place, _, _ in self._present()]
        selected = ", ".join([*([kept] if kept else []), *values, f"{broken or 'false'} AS bad"])
        return f"SELECT {selected} FROM ({self._cast(relation)})"  # noqa: S608

    def _cast(self, relation: str, text: str = "c{}") -> str:
        """The relation with each known column's text `x` and value `r`: DuckDB computes a column once for all uses."""
        texts = "".join(f", {text.format(at)} AS x{place}" for place, at, _ in self._present())
        casts: dict[str, str] = {}
        for place, _, rule in self._present():
            ready = self.typed and rule.type in _READ_AS
            casts |= _typed_casts(place, rule) if ready else _casts(place, rule, self.data.decimal)
        cast = "".join(f", {sql} AS {name}" for name, sql in casts.items())
        values = "".join(
            f", {_value(place, rule)} AS r{place}" for place, _, rule in self._present() if f"r{place}" not in casts
        )
        read = f"SELECT *{texts} FROM ({relation})"  # noqa: S608
        once = f"SELECT *{cast} FROM ({read})"  # noqa: S608
        return f"SELECT *{values} FROM ({once})" if values else once  # noqa: S608

    def rules(self) -> tuple[Rule, ...]:
        """Every rule a row of this file can break, in the contract's order."""
        shape = Rule(None, "shape", "as many values as the header names", "problem IS NOT NULL", "problem")
        return (shape, *self._row_rules(), *self._set_rules())

    def judged(self, relation: str) -> str:
        """SELECT of bad rows, with the columns `repeats` and `precedes` of `violations`, every rule they break."""
        rules = self.rules()
        cast = self._cast(relation, "CASE WHEN problem IS NULL THEN c{} END")
        # A value of the wrong type breaks that rule alone.
        replaced = ", ".join(
            f"CASE WHEN NOT ({self._wrong(place, rule)}) THEN r{place} END AS r{place}"
            for place, _, rule in self._present()
        )
        wrong = "".join(f", {self._wrong(place, rule)} AS t{place}" for place, _, rule in self._present())
        typed = f"SELECT * REPLACE ({replaced}){wrong} FROM ({cast})" if replaced else cast  # noqa: S608
        flags = ", ".join(
            f"{f't{self._places[rule.column]}' if rule.name == 'type' and rule.column else rule.broken} AS b{index}"
            for index, rule in enumerate(rules)
        )
        numbers = ", ".join(f"CASE WHEN b{index} THEN {index} END" for index in range(len(rules)))
        reasons = ", ".join(f"CASE WHEN b{index} THEN {rule.reason} END" for index, rule in enumerate(rules))
        texts = "".join(f", c{at}" for at in range(len(self.columns)))
        return (
            f"SELECT line{texts}, list_filter([{numbers}], lambda x: x IS NOT NULL) AS broken, "  # noqa: S608
            f"list_filter([{reasons}], lambda x: x IS NOT NULL) AS reasons FROM (SELECT *, {flags} FROM ({typed}))"
        )

    def quarantine(self, judged: str) -> str:
        """SELECT the bad rows as the file has them, each with its reasons."""
        names = (f"source_{name}" if name.lower().startswith("ratchet_") else name for name in self.columns)
        values = "".join(f"c{at} AS {identifier(name)}, " for at, name in enumerate(names))
        return f"SELECT {values}line AS ratchet_line, reasons AS ratchet_reasons FROM {judged} ORDER BY line"  # noqa: S608

    def repeated_keys(self, accepted: str) -> str:
        """SELECT each accepted row whose key an earlier one has: its line and that of the first."""
        keys = ", ".join(map(identifier, self.data.key))
        firsts = f"SELECT {keys}, min(ratchet_line) AS first FROM {accepted} GROUP BY {keys} HAVING count(*) > 1"  # noqa: S608
        return (
            f"SELECT ratchet_line AS line, first FROM {accepted} JOIN ({firsts}) USING ({keys}) "  # noqa: S608
            "WHERE ratchet_line <> first"
        )

    def out_of_order(self, accepted: str) -> str:
        """SELECT each accepted row that is older than the accepted row before it: its line and the other's."""
        time = identifier(self.data.timestamp or "")
        series = [identifier(name) for name in self.data.key if name != self.data.timestamp]
        window = f"({'PARTITION BY ' + ', '.join(series) if series else ''} ORDER BY ratchet_line)"
        before = f"lag({time}) OVER {window} AS last, lag(ratchet_line) OVER {window} AS first"
        rows = f"SELECT ratchet_line AS line, {time} AS now, {before} FROM {accepted}"  # noqa: S608
        return f"SELECT line, first FROM ({rows}) WHERE now < last"  # noqa: S608

    def _present(self) -> Iterator[tuple[int, int, ColumnRule]]:
        """Of each column of the contract that the file has: its place in the contract, in the file, and its rule."""
        for place, (name, rule) in enumerate(self.data.columns.items()):
            if name in self._found:
                yield place, self._found[name], rule

    def _row_rules(self) -> Iterator[Rule]:
        names, needed = list(self.data.columns), set(needed_columns(self.data))
        for place, _, rule in self._present():
            mistyped = self._wrong(place, rule)
            yield from _column_rules(
                names[place], place, rule, mistyped, self.data.decimal, needed=names[place] in needed
            )
        for text, each in zip(self.data.compare, self.data.comparisons, strict=True):
            if {each.left, each.right} <= self._found.keys():
                left, right = self._places[each.left], self._places[each.right]
                # As values an ENUM's texts have another order.
                form = "x" if self.data.columns[each.left].type == "string" else "r"
                shown = (
                    literal(f"{each.left} "),
                    _quoted(f"x{left}"),
                    literal(f" and {each.right} "),
                    _quoted(f"x{right}"),
                )
                yield Rule(
                    column=each.left,
                    name="compare",
                    expects=f"such that {text}",
                    broken=f"{form}{left} {_BROKEN_BY[each.operator]} {form}{right}",
                    reason=" || ".join((*shown, literal(f" are not such that {text}"))),
                    columns=(each.left, each.right),
                )

    def _set_rules(self) -> Iterator[Rule]:
        if self.data.unique:
            named = " and ".join(self.data.key)
            yield Rule(
                column=self.data.key[0],
                name="unique",
                expects=f"unique by {named}",
                broken="repeats IS NOT NULL",
                reason=f"{literal(f'{named} repeats the key of line ')} || repeats",
                columns=self.data.key,
            )
        if self.data.order and self.data.timestamp:
            yield Rule(
                column=self.data.timestamp,
                name="order",
                expects="in ascending order",
                broken="precedes IS NOT NULL",
                reason=f"{literal(f'{self.data.timestamp} is before that of line ')} || precedes",
                columns=(self.data.timestamp,),
            )

    def _wrong(self, place: int, rule: ColumnRule) -> str:
        if self.typed and rule.type in _READ_AS:
            return _typed_mistyped(place, rule)
        return _mistyped(place, rule, self.data.decimal, underscores=self.underscores)

    def _typed(self, name: str) -> str:
        if name not in self._found:
            return f"CAST(NULL AS {SQL_TYPES[self.data.columns[name].type]})"
        return f"r{self._places[name]}"

    def _bucket(self) -> str:
        """MD5's first 32 bits: the same on every machine, and of the value, not of how a file spells it.

        Null in a time series, whose holdout is its newest rows: hashing costs as much as all the rules.
        """
        if self.data.timestamp:
            return "CAST(NULL AS INTEGER)"
        names = self.data.key or tuple(self.data.columns)
        parts = ", ".join(f"coalesce(CAST({self._typed(name)} AS VARCHAR), '')" for name in names)
        return f"CAST(CAST('0x' || left(md5(concat_ws(chr(31), {parts})), 8) AS BIGINT) % {BUCKETS} AS INTEGER)"


def _column_rules(
    name: str, place: int, rule: ColumnRule, mistyped: str, decimal: str, *, needed: bool
) -> Iterator[Rule]:
    text, value = f"x{place}", f"r{place}"

    def broken_by(check: str, expects: str, broken: str, says: str) -> Rule:
        reason = literal(f"{name} {says}") if check == "required" else _says(name, text, says)
        return Rule(name, check, expects, broken, reason, (name,))

    if needed:
        yield broken_by("required", "a value in every row", f"problem IS NULL AND {text} IS NULL", "is empty")
    if rule.type != "string":
        kind = f"a date and time as {rule.format}" if rule.format else EXPECTS[rule.type]
        kind = kind.replace("3.5", f"3{decimal}5")
        yield broken_by("type", kind, mistyped, f"is not {kind}")
    for bound, sign, least in (("min", "<", "at least"), ("max", ">", "at most")):
        limit = getattr(rule, bound)
        if limit is not None:
            whole = rule.type == "integer" and limit == int(limit) and abs(limit) < _EXACT
            number = str(int(limit)) if whole else f"{limit!r}::DOUBLE"
            says = "is below" if bound == "min" else "is above"
            yield broken_by(bound, f"{least} {limit:g}", f"{value} {sign} {number}", f"{says} {limit:g}")
    if rule.allowed is not None:
        broken = f"{value} NOT IN ({', '.join(map(repr, rule.allowed))})"
        if rule.type == "string":
            broken = f"({value} IS NULL) <> ({text} IS NULL)"
        yield broken_by("allowed", f"one of {_list([str(item) for item in rule.allowed])}", broken, "is not allowed")
    if rule.pattern is not None:
        broken = f"NOT regexp_full_match({text}, {literal(rule.pattern)})"
        yield broken_by("pattern", f"text matching {rule.pattern}", broken, f"does not match {rule.pattern}")
    for bound, sign, says in (("min_length", "<", "shorter"), ("max_length", ">", "longer")):
        size = getattr(rule, bound)
        if size is not None:
            expects = f"{'at least' if bound == 'min_length' else 'at most'} {size} characters long"
            yield broken_by(bound, expects, f"length({text}) {sign} {size}", f"is {says} than {size} characters")


def _says(column: str, text: str, says: str) -> str:
    return f"{literal(f'{column} ')} || {_quoted(text)} || {literal(f' {says}')}"


def _quoted(text: str) -> str:
    return f"'\"' || CASE WHEN length({text}) > {_SHOWN} THEN left({text}, {_SHOWN}) || '…' ELSE {text} END || '\"'"


def _list(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_LISTED])
    return f"{shown} and {len(items) - _LISTED} more" if len(items) > _LISTED else shown
