"""One look at the bytes of a CSV file: whether each line may be a record, and where to cut it into pieces."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ratchet.adapters.upload_file import CHUNK, FileRejected, not_utf8
from ratchet.domain import file_findings
from ratchet.domain.data_contract import DataSection

# Longer values are refused rather than held in memory: an unclosed quote would swallow the rest of the file.
MAX_VALUE = 131_072
LONGEST_LINE = 16 * MAX_VALUE
_TAIL = 1 << 16
MARKED = 1 << 14  # bytes between marks, at most
_SPACE_BEFORE_QUOTE = re.compile(rb'"(?<= ")')
_QUOTE_IS_RARE = 100  # bytes for each: with more of them DuckDB counts faster


class Mark(NamedTuple):
    """A place in a piece."""

    lines_before: int  # of the upload, that have ended
    offset: int  # bytes of the piece


class Piece(NamedTuple):
    """A file of whole lines cut out of the upload."""

    path: Path
    lines_before: int
    lines: int
    marks: Sequence[Mark]  # ascending, the first at its start: where to begin to look for a line


class Shape(NamedTuple):
    """What one pass over the bytes after the header tells."""

    pieces: tuple[Piece, ...]
    quotes: bool  # a quoted value may hold a line's end
    spaced_quotes: bool  # perhaps a quote after a delimiter and spaces: `1, "a,b"`
    lone_returns: bool  # \r as a line's end
    underscores: bool
    double_signs: bool  # +-, which DuckDB reads in a number


def measure(path: Path, data: DataSection, folder: Path, pieces: int, *, after: int, delimiter: str) -> Shape:
    """Looks once at every byte after so many lines, and cuts the lines into about equal pieces beside the file."""
    quotes = _Quotes(delimiter)
    underscores = double_signs = ended_with_plus = ended_with_return = False
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        lone_returns = not _skip(file, after)
        cutter = _Cutter(folder, after, (path.stat().st_size - file.tell()) // pieces + 1)
        while chunk := file.read(CHUNK):
            if b"\0" in chunk:
                raise FileRejected(file_findings.nul_bytes(cutter.line + chunk.count(b"\n", 0, chunk.index(b"\0"))))
            if not chunk.isascii() or decoder.getstate()[0]:
                _decode(decoder, chunk, path, data)
            if b"\r" in chunk or ended_with_return:
                returns, line_ends = (
                    chunk.count(b"\r"),
                    chunk.count(b"\r\n") + (ended_with_return and chunk[:1] == b"\n"),
                )
                lone_returns = lone_returns or returns - chunk.endswith(b"\r") + ended_with_return > line_ends
                ended_with_return = chunk.endswith(b"\r")
            underscores = underscores or b"_" in chunk
            if b"+" in chunk or ended_with_plus:  # looking for two bytes at once is slow
                double_signs = double_signs or b"+-" in chunk or (ended_with_plus and chunk.startswith(b"-"))
                ended_with_plus = chunk.endswith(b"+")
            quotes.look(chunk)
            cutter.write(chunk)
        _decode(decoder, b"", path, data, final=True)
    lone_returns = lone_returns or ended_with_return
    return Shape(cutter.close(), quotes.over_lines, quotes.spaced, lone_returns, underscores, double_signs)


def _skip(file: BinaryIO, lines: int) -> bool:
    """Goes past so many lines, or back to the start if \\r ends one of them."""
    for _ in range(lines):
        line = file.readline(LONGEST_LINE)
        if not line.endswith(b"\n") or b"\r" in line.rstrip(b"\r\n"):
            file.seek(0)
            return False
    return True


def _decode(
    decoder: codecs.IncrementalDecoder, chunk: bytes, path: Path, data: DataSection, final: bool = False
) -> None:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        finding = not_utf8(path, stated=data.encoding is not None)
        raise FileRejected(finding or file_findings.empty()) from error


class _Quotes:
    """What the quotes of a file may hold."""

    def __init__(self, delimiter: str) -> None:
        self.over_lines = self.spaced = False
        self._after_spaces = re.compile(re.escape(delimiter).encode() + rb' +"')
        self._inside = False

    def look(self, chunk: bytes) -> None:
        """The file's next bytes."""
        if b'"' in chunk:
            # The pattern looks at every delimiter; the quotes alone are found ten times as fast.
            self.spaced = self.spaced or (
                _SPACE_BEFORE_QUOTE.search(chunk) is not None and self._after_spaces.search(chunk) is not None
            )
            self.over_lines = self.over_lines or self._holds_line_end(chunk)
        elif self._inside:
            self.over_lines = self.over_lines or b"\n" in chunk

    def _holds_line_end(self, chunk: bytes) -> bool:
        """Whether a line ends within quotes, or there are too many quotes to look at them one by one."""
        if chunk.count(b'"') > len(chunk) // _QUOTE_IS_RARE:
            return True
        texts = chunk.split(b'"')
        inside = texts[0::2] if self._inside else texts[1::2]
        self._inside ^= len(texts) % 2 == 0
        return any(b"\n" in text for text in inside)


class _Cutter:
    """Writes lines into one file after the other, each of at least `size` bytes but for the last."""

    def __init__(self, folder: Path, lines_before: int, size: int) -> None:
        self.line = lines_before + 1  # the current one's number
        self._folder, self._size, self._pieces = folder, size, list[Piece]()
        self._open()

    def _open(self) -> None:
        path = self._folder / f"piece-{len(self._pieces)}.csv"
        self._file, self._before, self._tail = path.open("wb"), self.line - 1, b""
        self._marks = list[Mark]()

    def write(self, chunk: bytes) -> None:
        if self._file.tell() + len(chunk) >= self._size and (end := chunk.rfind(b"\n") + 1):
            self._put(chunk[:end])
            self._end()
            self._open()
            chunk = chunk[end:]
        self._put(chunk)

    def close(self) -> tuple[Piece, ...]:
        """The pieces, the blank lines at the end not counted."""
        self._end()
        ending = self._tail[len(self._tail.rstrip(b"\r\n")) :]
        last = self._pieces[-1]
        blank = ending.count(b"\n") - 1 if last.lines else 0
        unended = bool(self._tail) and not self._tail.endswith(b"\n")
        self._pieces[-1] = last._replace(lines=last.lines + unended - max(blank, 0))
        kept = [piece for piece in self._pieces if piece.lines > 0]
        return tuple(kept)

    def _put(self, chunk: bytes) -> None:
        written = self._file.tell()
        for place in range(0, len(chunk), MARKED):
            self._marks.append(Mark(self.line - 1, written + place))
            self.line += chunk.count(b"\n", place, place + MARKED)
        self._file.write(chunk)
        self._tail = chunk[-_TAIL:] if len(chunk) >= _TAIL else (self._tail + chunk)[-_TAIL:]

    def _end(self) -> None:
        self._file.close()
        self._pieces.append(Piece(Path(self._file.name), self._before, self.line - 1 - self._before, self._marks))
