"""Each format as relations of text that `domain.contract_sql` reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ratchet.adapters import csv_file
from ratchet.adapters.csv_file import Header, Rewritten, check_columns
from ratchet.adapters.csv_look import CHUNK
from ratchet.adapters.csv_shape import MAX_VALUE, Piece, Shape, measure
from ratchet.adapters.upload_file import FileRejected, check_text
from ratchet.domain import file_findings
from ratchet.domain.contract_sql import Part, Unit, identifier, literal, needed_columns, no_value, read_as
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import ValidationBrokenError
from ratchet.domain.profiling import SAMPLE_ROWS
from ratchet.domain.validation import Reading

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PIECE = 64 << 20  # bytes; a smaller file is not worth cutting
_JSON_LINE = 16 << 20  # bytes
_MAX_JSON_KEYS = 500
_NESTED = ("STRUCT", "MAP", "UNION", "BLOB", "VARIANT", "GEOMETRY")


class Relation(NamedTuple):
    """Rows that say themselves where they stand, as SQL, and how many there are."""

    sql: str
    rows: int


class Scans(NamedTuple):
    """Ways to read all of a file's lines, and a sample of them."""

    parts: tuple[Part, ...]
    sample: tuple[Part, ...]  # none where there are few lines, or a single piece


class Lines(NamedTuple):
    """A CSV file whose every line is a row, unless DuckDB finds otherwise."""

    text: Scans
    typed: Scans | None  # for a typed plan; none where the reader's casts would allow more than ours
    pieces: tuple[Piece, ...]
    rows: int
    counted: bool  # the rows need to be counted: a quoted value might hold a line's end
    underscores: bool  # there are some: a number may not have them
    exact: Callable[[], Relation]  # the same rows by way of the exact reader
    pick: Callable[[Iterator[tuple[int, int]]], Relation]  # the rows in some ranges of lines


class Source(NamedTuple):
    """A file's columns and rows."""

    columns: tuple[str, ...]
    rows: Lines | Relation
    unit: Unit
    reading: Reading


def text_source(
    connection: "DuckDBPyConnection", file: Path, data: DataSection, reading: Reading, threads: int
) -> Source:
    """CSV or JSON Lines in UTF-8. Raises FileRejected."""
    if data.format == "jsonl":
        check_text(file, data)
        return _jsonl(connection, file, data, reading)
    return _csv(connection, file, data, reading, threads)


def _csv(connection: "DuckDBPyConnection", file: Path, data: DataSection, reading: Reading, threads: int) -> Source:
    header = csv_file.read_header(file, data)
    pieces = threads if file.stat().st_size > _PIECE else 1
    shape = measure(file, data, file.parent, pieces, after=header.lines, delimiter=header.delimiter)
    found = [*reading.detected, *(["delimiter"] if header.detected else [])]
    if header.line is not None and header.line != data.skip_lines + 1:
        found.append("header_line")
    reading = reading.model_copy(
        update={"delimiter": header.delimiter, "header_line": header.line, "detected": tuple(found)}
    )

    def exact() -> Relation:
        rewritten = csv_file.rewrite_all(file, header, shape, file.parent)
        relation = _rewritten(rewritten, header, data)
        (count,) = connection.execute(f"SELECT count(*) FROM ({relation})").fetchone() or (0,)  # noqa: S608
        if count != rewritten.rows:
            raise ValidationBrokenError(f"{rewritten.rows} records were written for DuckDB, {count} came back")
        return Relation(relation, count)

    def pick(wanted: Iterator[tuple[int, int]]) -> Relation:
        rewritten = csv_file.rewrite_lines(shape, header, wanted, file.parent)
        return Relation(_rewritten(rewritten, header, data), rewritten.rows)

    if shape.spaced_quotes or shape.lone_returns or len(header.columns) < 2 or not shape.pieces:
        return Source(header.columns, exact(), "line", reading)
    kinds = read_as(data, header.columns)
    ours = shape.underscores or shape.double_signs or data.decimal == ","
    lines = Lines(
        text=_scans(shape, header, data, ["VARCHAR"] * len(kinds)),
        typed=None if ours else _scans(shape, header, data, kinds),
        pieces=shape.pieces,
        rows=sum(piece.lines for piece in shape.pieces),
        counted=shape.quotes,
        underscores=shape.underscores,
        exact=exact,
        pick=pick,
    )
    return Source(header.columns, lines, "line", reading)


