"""One look at some of a CSV file's bytes, which are copied into a file of their own: may each line be a record?

As a script it looks for another process, so that all processors can look at once: threads of Python's would take turns.
So it imports only what starts quickly.
"""

import codecs
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CHUNK = 1 << 18  # larger blocks leave the processor's cache, and each is memory that the system has to clear
QUOTE_IS_RARE = 100  # bytes for each: with more of them DuckDB counts faster
_TAIL = 1 << 16
_SEAM = 64  # bytes on either side of a chunk's start in which a quote after spaces is looked for
_SPACE_BEFORE_QUOTE = re.compile(rb'"(?<= ")')


class Stretch(NamedTuple):
    """Some of a file's bytes, which begin with a line and end with one, and what to do about them."""

    source: str
    start: int
    end: int
    into: str  # to be copied there
    delimiter: str
    marked: int  # bytes between marks
    sampled: int  # bytes between lines that are also copied into a sample beside it; 0 for none of them


class Look(NamedTuple):
    """What the bytes tell."""

    marks: Sequence[int]  # how many lines have ended before each so many bytes
    lines: int  # that have ended
    unended: bool  # there is one more
    blank: int  # lines at the end
    nul: int | None  # lines before the first NUL byte, with which the look ends
    utf8: bool  # if not, the look ends
    quotes: bool  # a quoted value may hold a line's end
    spaced_quotes: bool  # perhaps a quote after a delimiter and spaces: `1, "a,b"`
    lone_returns: bool  # \r as a line's end
    underscores: bool
    double_signs: bool  # +-, which DuckDB reads in a number


def look(stretch: Stretch) -> Look:
    """Looks at every byte once."""
    marks, lines, tail, nul, utf8 = list[int](), 0, b"", None, True
    quotes, signs, decoder = _Quotes(stretch.delimiter), _Signs(), codecs.getincrementaldecoder("utf-8")()
    left, size = stretch.end - stretch.start, max(CHUNK // stretch.marked, 1) * stretch.marked
    sample = _Sample(stretch.sampled)
    with (  # pathlib starts slowly
        open(stretch.source, "rb") as source,  # noqa: PTH123
        open(stretch.into, "wb") as into,  # noqa: PTH123
        open(sample_of(stretch.into), "wb") as sampled,  # noqa: PTH123
    ):
        source.seek(stretch.start)
        while chunk := source.read(min(size, left)):
            left -= len(chunk)
            if b"\0" in chunk:
                nul = lines + chunk.count(b"\n", 0, chunk.index(b"\0"))
                break
            if (not chunk.isascii() or decoder.getstate()[0]) and not _decodes(decoder, chunk):
                utf8 = False
                break
            quotes.look(chunk, tail)
            signs.look(chunk, tail)
            for place in range(0, len(chunk), stretch.marked):
                marks.append(lines)
                lines += chunk.count(b"\n", place, place + stretch.marked)
            into.write(chunk)
            sampled.writelines(sample.lines(chunk))
            tail = chunk[-_TAIL:] if len(chunk) >= _TAIL else (tail + chunk)[-_TAIL:]
    ending = tail[len(tail.rstrip(b"\r\n")) :]
    return Look(
        marks=marks,
        lines=lines,
        unended=bool(tail) and not tail.endswith(b"\n"),
        blank=max(ending.count(b"\n") - 1, 0),
        nul=nul,
        utf8=utf8 and _decodes(decoder, b"", final=nul is None),
        quotes=quotes.over_lines,
        spaced_quotes=quotes.spaced,
        lone_returns=signs.lone_returns or tail.endswith(b"\r"),
        underscores=signs.underscores,
        double_signs=signs.double,
    )


def sample_of(into: str) -> str:
    """Where the sample lies."""
    return f"{into}.sample"


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


class _Sample:
    """Of the lines that begin first behind every so many bytes, those that end in the same chunk, and none twice."""

    def __init__(self, every: int) -> None:
        self._every, self._next = every, 0  # in the chunk to come

    def lines(self, chunk: bytes) -> Iterator[bytes]:
        """Those in the file's next bytes."""
        if not self._every:
            return
        begin = 0
        for place in range(self._next, len(chunk), self._every):
            if place >= begin and (begin := chunk.find(b"\n", place) + 1) and (end := chunk.find(b"\n", begin) + 1):
                yield chunk[begin:end]
        self._next = (self._next - len(chunk)) % self._every


class _Quotes:
    """What the quotes may hold."""

    def __init__(self, delimiter: str) -> None:
        self.over_lines = self.spaced = self._inside = False
        self._after_spaces = re.compile(re.escape(delimiter).encode() + rb' +"')

    def look(self, chunk: bytes, before: bytes) -> None:
        """The file's next bytes, and those before them."""
        if b'"' in chunk:
            # The pattern looks at every delimiter; the quotes alone are found ten times as fast.
            self.spaced = (
                self.spaced
                or (_SPACE_BEFORE_QUOTE.search(chunk) is not None and self._after_spaces.search(chunk) is not None)
                or self._after_spaces.search(before[-_SEAM:] + chunk[:_SEAM]) is not None
            )
            self.over_lines = self.over_lines or self._holds_line_end(chunk)
        elif self._inside:
            self.over_lines = self.over_lines or b"\n" in chunk

    def _holds_line_end(self, chunk: bytes) -> bool:
        """Whether a line ends within quotes, or there are too many quotes to look at them one by one."""
        if chunk.count(b'"') > len(chunk) // QUOTE_IS_RARE:
            return True
        texts = chunk.split(b'"')
        inside = texts[0::2] if self._inside else texts[1::2]
        self._inside ^= len(texts) % 2 == 0
        return any(b"\n" in text for text in inside)


class _Signs:
    """Line ends and signs that DuckDB takes otherwise than we do."""

    def __init__(self) -> None:
        self.lone_returns = self.underscores = self.double = False

    def look(self, chunk: bytes, before: bytes) -> None:
        """The file's next bytes, and those before them."""
        returned = before.endswith(b"\r")
        if b"\r" in chunk or returned:
            line_ends = chunk.count(b"\r\n") + (returned and chunk.startswith(b"\n"))
            self.lone_returns |= chunk.count(b"\r") - chunk.endswith(b"\r") + returned > line_ends
        self.underscores = self.underscores or b"_" in chunk
        if b"+" in chunk or before.endswith(b"+"):  # looking for two bytes at once is slow
            self.double |= b"+-" in chunk or (before.endswith(b"+") and chunk.startswith(b"-"))


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(look(Stretch(*json.loads(sys.argv[1])))))
    except OSError as error:  # a full disk, which the caller knows what to do about
        sys.exit(error.errno)
