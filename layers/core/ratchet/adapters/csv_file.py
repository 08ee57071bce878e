"""A CSV file's header and its records, found exactly: also where a line is no record."""

import csv
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from ratchet.adapters.csv_shape import LONGEST_LINE, MARKED, MAX_VALUE, Piece, Shape
from ratchet.adapters.upload_file import FileRejected, not_utf8
from ratchet.domain import file_findings
from ratchet.domain.contract_sql import needed_columns
from ratchet.domain.data_contract import DELIMITERS, DataSection

_PREAMBLE = 50  # lines in which a header is looked for


class Header(NamedTuple):
    """How the file's columns are named and separated, and how many of its lines stand before the first row."""

    columns: tuple[str, ...]
    delimiter: str
    lines: int
    line: int | None  # where it stands; None without one
    detected: bool  # the delimiter, which the contract does not state


class Record(NamedTuple):
    """One CSV record; `problem` says why it is no row."""

    line: int  # where it starts
    values: list[str]
    problem: str = ""
    text: str = ""  # the line itself, if it holds the whole record
    last_line: int = 0


def read_header(path: Path, data: DataSection) -> Header:
    """The column names, checked against the contract. Raises FileRejected."""
    delimiters = [data.delimiter] if data.delimiter else list(DELIMITERS)
    if not data.header:
        return _no_header(path, data, delimiters)
    needed = set(needed_columns(data))
    best: tuple[int, Record, str] | None = None
    for delimiter in delimiters:
        found = records(path, delimiter, after=data.skip_lines, skip_spaces=True)
        for place, record in enumerate(islice(found, _PREAMBLE)):
            names = {name.strip() for name in record.values}
            known = len(names & data.columns.keys())
            if not record.problem and needed <= names:
                known += 1 + len(data.columns)
            if best is None or (place == 0 and best[0] == 0 == known) or known > best[0]:
                best = best if best and known == best[0] else (known, record, delimiter)
    if best is None:
        raise FileRejected(file_findings.empty())
    return _checked_header(path, data, best[0] > len(data.columns), best[1], best[2])


def _checked_header(path: Path, data: DataSection, fits: bool, header: Record, delimiter: str) -> Header:
    first = header if fits else next(records(path, delimiter, after=data.skip_lines, skip_spaces=True))
    if first.problem:
        detail = f"the header in line {first.line} {first.problem}"
        raise FileRejected(file_findings.damaged("CSV", detail))
    if not fits and data.delimiter and len(first.values) == 1 and (other := _other_delimiter(first.values[0], data)):
        raise FileRejected(file_findings.other_delimiter(data.delimiter, other))
    names = [name.strip() for name in first.values]
    check_columns(names, needed_columns(data), "line")
    named = tuple(name or f"column {place}" for place, name in enumerate(names, start=1))
    return Header(named, delimiter, first.last_line, first.line, data.delimiter is None)


def _no_header(path: Path, data: DataSection, delimiters: Sequence[str]) -> Header:
    line = 1
    for delimiter in delimiters:
        first = next(records(path, delimiter, after=data.skip_lines, skip_spaces=True), None)
        if first is None:
            raise FileRejected(file_findings.empty())
        if len(first.values) == len(data.columns) or data.delimiter:
            return Header(tuple(data.columns), delimiter, data.skip_lines, None, data.delimiter is None)
        line = first.line
    raise FileRejected(file_findings.no_delimiter(line, len(data.columns)))


def check_columns(columns: Iterable[str], needed: Iterable[str], unit: str) -> None:
    """Refuses a file whose columns are ambiguous or not enough."""
    found = list(columns)
    folded: dict[str, int] = {}
    for name in found:
        folded[name.casefold()] = folded.get(name.casefold(), 0) + 1
    if repeated := sorted({name for name in found if name and folded[name.casefold()] > 1}):
        raise FileRejected(file_findings.duplicate_columns(repeated))
    known = set(found)
    if missing := [name for name in needed if name not in known]:
        raise FileRejected(file_findings.missing_columns(missing, [name for name in found if name], unit))