def _scans(shape: Shape, header: Header, data: DataSection, kinds: Sequence[str]) -> Scans:
    columns = dict(zip(_column_names(len(kinds)), kinds, strict=True))

    def part(path: Path, lines_before: int) -> Part:
        scan = _csv_scan(path, columns, header.delimiter, data)
        return Part(f"SELECT NULL::VARCHAR AS problem, * FROM {scan}", lines_before)  # noqa: S608

    pieces = shape.pieces
    many = len(pieces) > 1 and sum(piece.lines for piece in pieces) > 2 * SAMPLE_ROWS
    return Scans(
        parts=tuple(part(piece.path, piece.lines_before) for piece in pieces),
        sample=tuple(part(piece.sample, piece.lines_before) for piece in pieces if many),
    )


def _rewritten(rewritten: Rewritten, header: Header, data: DataSection) -> str:
    names = _column_names(len(header.columns))
    paths = ", ".join(f"'/{place}'" for place in range(len(names) + 2))
    values = ", ".join(f"{no_value(f'found[{place + 3}]', data)} AS c{place}" for place in range(len(names)))
    texts = dict.fromkeys(["line", *names], "VARCHAR")
    return (
        f"SELECT line::BIGINT AS line, NULL::VARCHAR AS problem, {', '.join(names)} "  # noqa: S608
        f"FROM {_csv_scan(rewritten.plain, texts, header.delimiter, data)} UNION ALL "
        f"SELECT found[1]::BIGINT, nullif(found[2], ''), {values} "
        f"FROM (SELECT json_extract_string(text, [{paths}]) AS found FROM {_line_scan(rewritten.odd)})"
    )


def _jsonl(connection: "DuckDBPyConnection", file: Path, data: DataSection, reading: Reading) -> Source:
    from duckdb import InvalidInputException  # noqa: PLC0415

    lines = (
        "SELECT *, CASE WHEN json_valid(text) THEN json_type(text) = 'OBJECT' ELSE false END AS is_object "  # noqa: S608
        f"FROM (SELECT row_number() OVER () AS line, text FROM {_line_scan(file)}) WHERE trim(text) <> ''"
    )
    try:
        keys = connection.execute(
            f"SELECT DISTINCT unnest(json_keys(text)) FROM ({lines}) WHERE is_object LIMIT {_MAX_JSON_KEYS}"  # noqa: S608
        ).fetchall()
        (rows,) = connection.execute(f"SELECT count(*) FROM ({lines})").fetchone() or (0,)  # noqa: S608
    except InvalidInputException as error:
        if long := _long_line(file):
            raise FileRejected(file_findings.too_long_line(long, _JSON_LINE)) from error
        raise FileRejected(file_findings.damaged("JSON Lines", first_line(error))) from error
    found = {name for (name,) in keys}
    columns = (*(name for name in data.columns if name in found), *sorted(found - data.columns.keys()))
    check_columns(columns, needed_columns(data), "row")
    known = _json_paths([name for name in columns if name in data.columns])
    values = ", ".join(f"{no_value(f'found[{index + 1}]', data)} AS c{index}" for index in range(len(columns)))
    relation = (
        "SELECT line, CASE WHEN NOT is_object THEN 'the line is not a JSON object' "  # noqa: S608
        f"WHEN list_has_any(json_type(text, {known}), ['OBJECT', 'ARRAY']) "
        f"THEN 'the line has an object or a list where a plain value belongs' END AS problem, {values} "
        f"FROM (SELECT *, CASE WHEN is_object THEN json_extract_string(text, {_json_paths(columns)}) END AS found "
        f"FROM ({lines}))"
    )
    return Source(columns, Relation(relation, rows), "line", reading)


