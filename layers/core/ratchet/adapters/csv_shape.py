"""A CSV file's lines: whether each may be a record, and the file cut into pieces of whole lines."""

import errno
import json
import os
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ratchet.adapters import csv_look
from ratchet.adapters.csv_look import CHUNK, Look, Stretch, look
from ratchet.adapters.upload_file import FileRejected, not_utf8
from ratchet.domain import file_findings
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import ValidationBrokenError
from ratchet.domain.profiling import SAMPLE_ROWS

# Longer values are refused rather than held in memory: an unclosed quote would swallow the rest of the file.
MAX_VALUE = 131_072
LONGEST_LINE = 16 * MAX_VALUE
MARKED = 1 << 12  # bytes between marks


class Piece(NamedTuple):
    """A file of whole lines cut out of the upload."""

    path: Path
    lines_before: int
    lines: int
    marks: Sequence[int]  # how many of its lines have ended before each MARKED bytes: where to begin to look for one
    sample: Path  # a file of some of its lines, evenly spread; empty for the only piece


class Shape(NamedTuple):
    """What one pass over the bytes after the header tells."""

    pieces: tuple[Piece, ...]
    quotes: bool  # a quoted value may hold a line's end
    spaced_quotes: bool  # perhaps a quote after a delimiter and spaces: `1, "a,b"`
    lone_returns: bool  # \r as a line's end
    underscores: bool
    double_signs: bool  # +-, which DuckDB reads in a number


def measure(path: Path, data: DataSection, folder: Path, pieces: int, *, after: int, delimiter: str) -> Shape:
    """Looks once at every byte after so many lines, and cuts the lines into about equal pieces beside the file.

    The samples of several pieces have about SAMPLE_ROWS lines in all where there are many more."""
    with path.open("rb") as file:
        odd_header = not _skip(file, after)
        cuts = list(_cuts(file, file.tell(), path.stat().st_size, pieces))
    names = [folder / f"piece-{place}.csv" for place in range(len(cuts) - 1)]
    every = (cuts[-1] - cuts[0]) // SAMPLE_ROWS if len(names) > 1 else 0
    looks = _look(
        Stretch(str(path), start, end, str(name), delimiter, MARKED, every)
        for (start, end), name in zip(pairwise(cuts), names, strict=True)
    )
    found, before = list[Piece](), after
    for name, seen in zip(names, looks, strict=True):
        if seen.nul is not None:
            raise FileRejected(file_findings.nul_bytes(before + seen.nul + 1))
        if not seen.utf8:
            raise FileRejected(not_utf8(path, stated=data.encoding is not None) or file_findings.empty())
        lines = seen.lines + seen.unended
        found.append(Piece(name, before, lines, array("Q", seen.marks), Path(csv_look.sample_of(str(name)))))
        before += lines
    last = found[-1]
    found[-1] = last._replace(lines=max(last.lines - looks[-1].blank, 0))
    return Shape(
        pieces=tuple(piece for piece in found if piece.lines),
        quotes=any(seen.quotes for seen in looks),
        spaced_quotes=any(seen.spaced_quotes for seen in looks),
        lone_returns=odd_header or any(seen.lone_returns for seen in looks),
        underscores=any(seen.underscores for seen in looks),
        double_signs=any(seen.double_signs for seen in looks),
    )


def _skip(file: BinaryIO, lines: int) -> bool:
    """Goes past so many lines, or back to the start if \\r ends one of them."""
    for _ in range(lines):
        line = file.readline(LONGEST_LINE)
        if not line.endswith(b"\n") or b"\r" in line.rstrip(b"\r\n"):
            file.seek(0)
            return False
    return True


def _cuts(file: BinaryIO, start: int, end: int, pieces: int) -> Iterator[int]:
    """Where the pieces begin, each with a line, and where the last one ends."""
    yield start
    size = (end - start) // pieces + 1
    for place in range(start + size, end, size):
        file.seek(place)
        while (chunk := file.read(CHUNK)) and b"\n" not in chunk:
            pass
        cut = file.tell() - len(chunk) + chunk.find(b"\n") + 1
        if start < cut < end:
            yield (start := cut)
    yield end


def _look(stretches: Iterable[Stretch]) -> list[Look]:
    """Looks at all of them at once: at the first one here, at each other one in a process of its own."""
    here, *others = stretches
    script = [sys.executable, "-I", "-S", csv_look.__file__]
    with ExitStack() as started:
        processes = [
            started.enter_context(subprocess.Popen([*script, json.dumps(each)], stdout=subprocess.PIPE))
            for each in others
        ]
        return [look(here), *map(_answer, processes)]


def _answer(process: "subprocess.Popen[bytes]") -> Look:
    answer, _ = process.communicate()
    if process.returncode in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(process.returncode, os.strerror(process.returncode))
    if process.returncode:
        raise ValidationBrokenError(f"looking at a piece of the upload ended with {process.returncode}")
    return Look(*json.loads(answer))
