"""An uploaded file before its rows are judged: unpacked, recognised by content, and its CSV lines counted."""

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TextIO

from ratchet.contracts.base import Finding
from ratchet.domain import file_findings
from ratchet.domain.definition import DataSection

_CHUNK = 1 << 20
_HEAD = 1 << 16
# Longer values are refused rather than held in memory: an unclosed quote would swallow the rest of the file.
MAX_VALUE = 131_072
LONGEST_LINE = 16 * MAX_VALUE

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (_PARQUET, "a Parquet file"),
    (_GZIP, "a gzip file inside a gzip file"),
    (b"%PDF", "a PDF document"),
    (b"BZh", "a bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow (Feather) file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)


class FileRejected(Exception):  # noqa: N818  (an answer on its way to a verdict, not an error)
    """The file as a whole cannot be judged by rows; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


def unpack(path: Path, into: Path, limit: int) -> Path:
    """The file itself, or what a gzip file holds, written to `into`; at most `limit` bytes."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    if not packed:
        if path.stat().st_size > limit:
            raise FileRejected(file_findings.too_large(path.stat().st_size, limit))
        return path
    try:
        with gzip.open(path) as source, into.open("wb") as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                if target.tell() > limit:
                    raise FileRejected(file_findings.too_large(target.tell(), limit))
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise FileRejected(file_findings.damaged("gzip", str(error))) from error
    return into


def recognise(path: Path, expected: str) -> None:
    """Refuses what is plainly not the contract's format, whatever its name."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise FileRejected(file_findings.empty())
    if expected == "parquet":
        if not head.startswith(_PARQUET):
            raise FileRejected(file_findings.not_the_format(expected, _kind(head) or "something else"))
        return
    if wide := _wide_encoding(head):
        raise FileRejected(file_findings.not_utf8(None, wide))
    kind = _kind(head)
    if expected == "csv" and re.match(rb"\s*(\{\s*\"|\[\s*[\{\[])", head):
        kind = "JSON"
    if expected == "jsonl" and head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
        kind = "one JSON list, not one object a line"
    if kind:
        raise FileRejected(file_findings.not_the_format(expected, kind))


def not_utf8(path: Path) -> Finding | None:
    """The first line that is no UTF-8, with the likeliest encoding; None if all of it is."""
    decoder, lines, chunk = codecs.getincrementaldecoder("utf-8")(), 1, b"first"
    with path.open("rb") as file:
        while chunk:
            chunk = file.read(_CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line = lines + error.object.count(b"\n", 0, error.start)
                return file_findings.not_utf8(line, _narrow_encoding(error))
            lines += chunk.count(b"\n")
    return None


class CsvShape(NamedTuple):
    """What one pass over the bytes tells of a CSV file."""

    lines: int  # without empty ones at the end
    spaced_quotes: bool  # perhaps a quote after a delimiter and spaces: `1, "a,b"`


def measure(path: Path, delimiter: str) -> CsvShape:
    """Counts the lines as an editor does (\\n, \\r\\n and \\r end one)."""
    spaced = re.compile(re.escape(delimiter).encode() + rb' +"')
    lines, spaced_quotes, ends_with_cr, trailing, last = 0, False, False, 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
            lines -= ends_with_cr and chunk.startswith(b"\n")
            ends_with_cr = chunk.endswith(b"\r")
            spaced_quotes = spaced_quotes or (b'"' in chunk and spaced.search(chunk) is not None)
            last = (last + chunk)[-_HEAD:]
    ending = last[len(last.rstrip(b"\r\n")) :]
    trailing = ending.count(b"\n") + ending.count(b"\r") - ending.count(b"\r\n")
    return CsvShape(lines - trailing + 1, spaced_quotes)


class Record(NamedTuple):
    """One CSV record; `problem` says why it is no row."""

    line: int  # where it starts
    values: list[str]
    problem: str = ""
    text: str = ""  # the line itself, if it holds the whole record


def read_header(path: Path, data: DataSection) -> Record:
    """The first line that is not blank, as column names, checked against the contract."""
    try:
        header = next(records(path, data.delimiter, skip_spaces=True), None)
    except UnicodeDecodeError:
        raise FileRejected(not_utf8(path) or file_findings.empty()) from None
    if header is None:
        raise FileRejected(file_findings.empty())
    if header.problem:
        raise FileRejected(file_findings.damaged("CSV", f"the header in line {header.line} {header.problem}"))
    if len(header.values) == 1 and (other := _other_delimiter(header.values[0], data)):
        raise FileRejected(file_findings.other_delimiter(data.delimiter, other))
    return header._replace(values=[name.strip() for name in header.values])


def check_columns(columns: Iterable[str], needed: Iterable[str], unit: str) -> None:
    """Refuses a file whose columns are ambiguous or not enough."""
    found = list(columns)
    folded = [name.casefold() for name in found]
    if repeated := sorted({name for name in found if name and folded.count(name.casefold()) > 1}):
        raise FileRejected(file_findings.duplicate_columns(repeated))
    if missing := [name for name in needed if name not in found]:
        raise FileRejected(file_findings.missing_columns(missing, [name for name in found if name], unit))


def records(path: Path, delimiter: str, *, skip_spaces: bool) -> Iterator[Record]:
    """Every record of a CSV file with the line it starts in, blank lines left out. Raises UnicodeDecodeError.

    The exact reader, and a slow one: a few hundred thousand lines a second.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _Lines(file)
        for text in lines:
            start, body = lines.number, text.rstrip("\r\n")
            if '"' not in body and not skip_spaces and len(body) < MAX_VALUE:
                if body.strip():
                    yield Record(start, body.split(delimiter), "", body)
                continue
            rest = chain([text], lines)
            try:
                values = next(csv.reader(rest, delimiter=delimiter, strict=True, skipinitialspace=skip_spaces))
            except csv.Error as error:
                yield Record(start, [], f"cannot be split into values ({error})")
                continue
            if len(values) > 1 or "".join(values).strip():
                yield Record(start, values, "", body if lines.number == start else "")


def rewrite(path: Path, columns: int, shape: CsvShape, delimiter: str, folder: Path) -> int:
    """Splits the records after the header, each with its line, and returns how many there are.

    `plain.csv` holds those that DuckDB reads as they stand (line, c0, c1, …); `odd.jsonl` the others, as JSON lists
    (line, problem, c0, c1, …), since DuckDB misreads some values with line breaks in CSV.
    """
    skip_spaces = shape.spaced_quotes and any(map(_has_spaced_quote, records(path, delimiter, skip_spaces=False)))
    count = 0
    plain, odd = folder / "plain.csv", folder / "odd.jsonl"
    with plain.open("w", encoding="utf-8", newline="") as csv_file, odd.open("w", encoding="utf-8") as json_file:
        source = records(path, delimiter, skip_spaces=skip_spaces)
        next(source, None)
        for count, record in enumerate(source, start=1):  # noqa: B007
            if record.text and len(record.values) == columns and not shape.spaced_quotes:
                csv_file.write(f"{record.line}{delimiter}{record.text}\n")
            else:
                json_file.write(json.dumps(_fitted(record, columns), ensure_ascii=False) + "\n")
    return count


def _has_spaced_quote(record: Record) -> bool:
    return any(value.startswith(" ") and value.lstrip(" ").startswith('"') for value in record.values)


def _fitted(record: Record, columns: int) -> list[object]:
    line, values, problem, _ = record
    if len(values) == columns + 1 and not values[-1]:
        values = values[:-1]  # a delimiter at the line's end
    if len(values) != columns and not problem:
        problem = f"the line has {len(values)} values where the header names {columns}"
    if sum(map(len, values)) > LONGEST_LINE:
        values, problem = [], f"the line is longer than {LONGEST_LINE:,} characters"
    return [line, problem, *(values + [""] * columns)[:columns]]


class _Lines:
    """A text file's lines, counted, none of them longer than is good for memory."""

    def __init__(self, file: TextIO) -> None:
        self.number = 0
        self._file = file

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) < LONGEST_LINE:
            return line
        while line and not line.endswith(("\n", "\r")):
            line = self._file.readline(LONGEST_LINE)
        return "x" * (MAX_VALUE + 1) + "\n"  # the reader then refuses this line as too long


def _kind(head: bytes) -> str | None:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), often a login or error page saved in place of the data"
    if start.startswith(b"<?xml"):
        return "XML"
    return "binary data" if b"\0" in head else None


def _wide_encoding(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    even, odd = head[0:2000:2], head[1:2000:2]
    for zeros, text in ((odd, even), (even, odd)):
        if len(zeros) > 1 and zeros.count(0) > 0.9 * len(zeros) and b"\0" not in text:
            return "UTF-16 without a byte order mark"
    return None


def _narrow_encoding(error: UnicodeDecodeError) -> str:
    around = error.object[max(0, error.start - 20) : error.start + 20]
    try:
        return f"Windows-1252 or Latin-1 (it would then read {around.decode('cp1252').strip()!r})"
    except UnicodeDecodeError:
        return "an encoding that cannot be told from the bytes"


def _other_delimiter(header: str, data: DataSection) -> str | None:
    for delimiter in (",", ";", "\t", "|"):
        names = {name.strip().strip('"') for name in header.split(delimiter)}
        if len(names) > 1 and names & data.columns.keys():
            return delimiter
    return None