def parquet_source(connection: "DuckDBPyConnection", file: Path, data: DataSection, reading: Reading) -> Source:
    """Parquet of plain columns. Raises FileRejected."""
    from duckdb import Error, OutOfMemoryException  # noqa: PLC0415

    scan = f"read_parquet({literal(str(file))}, file_row_number=true)"
    try:
        described = connection.execute(f"DESCRIBE FROM read_parquet({literal(str(file))})").fetchall()
        kinds = {str(name): str(kind) for name, kind, *_ in described}
        check_columns(kinds, needed_columns(data), "row")
        (rows,) = connection.execute(f"SELECT count(*) FROM {scan}").fetchone() or (0,)  # noqa: S608
    except OutOfMemoryException:
        raise
    except Error as error:
        raise FileRejected(file_findings.damaged("Parquet", first_line(error))) from error
    nested = [
        name for name in data.columns if kinds.get(name, "").startswith(_NESTED) or kinds.get(name, "")[-1:] == "]"
    ]
    if nested:
        raise FileRejected(file_findings.nested_columns(nested))
    values = ", ".join(f"{_as_text(name, kind, data)} AS c{at}" for at, (name, kind) in enumerate(kinds.items()))
    relation = f"SELECT file_row_number + 1 AS line, NULL::VARCHAR AS problem, {values} FROM {scan}"  # noqa: S608
    return Source(tuple(kinds), Relation(relation, rows), "row", reading)


def _line_scan(file: Path) -> str:
    """Every line of a JSON Lines file as `text`: the CSV reader with a delimiter that is never in valid JSON."""
    return (
        f"read_csv({literal(str(file))}, auto_detect=false, header=false, columns={{'text': 'VARCHAR'}}, delim='\x01', "
        f"quote='', escape='', nullstr='', strict_mode=false, max_line_size={_JSON_LINE})"
    )


def _csv_scan(file: Path, columns: Mapping[str, str], delimiter: str, data: DataSection) -> str:
    schema = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    longest = MAX_VALUE + 100  # the line's number may stand before it
    nulls = ", ".join(map(literal, ("", *data.nulls)))
    return (
        f"read_csv({literal(str(file))}, auto_detect=false, header=false, columns={{{schema}}}, "
        f"delim={literal(delimiter)}, quote='\"', escape='\"', nullstr=[{nulls}], max_line_size={longest})"
    )


def _column_names(count: int) -> list[str]:
    return [f"c{place}" for place in range(count)]


def _as_text(name: str, kind: str, data: DataSection) -> str:
    column = identifier(name)
    rule = data.columns.get(name)
    if kind in ("FLOAT", "DOUBLE"):  # other tools write their nulls as NaN
        text = f"CASE WHEN NOT isnan({column}) THEN CAST({column} AS VARCHAR) END"
    elif kind == "TIMESTAMP WITH TIME ZONE":
        text = f"CAST({column} AT TIME ZONE 'UTC' AS VARCHAR)"
    else:
        text = f"CAST({column} AS VARCHAR)"
    if data.decimal == "," and rule is not None and rule.type in ("number", "integer") and kind != "VARCHAR":
        text = f"replace({text}, '.', ',')"
    return no_value(text, data)


def _json_paths(names: Sequence[str]) -> str:
    pointers = ("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    return f"[{', '.join(map(literal, pointers))}]"


def _long_line(file: Path) -> int | None:
    """The first line that is too long for one JSON object."""
    line, length = 1, 0
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            first, *rest = chunk.split(b"\n")
            for piece in (first, *rest):
                length = length + len(piece) if piece is first else len(piece)
                line += piece is not first
                if length > _JSON_LINE:
                    return line
    return None


def first_line(error: Exception) -> str:
    """The first line of what DuckDB says."""
    return str(error).splitlines()[0]