def records(path: Path, delimiter: str, *, after: int = 0, skip_spaces: bool) -> Iterator[Record]:
    """Every record after so many lines, with the line it starts in, blank lines left out. Raises FileRejected.

    The exact reader, and a slow one: a few hundred thousand lines a second.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _records(_Lines(file, after), delimiter, skip_spaces)
    except UnicodeDecodeError as error:
        raise FileRejected(not_utf8(path) or file_findings.empty()) from error


def _records(lines: "_Lines", delimiter: str, skip_spaces: bool) -> Iterator[Record]:
    for text in lines:
        start, body = lines.number, text.rstrip("\r\n")
        if '"' not in body and not skip_spaces and len(body) < MAX_VALUE:
            if body and not body.isspace():
                yield Record(start, body.split(delimiter), "", body, start)
            continue
        rest = chain([text], lines)
        try:
            values = next(csv.reader(rest, delimiter=delimiter, strict=True, skipinitialspace=skip_spaces))
        except csv.Error as error:
            yield Record(start, [], f"cannot be split into values ({error})", last_line=lines.number)
            continue
        if len(values) > 1 or "".join(values).strip():
            yield Record(start, values, "", body if lines.number == start else "", lines.number)


class Rewritten(NamedTuple):
    """Records in two files: those DuckDB reads as they stand after their line's number, and the others as JSON lists
    (line, problem, values …), since DuckDB misreads some values with line breaks in CSV."""

    plain: Path
    odd: Path
    rows: int


def rewrite_all(path: Path, header: Header, shape: Shape, folder: Path) -> Rewritten:
    """Splits the records after the header."""
    skip_spaces = shape.spaced_quotes and any(
        map(_has_spaced_quote, records(path, header.delimiter, after=header.lines, skip_spaces=False))
    )
    found = records(path, header.delimiter, after=header.lines, skip_spaces=skip_spaces)
    return _rewrite(found, header, folder, "all", as_is=not shape.spaced_quotes)


def rewrite_lines(shape: Shape, header: Header, wanted: Iterator[tuple[int, int]], folder: Path) -> Rewritten:
    """Splits the records of some ranges of lines, in ascending order, of a file whose every line is one."""
    picked = (record for line, text in _pick(shape.pieces, wanted) for record in _one(line, text, header.delimiter))
    return _rewrite(picked, header, folder, "bad", as_is=True)


def _one(line: int, text: str, delimiter: str) -> Iterator[Record]:
    for record in _records(_Lines(iter([text]), 0), delimiter, skip_spaces=False):
        yield record._replace(line=line)


def _rewrite(found: Iterator[Record], header: Header, folder: Path, name: str, *, as_is: bool) -> Rewritten:
    width, count = len(header.columns), 0
    plain, odd = folder / f"{name}.csv", folder / f"{name}.jsonl"
    with plain.open("w", encoding="utf-8", newline="") as csv_file, odd.open("w", encoding="utf-8") as json_file:
        for count, record in enumerate(found, start=1):  # noqa: B007
            if as_is and record.text and len(record.values) == width:
                csv_file.write(f"{record.line}{header.delimiter}{record.text}\n")
            else:
                json_file.write(json.dumps(_fitted(record, width), ensure_ascii=False) + "\n")
    return Rewritten(plain, odd, count)


def _pick(pieces: Iterable[Piece], wanted: Iterator[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    """The text of the lines in the ranges, which come in ascending order."""
    start, end = next(wanted, (0, 0))
    for piece in pieces:
        last = piece.lines_before + piece.lines
        with piece.path.open("rb") as file:
            while end and start <= last:
                _go_to(file, piece.marks, start - piece.lines_before)
                here = min(end, last)
                for number in range(start, here + 1):
                    yield number, _bounded_line(file).removesuffix(b"\n").decode()
                start, end = (here + 1, end) if here < end else next(wanted, (0, 0))


def _go_to(file: BinaryIO, marks: Sequence[int], line: int) -> None:
    """To where a line begins, the first one being 1: behind the end of the one before it."""
    at = max(bisect_left(marks, line - 1) - 1, 0)
    place = file.seek(at * MARKED)
    *_, behind = (block := file.read(MARKED)).split(b"\n", line - 1 - marks[at])
    file.seek(place + len(block) - len(behind))


def _bounded_line(file: BinaryIO) -> bytes:
    """The next line; instead of one that is too long for memory, one that the reader refuses as too long."""
    line = file.readline(LONGEST_LINE)
    if len(line) < LONGEST_LINE or line.endswith(b"\n"):
        return line
    while line and not line.endswith(b"\n"):
        line = file.readline(LONGEST_LINE)
    return b"x" * (MAX_VALUE + 1) + b"\n"


def _has_spaced_quote(record: Record) -> bool:
    return any(value.startswith(" ") and value.lstrip(" ").startswith('"') for value in record.values)


def _fitted(record: Record, columns: int) -> list[object]:
    values, problem = record.values, record.problem
    if len(values) == columns + 1 and not values[-1]:
        values = values[:-1]  # a delimiter at the line's end
    if len(values) != columns and not problem:
        problem = f"the line has {len(values)} values where the header names {columns}"
    if sum(map(len, values)) > LONGEST_LINE:
        values, problem = [], f"the line is longer than {LONGEST_LINE:,} characters"
    return [record.line, problem, *(values + [""] * columns)[:columns]]


class _Lines:
    """A text's lines, counted, none of them longer than is good for memory."""

    def __init__(self, source: "TextIO | Iterator[str]", after: int) -> None:
        self.number = 0
        self._read = _pieces_of(source)
        for _ in islice(self, after):
            pass

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._read)
        self.number += 1
        if len(line) < LONGEST_LINE:
            return line
        while line and not line.endswith(("\n", "\r")):
            line = next(self._read, "")
        return "x" * (MAX_VALUE + 1) + "\n"  # the reader then refuses this line as too long


def _pieces_of(source: "TextIO | Iterator[str]") -> Iterator[str]:
    if isinstance(source, Iterator) and not hasattr(source, "readline"):
        return source
    return iter(lambda: source.readline(LONGEST_LINE), "")


def _other_delimiter(header: str, data: DataSection) -> str | None:
    for delimiter in DELIMITERS:
        names = {name.strip().strip('"') for name in header.split(delimiter)}
        if len(names) > 1 and names & data.columns.keys():
            return delimiter
    return None
