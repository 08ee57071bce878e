"""Validation's engine: DuckDB reads the file in parallel and out of memory, and runs the contract's SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, Any, Literal

from ratchet.adapters import upload_file
from ratchet.adapters.duckdb_connection import connection_in
from ratchet.adapters.upload_file import FileRejected
from ratchet.domain import file_findings
from ratchet.domain.definition import DataSection
from ratchet.domain.errors import ValidationBrokenError
from ratchet.domain.validation import BadRow, Judgement, Plan, identifier, judge, literal, needed_columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_JSON_LINE = 16 << 20  # bytes
_MAX_JSON_KEYS = 500
_FILES_AT_ONCE = 3  # unpacked, rewritten line by line, and as Parquet
_NESTED = ("STRUCT", "MAP", "UNION", "BLOB", "VARIANT", "GEOMETRY")


@dataclass(frozen=True)
class _Source:
    """The file as a relation of text, as `domain.validation` describes it."""

    columns: tuple[str, ...]
    relation: str
    unit: Literal["line", "row"]


class DuckDbValidator:
    """Judges files against data contracts; writes accepted and quarantined rows beside them as Parquet."""

    def __init__(self, memory_mb: int = 2048, threads: int | None = None) -> None:
        """`memory_mb` is the whole process's."""
        self._memory_mb, self._threads = memory_mb, threads

    def __call__(self, file: Path, data: DataSection, upload_id: str) -> Judgement:
        """Judges `file`, alone in its folder. Unless rejected, `accepted.parquet` then lies beside it, and
        `quarantine.parquet` when it has bad rows; both in the file's order but for records that span lines."""
        folder = file.parent
        try:
            plain = upload_file.unpack(file, folder / "unpacked", limit=disk_usage(folder).free // _FILES_AT_ONCE)
            upload_file.recognise(plain, data.format)
            with connection_in(folder, self._memory_mb, self._threads) as connection:
                return _judge(connection, plain, data, upload_id)
        except FileRejected as rejected:
            return Judgement(finding=rejected.finding)


def _judge(connection: "DuckDBPyConnection", file: Path, data: DataSection, upload_id: str) -> Judgement:
    source, counts = _READERS[data.format](connection, file, data)
    plan = Plan(data, source.columns)
    firsts, examples = (), []
    if counts[1]:
        firsts = _row(connection, plan.first_lines(source.relation))
        examples = _examples(connection, plan, source.relation)
    judgement = judge(plan, source.unit, counts, firsts, examples)
    if judgement.finding is None:
        accepted = plan.accepted(source.relation, upload_id, all_good=judgement.bad_rows == 0)
        _copy(connection, accepted, file.parent / "accepted.parquet")
        if judgement.bad_rows:
            _copy(connection, plan.quarantine(source.relation), file.parent / "quarantine.parquet")
    return judgement


def _csv(connection: "DuckDBPyConnection", file: Path, data: DataSection) -> tuple[_Source, tuple[int, ...]]:
    """Reads the file directly when each of its lines is one record, by way of the exact reader otherwise."""
    from duckdb import InvalidInputException  # noqa: PLC0415

    header = upload_file.read_header(file, data)
    columns = _named(header.values)
    upload_file.check_columns(header.values, needed_columns(data), "line")
    shape = upload_file.measure(file, data.delimiter)
    if header.line == 1 and len(columns) > 1 and not shape.spaced_quotes:
        scan = _csv_scan(file, _column_names(len(columns)), data.delimiter, header=True)
        numbered = f"SELECT row_number() OVER () + 1 AS line, NULL::VARCHAR AS problem, * FROM {scan}"  # noqa: S608
        source = _Source(columns, numbered, "line")
        try:
            counts = _row(connection, Plan(data, columns).counting(source.relation))
        except InvalidInputException:  # a ragged line, a stray quote, another encoding: the exact reader says which
            counts = (-1,)
        if counts[0] == shape.lines - 1:
            return source, counts
    return _exact_csv(connection, file, data, columns, shape)


def _exact_csv(
    connection: "DuckDBPyConnection",
    file: Path,
    data: DataSection,
    columns: tuple[str, ...],
    shape: upload_file.CsvShape,
) -> tuple[_Source, tuple[int, ...]]:
    plain, odd = file.parent / "plain.csv", file.parent / "odd.jsonl"
    try:
        written = upload_file.rewrite(file, len(columns), shape, data.delimiter, file.parent)
    except UnicodeDecodeError as error:
        finding = upload_file.not_utf8(file)
        if finding is None:
            raise
        raise FileRejected(finding) from error
    paths = ", ".join(f"'/{place}'" for place in range(len(columns) + 2))
    values = ", ".join(f"nullif(found[{place + 3}], '') AS c{place}" for place in range(len(columns)))
    names = _column_names(len(columns))
    source = _Source(
        columns,
        f"SELECT line::BIGINT AS line, NULL::VARCHAR AS problem, {', '.join(names)} "  # noqa: S608
        f"FROM {_csv_scan(plain, ['line', *names], data.delimiter, header=False)} UNION ALL "
        f"SELECT found[1]::BIGINT, nullif(found[2], ''), {values} "
        f"FROM (SELECT json_extract_string(text, [{paths}]) AS found FROM {_line_scan(odd)})",
        "line",
    )
    counts = _row(connection, Plan(data, columns).counting(source.relation))
    if counts[0] != written:
        raise ValidationBrokenError(f"{written} records were written for DuckDB, {counts[0]} came back")
    return source, counts


def _jsonl(connection: "DuckDBPyConnection", file: Path, data: DataSection) -> tuple[_Source, tuple[int, ...]]:
    from duckdb import InvalidInputException  # noqa: PLC0415

    lines = (
        "SELECT *, CASE WHEN json_valid(text) THEN json_type(text) = 'OBJECT' ELSE false END AS is_object "  # noqa: S608
        f"FROM (SELECT row_number() OVER () AS line, text FROM {_line_scan(file)}) WHERE trim(text) <> ''"
    )
    try:
        keys = connection.execute(
            f"SELECT DISTINCT unnest(json_keys(text)) FROM ({lines}) WHERE is_object LIMIT {_MAX_JSON_KEYS}"  # noqa: S608
        ).fetchall()
    except InvalidInputException as error:
        finding = upload_file.not_utf8(file) or file_findings.damaged("JSON Lines", _first_line(error))
        raise FileRejected(finding) from error
    found = {name for (name,) in keys}
    columns = (*(name for name in data.columns if name in found), *sorted(found - data.columns.keys()))
    upload_file.check_columns(columns, needed_columns(data), "row")
    known = _json_paths([name for name in columns if name in data.columns])
    values = ", ".join(f"nullif(found[{index + 1}], '') AS c{index}" for index in range(len(columns)))
    relation = (
        "SELECT line, CASE WHEN NOT is_object THEN 'the line is not a JSON object' "  # noqa: S608
        f"WHEN list_has_any(json_type(text, {known}), ['OBJECT', 'ARRAY']) "
        f"THEN 'the line has an object or a list where a plain value belongs' END AS problem, {values} "
        f"FROM (SELECT *, CASE WHEN is_object THEN json_extract_string(text, {_json_paths(columns)}) END AS found "
        f"FROM ({lines}))"
    )
    return _Source(columns, relation, "line"), _row(connection, Plan(data, columns).counting(relation))


def _parquet(connection: "DuckDBPyConnection", file: Path, data: DataSection) -> tuple[_Source, tuple[int, ...]]:
    from duckdb import Error, OutOfMemoryException  # noqa: PLC0415

    scan = f"read_parquet({literal(str(file))}, file_row_number=true)"
    try:
        described = connection.execute(f"DESCRIBE FROM read_parquet({literal(str(file))})").fetchall()
        kinds = {str(name): str(kind) for name, kind, *_ in described}
        columns = tuple(kinds)
        upload_file.check_columns(columns, needed_columns(data), "row")
        if nested := [
            name
            for name in data.columns
            if kinds.get(name, "").startswith(_NESTED) or kinds.get(name, "").endswith("]")
        ]:
            raise FileRejected(file_findings.nested_columns(nested))
        values = ", ".join(f"{_as_text(name, kind)} AS c{index}" for index, (name, kind) in enumerate(kinds.items()))
        relation = f"SELECT file_row_number + 1 AS line, NULL::VARCHAR AS problem, {values} FROM {scan}"  # noqa: S608
        return _Source(columns, relation, "row"), _row(connection, Plan(data, columns).counting(relation))
    except OutOfMemoryException:
        raise
    except Error as error:
        raise FileRejected(file_findings.damaged("Parquet", _first_line(error))) from error


_READERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}


