"""An uploaded file before its rows are judged: unpacked, recognised by content, and its text made UTF-8."""

import codecs
import gzip
import re
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ratchet.adapters.csv_look import CHUNK
from ratchet.contracts.base import Finding
from ratchet.domain import file_findings
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import UploadTooLargeError

_HEAD = 1 << 16
_FEW_NULS = 8  # so many are a defect in a text; more are no text
# A gzip file that unpacks to more than both of these is no data.
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 100

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
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class FileRejected(Exception):  # noqa: N818  (an answer on its way to a verdict, not an error)
    """The file as a whole cannot be judged by rows; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


def is_packed(path: Path) -> bool:
    """Whether the file is gzip, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def unpack(path: Path, into: Path, limit: int) -> Path:
    """The file itself, or what a gzip file holds, written to `into`; UploadTooLargeError above `limit` bytes."""
    packed = path.stat().st_size
    if not is_packed(path):
        if packed > limit:
            raise UploadTooLargeError(packed, limit)
        return path
    try:
        with gzip.open(path) as source, into.open("wb") as target:
            _copy_within(source, target, packed, limit)  # type: ignore[arg-type]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileRejected(file_findings.damaged("gzip", str(error))) from error
    return into


def _copy_within(source: BinaryIO, target: BinaryIO, packed: int, limit: int) -> None:
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > _BOMB_BYTES and size > _BOMB_RATIO * packed:
            raise FileRejected(file_findings.bomb(size, packed))
        if size > limit:
            raise UploadTooLargeError(size, limit)
        target.write(chunk)


def recognise(path: Path, data: DataSection) -> None:
    """Refuses what is plainly not the contract's format, whatever its name."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.removeprefix(codecs.BOM_UTF8).strip():
        raise FileRejected(file_findings.empty())
    if data.format == "parquet":
        if not head.startswith(_PARQUET):
            raise FileRejected(file_findings.not_the_format("parquet", _kind(head) or "something else"))
        return
    head = _plain_head(head, data)
    kind = _kind(head)
    if data.format == "csv" and re.match(rb"\s*(\{\s*\"|\[\s*[\{\[])", head):
        kind = "JSON"
    if data.format == "jsonl" and head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
        kind = "one JSON list, not one object a line"
    if kind:
        raise FileRejected(file_findings.not_the_format(data.format, kind))


class Text(NamedTuple):
    """A file of UTF-8 text, and what it was made of."""

    path: Path
    encoding: str
    detected: bool


def as_utf8(path: Path, data: DataSection, into: Path) -> Text:
    """The file if it is UTF-8 as far as one can tell yet; otherwise the same text in UTF-8, written to `into`."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    mark = _marked(head)
    encoding = codecs.lookup(data.encoding or mark or "utf-8").name
    if encoding in ("utf-8", "utf-8-sig", "ascii") and mark is None:
        return Text(path, "utf-8", data.encoding is None)
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, chunk = 1, b"first"
    with path.open("rb") as source, into.open("w", encoding="utf-8", newline="") as target:
        while chunk:
            chunk = source.read(CHUNK)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                finding = file_findings.not_the_encoding(encoding, lines, "something else", stated=bool(data.encoding))
                raise FileRejected(finding) from error
            try:
                target.write(text)
            except UnicodeEncodeError as error:  # half of a surrogate pair
                finding = file_findings.not_the_encoding(encoding, lines, "damaged", stated=bool(data.encoding))
                raise FileRejected(finding) from error
            lines += text.count("\n")
    return Text(into, encoding, data.encoding is None)


def not_utf8(path: Path, *, stated: bool = False) -> Finding | None:
    """The first line that is no UTF-8, with the likeliest encoding; None if all of it is."""
    decoder, lines, chunk = codecs.getincrementaldecoder("utf-8")(), 1, b"first"
    with path.open("rb") as file:
        while chunk:
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line = lines + error.object.count(b"\n", 0, error.start)
                return file_findings.not_the_encoding("UTF-8", line, _narrow_encoding(error), stated=stated)
            lines += chunk.count(b"\n")
    return None


def check_text(path: Path, data: DataSection) -> None:
    """Refuses NUL bytes and what is no UTF-8, each with its line."""
    lines = 1
    with path.open("rb") as file:
        decoder = codecs.getincrementaldecoder("utf-8")()
        while chunk := file.read(CHUNK):
            if (at := chunk.find(b"\0")) >= 0:
                raise FileRejected(file_findings.nul_bytes(lines + chunk.count(b"\n", 0, at)))
            lines += chunk.count(b"\n")
            if chunk.isascii() and not decoder.getstate()[0]:
                continue
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise FileRejected(not_utf8(path, stated=data.encoding is not None) or file_findings.empty()) from error


def _plain_head(head: bytes, data: DataSection) -> bytes:
    """The head in UTF-8; refuses what looks like UTF-16 and neither says so itself nor is declared."""
    encoding = data.encoding or _marked(head)
    if encoding is not None:
        return head.decode(encoding, errors="replace").encode("utf-8", errors="replace")
    if wide := _wide_encoding(head):
        raise FileRejected(file_findings.not_the_encoding("UTF-8", None, wide, stated=False))
    return head


def _marked(head: bytes) -> str | None:
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _kind(head: bytes) -> str | None:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), often a login or error page saved in place of the data"
    if start.startswith(b"<?xml"):
        return "XML"
    if b"\0" not in head:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "binary data"
    return "binary data" if head.count(b"\0") > max(len(head) // 100, _FEW_NULS) else None


def _wide_encoding(head: bytes) -> str | None:
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