def _line_scan(file: Path) -> str:
    """Every line of a JSON Lines file as `text`: the CSV reader with a delimiter that is never in valid JSON."""
    return (
        f"read_csv({literal(str(file))}, auto_detect=false, header=false, columns={{'text': 'VARCHAR'}}, delim='\x01', "
        f"quote='', escape='', nullstr='', strict_mode=false, max_line_size={_JSON_LINE})"
    )


def _csv_scan(file: Path, columns: Sequence[str], delimiter: str, *, header: bool) -> str:
    schema = ", ".join(f"'{name}': 'VARCHAR'" for name in columns)
    longest = upload_file.MAX_VALUE + 100  # the line's number may stand before it
    return (
        f"read_csv({literal(str(file))}, auto_detect=false, header={str(header).lower()}, columns={{{schema}}}, "
        f"delim={literal(delimiter)}, quote='\"', escape='\"', nullstr='', max_line_size={longest})"
    )


def _column_names(count: int) -> list[str]:
    return [f"c{place}" for place in range(count)]


def _as_text(name: str, kind: str) -> str:
    column = identifier(name)
    if kind in ("FLOAT", "DOUBLE"):  # other tools write their nulls as NaN
        return f"CASE WHEN NOT isnan({column}) THEN CAST({column} AS VARCHAR) END"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"CAST({column} AT TIME ZONE 'UTC' AS VARCHAR)"
    return f"nullif(CAST({column} AS VARCHAR), '')"


def _json_paths(names: Sequence[str]) -> str:
    pointers = ("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    return f"[{', '.join(map(literal, pointers))}]"


def _named(header: Sequence[str]) -> tuple[str, ...]:
    """Every column with a name: a nameless one (a delimiter at the line's end, a row index) by its place."""
    return tuple(name or f"column {place}" for place, name in enumerate(header, start=1))


def _examples(connection: "DuckDBPyConnection", plan: Plan, relation: str) -> list[BadRow]:
    rules = plan.rules()
    return [
        BadRow(
            line=line,
            columns=tuple(dict.fromkeys(name for index in broken if (name := rules[index].column) is not None)),
            reasons=tuple(reasons),
        )
        for line, broken, reasons in connection.execute(plan.examples(relation)).fetchall()
    ]


def _row(connection: "DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  (an aggregate without GROUP BY always has one row)
    return tuple(row)


def _copy(connection: "DuckDBPyConnection", query: str, into: Path) -> None:
    connection.execute(f"COPY ({query}) TO {literal(str(into))} (FORMAT parquet, COMPRESSION zstd)")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
