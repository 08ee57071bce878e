"""Files as people send them, one oddity each: the right rows, or a rejection that names the line and the fix."""

import errno
import gzip
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ratchet.adapters import csv_file, csv_look, csv_shape, upload_file
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import UploadTooLargeError, ValidationBrokenError
from ratchet.domain.validation import Judgement

COLUMNS: dict[str, Any] = {
    "at": {"type": "timestamp"},
    "place": {"type": "string"},
    "temp": {"type": "number", "min": -50, "max": 60},
    "y": {"type": "integer", "required": True},
}
ULM_OR_KIEL = {"type": "string", "allowed": ["Ulm", "Kiel"]}
HEADER = "at,place,temp,y\n"
ROWS = "2017-03-01,Kiel,1.5,1\n2017-03-02,Köln,2.5,2\n2017-03-03,Ulm,3.5,3\n"
PLAIN = HEADER + ROWS
RECEIVED = datetime(2017, 3, 4, tzinfo=UTC)


def contract(**changes: Any) -> DataSection:
    document = {"target": "y", "task": "regression", "columns": COLUMNS, "max_bad_rows": 0.9}
    return DataSection.model_validate({**document, **changes})


@dataclass(frozen=True)
class Odd:
    """A file, and what is to become of it: the lines that are accepted and quarantined, or words of the finding."""

    content: str | bytes
    good: tuple[int, ...] = ()
    bad: tuple[int, ...] = ()
    says: str = ""
    where: str = ""
    changes: tuple[tuple[str, Any], ...] = ()


def column(name: str, **changes: Any) -> tuple[str, Any]:
    return ("columns", {**COLUMNS, name: {**COLUMNS[name], **changes}})


def semicolons(text: str) -> str:
    return text.replace(".", "#").replace(",", ";").replace("#", ",")


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def zipped(text: str) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.csv", text)
    return file.getvalue()


def wide(columns: int) -> str:
    names = ",".join(f"extra{n}" for n in range(columns))
    return f"at,place,temp,y,{names}\n" + "2017-03-01,Kiel,1.5,1," + ",".join("0" * columns) + "\n"


ROW = {"at": "2017-03-01", "place": "Kiel", "temp": 1.5, "y": 1}
ALL = (2, 3, 4)
JSON = ("format", "jsonl")

ODD: dict[str, Odd] = {
    # What the bytes are
    "UTF-8 with a byte order mark": Odd("\ufeff" + PLAIN, ALL),
    "UTF-16 little-endian with a mark": Odd(b"\xff\xfe" + PLAIN.encode("utf-16-le"), ALL),
    "UTF-16 big-endian with a mark": Odd(b"\xfe\xff" + PLAIN.encode("utf-16-be"), ALL),
    "UTF-32 with a mark": Odd(PLAIN.encode("utf-32"), ALL),
    "UTF-16 without a mark": Odd(PLAIN.encode("utf-16-le"), says="UTF-16 without a byte order mark"),
    "UTF-16 that ends within a character": Odd(PLAIN.encode("utf-16")[:-1], says="not utf-16"),
    "Latin-1": Odd(PLAIN.encode("latin-1"), says="Windows-1252 or Latin-1", where="line 3"),
    "Latin-1 as declared": Odd(PLAIN.encode("latin-1"), ALL, changes=(("encoding", "latin-1"),)),
    "Windows-1252 as declared": Odd(PLAIN.encode("cp1252"), ALL, changes=(("encoding", "cp1252"),)),
    "Cyrillic as declared": Odd(PLAIN.replace("ö", "ж").encode("koi8-r"), ALL, changes=(("encoding", "koi8-r"),)),
    "Japanese as declared": Odd(
        PLAIN.replace("ö", "東").encode("shift_jis"), ALL, changes=(("encoding", "shift_jis"),)
    ),
    "declared ASCII that is UTF-8": Odd(PLAIN, ALL, changes=(("encoding", "ascii"),)),
    "declared UTF-8 that is Latin-1": Odd(
        PLAIN.encode("latin-1"), says="not UTF-8", where="line 3", changes=(("encoding", "utf-8"),)
    ),
    "declared Shift-JIS that is not": Odd(
        b"at,y\n\xff\xff,1\n", says="not shift_jis", changes=(("encoding", "shift_jis"),)
    ),
    "half a surrogate pair": Odd(
        b"\xff\xfe" + "at,y\n2017-03-01,".encode("utf-16-le") + b"\x00\xd8\n\x00", says="utf-16"
    ),
    "a NUL byte": Odd(PLAIN.replace("Ulm", "U\0lm"), says="NUL", where="line 4"),
    "a NUL byte in a column nobody asked for": Odd(
        "at,y,note\n2017-03-01,1,\0\n" + "2017-03-02,2,x\n" * 99, says="NUL"
    ),
    "UTF-8 cut within a character": Odd((HEADER + "2017-03-01,K").encode() + b"\xc3", says="UTF-8", where="line 2"),
    "a zip archive named .csv": Odd(zipped(PLAIN), says="ZIP archive"),
    "an Excel workbook named .csv": Odd(zipped("xl/workbook.xml"), says="Excel"),
    "a web page named .csv": Odd("<html><body>Sign in</body></html>", says="web page"),
    "XML named .csv": Odd("<?xml version='1.0'?><rows/>", says="XML"),
    "JSON named .csv": Odd('[{"at": "2017-03-01", "y": 1}]', says="JSON"),
    "a PDF named .csv": Odd(b"%PDF-1.7\n%\xe2\xe3", says="PDF"),
    "Parquet named .csv": Odd(b"PAR1" + bytes(40) + b"PAR1", says="Parquet"),
    "an SQLite database named .csv": Odd(b"SQLite format 3\0" + bytes(80), says="SQLite"),
    "gzip": Odd(gzip.compress(PLAIN.encode()), ALL),
    "gzip of UTF-16": Odd(gzip.compress(PLAIN.encode("utf-16")), ALL),
    "gzip of two members": Odd(gzip.compress(HEADER.encode()) + gzip.compress(ROWS.encode()), ALL),
    "truncated gzip": Odd(gzip.compress(PLAIN.encode())[:-9], says="damaged or incomplete"),
    "gzip with garbage behind it": Odd(gzip.compress(PLAIN.encode()) + b"garbage", says="damaged"),
    "gzip of gzip": Odd(gzip.compress(gzip.compress(PLAIN.encode())), says="gzip file inside"),
    "gzip of nothing": Odd(gzip.compress(b""), says="empty"),
    # Where the rows are
    "nothing": Odd("", says="empty"),
    "blank lines only": Odd("\n \n\n", says="empty"),
    "a header only": Odd(HEADER, says="no rows"),
    "no line end at the end": Odd(PLAIN.rstrip(), ALL),
    "CRLF": Odd(PLAIN.replace("\n", "\r\n"), ALL),
    "CR": Odd(PLAIN.replace("\n", "\r"), ALL),
    "mixed line ends": Odd(HEADER.strip() + "\r\n" + ROWS, ALL),
    "a CR within the LF lines": Odd(PLAIN.replace("Kiel,", "Kiel\r,"), (4, 5), (2, 3)),
    "blank lines between": Odd(PLAIN.replace("\n", "\n\n"), (3, 5, 7)),
    "blank lines at the end": Odd(PLAIN + "\n\n\n", ALL),
    "blank lines before the header": Odd("\n\n" + PLAIN, (4, 5, 6)),
    "a preamble": Odd("Weather report\nof March, all stations\n\n" + PLAIN, (5, 6, 7)),
    "a preamble as declared": Odd("at,place,temp,y,z\n" + PLAIN, (3, 4, 5), changes=(("skip_lines", 1),)),
    "no header as declared": Odd(ROWS, (1, 2, 3), changes=(("header", False),)),
    "no header": Odd(ROWS, says="lacks the column 'y'", where="line 1"),
    "no header and no known width": Odd("1 2 3\n", says="No delimiter", changes=(("header", False),)),
    "a footer": Odd(PLAIN + "3 rows\n", ALL, (5,)),
    "a quoted line break": Odd(PLAIN.replace("Kiel", '"Ki\nel"'), (2, 4, 5)),
    "a quoted CRLF": Odd(PLAIN.replace("Kiel", '"Ki\r\nel"'), (2, 4, 5)),
    "a quoted line break in the last value": Odd('at,y,note\n2017-03-01,1,"a\nb"\n', (2,)),
    "a bad row after a quoted line break": Odd(PLAIN.replace("Kiel", '"Ki\nel"').replace("3.5", "99"), (2, 4), (5,)),
    "a quote that never ends": Odd(PLAIN.replace("Ulm", '"Ulm'), (2, 3), (4,)),
    "a quote within a value": Odd(PLAIN.replace("Ulm", 'U"l"m'), ALL),
    "a quote after a space": Odd(PLAIN.replace("Ulm", ' "Ulm, Donau"'), ALL),
    "a doubled quote": Odd(PLAIN.replace("Ulm", '"U""lm"'), ALL),
    "a value too few": Odd(PLAIN.replace(",Ulm", ""), (2, 3), (4,)),
    "a value too many": Odd(PLAIN.replace("Ulm", "Ulm,Donau"), (2, 3), (4,)),
    "a delimiter at each line's end": Odd(PLAIN.replace("\n", ",\n"), ALL),
    "a delimiter at each row's end": Odd(HEADER + ROWS.replace("\n", ",\n"), ALL),
    "a value of 200,000 characters": Odd(PLAIN.replace("Ulm", "U" * 200_000), (2, 3), (4,)),
    "a line of 3 million characters": Odd(PLAIN.replace("Ulm", "U" * 3_000_000), (2, 3), (4,)),
    "a file of one long line": Odd("x" * 3_000_000, says="damaged", where="whole"),
    "10,000 columns": Odd(wide(9_996), (2,)),
    # What the columns are
    "semicolons": Odd(PLAIN.replace(",", ";"), ALL),
    "tabs": Odd(PLAIN.replace(",", "\t"), ALL),
    "bars": Odd(PLAIN.replace(",", "|"), ALL),
    "another delimiter than declared": Odd(
        PLAIN.replace(",", ";"), says="by semicolon, not by comma", changes=(("delimiter", ","),)
    ),
    "a decimal comma": Odd(semicolons(PLAIN), ALL, changes=(("decimal", ","),)),
    "a decimal comma that is not declared": Odd(semicolons(PLAIN), bad=ALL, says="break the data contract"),
    "a decimal point where a comma is": Odd(
        semicolons(PLAIN).replace("2,5", "2.5"), (2, 4), (3,), changes=(("decimal", ","),)
    ),
    "declared nulls": Odd(PLAIN.replace("2.5", "NA"), ALL, changes=(("nulls", ["NA"]),)),
    "nulls that are not declared": Odd(PLAIN.replace("2.5", "NA"), (2, 4), (3,)),
    "a declared null for a needed value": Odd(
        PLAIN.replace(",2\n", ",NA\n"), (2, 4), (3,), changes=(("nulls", ["NA"]),)
    ),
    "a column twice": Odd("at,y,y\n2017-03-01,1,2\n", says="more than once", where="line 1"),
    "a column twice but for its case": Odd("at,y,Y\n2017-03-01,1,2\n", says="more than once"),
    "two columns without a name": Odd(",at,,y\n0,2017-03-01,,1\n", (2,)),
    "spaces around names": Odd(" at , y \n2017-03-01,1\n", (2,)),
    "no needed column": Odd("at,place\n2017-03-01,Kiel\n", says="lacks the column 'y'", where="line 1"),
    "a needed column in another case": Odd("at,Y\n2017-03-01,1\n", says="lacks the column 'y'"),
    "columns in another order": Odd("y,temp,at\n1,1.5,2017-03-01\n", (2,)),
    "an unexpected column": Odd("y,note\n1,x\n", (2,)),
    "an unexpected column that rejects": Odd(
        "y,note\n1,x\n", says="'note'", changes=(("unexpected_columns", "reject"),)
    ),
    "a missing column that rejects": Odd(
        "y\n1\n", says="'at', 'place', 'temp'", changes=(("missing_columns", "reject"),)
    ),
    "a single column": Odd("y\n1\n\n2\n", (2, 4)),
    # JSON Lines
    "JSON Lines": Odd(jsonl(ROW, ROW), (1, 2), changes=(JSON,)),
    "JSON Lines in UTF-16": Odd(jsonl(ROW).encode("utf-16"), (1,), changes=(JSON,)),
    "JSON Lines, gzip, CRLF": Odd(gzip.compress(jsonl(ROW).replace("\n", "\r\n").encode()), (1,), changes=(JSON,)),
    "JSON Lines with a blank line": Odd("\n" + jsonl(ROW), (2,), changes=(JSON,)),
    "JSON Lines cut off": Odd(jsonl(ROW, ROW)[:-9], (1,), (2,), changes=(JSON,)),
    "JSON Lines with a list": Odd(jsonl(ROW, [1]), (1,), (2,), changes=(JSON,)),
    "JSON Lines with a nested value": Odd(jsonl(ROW, {**ROW, "y": {"a": 1}}), (1,), (2,), changes=(JSON,)),
    "JSON Lines with a key twice": Odd('{"y": 1, "y": 2}\n', (1,), changes=(JSON,)),
    "JSON Lines with NaN": Odd('{"y": 1}\n{"y": 2, "temp": NaN}\n', (1,), (2,), changes=(JSON,)),
    "JSON Lines with a NUL byte": Odd('{"y": 1}\n{"y": 2}\0\n', says="NUL", where="line 2", changes=(JSON,)),
    "JSON Lines in Latin-1": Odd(
        '{"y": 1}\n{"y": 2, "place": "\xf6"}\n'.encode("latin-1"), says="UTF-8", changes=(JSON,)
    ),
    "one JSON list": Odd(json.dumps([ROW]), says="one JSON list", changes=(JSON,)),
    "CSV as JSON Lines": Odd(PLAIN, says="lacks", changes=(JSON,)),
    "a JSON line of 17 MB": Odd('{"y": 1, "place": "' + "x" * 17_000_000 + '"}\n', says="longer than", changes=(JSON,)),
    # Parquet
    "CSV as Parquet": Odd(PLAIN, says="not Parquet", changes=(("format", "parquet"),)),
    "Parquet without its end": Odd(b"PAR1" + bytes(100), says="damaged", changes=(("format", "parquet"),)),
    # What only several rows break
    "a key twice": Odd(PLAIN + ROWS[:21], ALL, (5,), changes=(("key", ["at"]), ("unique", True))),
    "a time that goes back": Odd(
        PLAIN + "2017-03-02 12:00,Ulm,1,1\n", ALL, (5,), changes=(("timestamp", "at"), ("order", "ascending"))
    ),
    "data that is too old": Odd(PLAIN, says="too old", changes=(("timestamp", "at"), ("max_age", "12h"))),
    "too many nulls": Odd(
        PLAIN.replace("2.5", ""), says="'temp' is empty in 1", changes=(column("temp", max_null_share=0.3),)
    ),
    "too many rows": Odd(PLAIN, says="more than the contract allows", changes=(("max_rows", 2),)),
    "too few rows": Odd(PLAIN, says="fewer than", changes=(("min_rows", 4),)),
    # What two values of a row break
    "columns that contradict each other": Odd(
        "y,temp\n5,4\n4,5\n4,\n", (2, 4), (3,), changes=(("compare", ["y >= temp"]),)
    ),
    "a value too long": Odd(PLAIN, (2, 4), (3,), changes=(("compare", []), column("place", pattern="[A-Za-z]*"))),
    "a text too short": Odd(PLAIN, (2, 3), (4,), changes=(column("place", min_length=4),)),
    "a text too long": Odd(PLAIN, (4,), (2, 3), changes=(column("place", max_length=3),)),
    "a number that is not allowed": Odd(PLAIN, (2, 3), (4,), changes=(column("y", allowed=[1, 2]),)),
    "a text that is not allowed": Odd(
        PLAIN, (2, 4), (3,), changes=(column("place", allowed=["Ulm", "Kiel", "Ulm", "it's"]),)
    ),
    "allowed texts in another order than the contract's": Odd(
        "y,place,to\n1,Kiel,Ulm\n2,Ulm,Kiel\n3,,Kiel\n",
        (2, 4),
        (3,),
        changes=(
            ("columns", {**COLUMNS, "place": ULM_OR_KIEL, "to": ULM_OR_KIEL}),
            ("compare", ["place <= to"]),
        ),
    ),
    "a German date": Odd(
        PLAIN.replace("2017-03-01", "01.03.2017"), (2,), (3, 4), changes=(column("at", format="%d.%m.%Y"),)
    ),
}


@dataclass
class Judged:
    """A judgement and the lines that were written."""

    judgement: Judgement
    folder: Path

    def lines(self, name: str) -> tuple[int, ...]:
        found = self.query(name, "ratchet_line") if (self.folder / f"{name}.parquet").exists() else []
        return tuple(sorted(line for (line,) in found))

    def query(self, name: str, columns: str) -> list[tuple[Any, ...]]:
        return duckdb.connect().execute(f"SELECT {columns} FROM '{self.folder}/{name}.parquet'").fetchall()  # noqa: S608


Judge = Callable[..., Judged]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    def run(content: str | bytes, **changes: Any) -> Judged:
        file = tmp_path / "upload"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        judgement = DuckDbValidator(memory_mb=1024, threads=2)(file, contract(**changes), "a" * 64, RECEIVED)
        return Judged(judgement, tmp_path)

    return run


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_file_ends_in_the_right_rows_or_in_a_clear_rejection(judge: Judge, odd: Odd) -> None:
    judged = judge(odd.content, **dict(odd.changes))
    finding = judged.judgement.finding
    if odd.says:
        assert finding is not None
        assert odd.says in f"{finding.what} {finding.why}"
        assert odd.where in finding.where
        assert judged.lines("accepted") == judged.lines("quarantine") == ()
    else:
        assert finding is None
        assert (judged.lines("accepted"), judged.lines("quarantine")) == (odd.good, odd.bad)
        assert {row.line for row in judged.judgement.examples} == set(odd.bad)
        assert all(row.reasons for row in judged.judgement.examples)


def test_what_was_detected_is_reported(judge: Judge) -> None:
    reading = judge("Report of March\n" + PLAIN.replace(",", ";").replace(".", ","), decimal=",").judgement.reading
    assert reading is not None
    assert (reading.encoding, reading.delimiter, reading.header_line) == ("utf-8", ";", 2)
    assert set(reading.detected) == {"encoding", "delimiter", "header_line"}


def test_what_the_contract_states_is_not_called_detected(judge: Judge) -> None:
    reading = judge(gzip.compress(PLAIN.encode("cp1252")), encoding="cp1252", delimiter=",").judgement.reading
    assert reading is not None
    assert (reading.packed, reading.encoding, reading.detected) == (True, "cp1252", ())


def test_times_without_a_zone_are_those_of_the_stated_one(judge: Judge) -> None:
    columns = {**COLUMNS, "at": {"type": "timestamp", "zone": "Europe/Berlin", "format": "%d.%m.%Y %H:%M"}}
    judged = judge("at,y\n01.07.2017 08:00,1\n01.01.2017 08:00,2\n", columns=columns)
    assert sorted(at.isoformat() for (at,) in judged.query("accepted", '"at"')) == [
        "2017-01-01T07:00:00",
        "2017-07-01T06:00:00",
    ]


def test_unexpected_and_missing_columns_may_be_warned_of(judge: Judge) -> None:
    judged = judge("y,note\n1,x\n", unexpected_columns="warn", missing_columns="warn")
    assert judged.judgement.warnings == (
        "1 column the contract does not know: note.",
        "3 columns the file does not have: at, place, temp.",
    )


def test_every_reason_of_a_row_is_told_once(judge: Judge) -> None:
    judged = judge("at,place,temp,y\nsoon,Kiel,1_000,x\n2017-03-01,Ulm,1,1\n")
    (row,) = judged.judgement.examples
    assert [reason.partition(" ")[0] for reason in row.reasons] == ["at", "temp", "y"]


def test_the_profile_describes_what_was_accepted(judge: Judge) -> None:
    rows = "".join(f"2017-03-01,{'Kiel' if n % 4 else 'Ulm'},{n / 10 if n % 10 else ''},{n}\n" for n in range(100))
    profile = judge(HEADER + rows + "2017-03-09,Kiel,99,1\n").judgement.profile
    assert profile is not None
    at, place, temp, y = profile.columns
    assert (profile.rows, profile.sampled) == (100, 100)
    assert (at.nulls, at.min, at.max) == (0, "2017-03-01 00:00:00", "2017-03-01 00:00:00")
    assert place.top == (("Kiel", 0.75), ("Ulm", 0.25))
    assert (temp.nulls, temp.min, temp.max) == (10, "0.1", "9.9")
    assert temp.mean == pytest.approx(5.0)
    assert y.quantiles[profile.quantiles.index(0.5)] == 49.5
    assert y.distinct == 100


@pytest.mark.parametrize("marked", [7, 21, 64, csv_shape.MARKED])
def test_large_files_are_read_in_pieces_and_keep_their_lines(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, marked: int
) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 1000)
    monkeypatch.setattr(csv_look, "CHUNK", 700)
    monkeypatch.setattr(csv_shape, "MARKED", marked)
    bad = {2, 3, 500, 501, 502, 777, 1001}
    rows = "".join(f"2017-03-01,Kiel,{99 if line in bad else 1},{line}\n" for line in range(2, 1002))
    judged = judge(HEADER + rows)
    assert set(judged.lines("quarantine")) == bad
    counted = judged.query("accepted", "count(*), count(*) FILTER (y = ratchet_line)")
    assert counted == [(993, 993)]
    assert judged.query("quarantine", "list(y ORDER BY ratchet_line)") == [([str(line) for line in sorted(bad)],)]


@pytest.mark.parametrize("chunk", [90, 700, 1 << 18])
def test_the_profile_of_a_large_file_is_of_lines_spread_over_all_of_it(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 1000)
    monkeypatch.setattr(csv_look, "CHUNK", chunk)
    for module in ("csv_shape", "duckdb_sources"):
        monkeypatch.setattr(f"ratchet.adapters.{module}.SAMPLE_ROWS", 1000)
    rows = "".join(f"2017-03-01,Kiel,{n % 70},{n}\n" for n in range(10_000))  # from 61 on no temperature
    profile = judge(HEADER + rows).judgement.profile
    assert profile is not None
    (y,) = (column for column in profile.columns if column.column == "y")
    (temp,) = (column for column in profile.columns if column.column == "temp")
    accepted = [n for n in range(10_000) if n % 70 <= 60]
    assert profile.rows == len(accepted)
    assert 700 < profile.sampled < 1000  # a thousand lines, of which some are bad or end in another chunk
    assert y.quantiles == pytest.approx([share * 10_000 for share in profile.quantiles], abs=100)
    assert temp.quantiles[-1] <= 60
    assert y.mean == pytest.approx(sum(accepted) / len(accepted))
    assert y.max == str(max(accepted))


def test_the_profile_is_of_rows_that_no_other_makes_bad(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 1000)
    for module in ("csv_shape", "duckdb_sources"):
        monkeypatch.setattr(f"ratchet.adapters.{module}.SAMPLE_ROWS", 10)
    rows = "".join(f"2017-03-01,Kiel,1,{max(n - 500, 0)}\n" for n in range(1000))
    profile = judge(HEADER + rows, key=["y"], unique=True).judgement.profile
    assert profile is not None
    (y,) = (column for column in profile.columns if column.column == "y")
    assert (profile.rows, y.top[0][1]) == (500, 1 / profile.sampled)


@pytest.mark.parametrize("wanted", [[(2, 2), (4, 4), (5, 5), (6, 6)], [(2, 2), (4, 6)]])
def test_a_line_too_long_for_memory_is_never_held(tmp_path: Path, wanted: list[tuple[int, int]]) -> None:
    file = tmp_path / "upload"
    file.write_text("header\nsecond\nthird\nfourth\n" + "x" * (5 << 20) + "\nsixth")
    shape = csv_shape.measure(file, contract(), tmp_path, 1, after=1, delimiter=",")
    picked = dict(csv_file._pick(shape.pieces, iter(wanted)))
    assert {number: text for number, text in picked.items() if number != 5} == {2: "second", 4: "fourth", 6: "sixth"}
    assert csv_shape.MAX_VALUE < len(picked[5]) < 2 * csv_shape.MAX_VALUE


def test_quoted_line_breaks_in_pieces_send_the_file_to_the_exact_reader(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 1000)
    monkeypatch.setattr(csv_look, "CHUNK", 700)
    judged = judge(HEADER + '2017-03-01,"Ki\nel",1,1\n' * 300)
    assert judged.lines("accepted") == tuple(range(2, 602, 2))


@pytest.mark.parametrize(("row", "good"), [('2017-03-01,"Ki\nel",1,1\n', 101), ('2017-03-01,"Ki\nel,1,1\n', 50)])
def test_a_quoted_line_break_where_a_piece_ends_is_found(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, row: str, good: int
) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 100)
    half = "2017-03-01,Ulm,1,1\n" * 50
    judged = judge(HEADER + half + row + half)
    shape = csv_shape.measure(judged.folder / "upload", contract(), judged.folder, 2, after=1, delimiter=",")
    assert [piece.lines for piece in shape.pieces] == [51, 51]
    assert shape.quotes
    assert len(judged.lines("accepted")) == good


@pytest.mark.parametrize(("odd", "says"), [(b"a\0b", "line 702"), (b"K\xf6ln", "line 702")])
def test_what_is_no_text_in_a_later_piece_is_found_in_its_line(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, odd: bytes, says: str
) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 1000)
    row = b"2017-03-01,Kiel,1,1\n"
    finding = judge(HEADER.encode() + row * 700 + b"2017-03-01," + odd + b",1,1\n" + row * 299).judgement.finding
    assert finding is not None
    assert says in finding.where


@pytest.mark.parametrize(("ends", "error"), [(errno.ENOSPC, UploadTooLargeError), (1, ValidationBrokenError)])
def test_a_look_that_ends_early_in_its_process_says_so(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: int, error: type[Exception]
) -> None:
    monkeypatch.setattr("ratchet.adapters.duckdb_sources._PIECE", 1000)
    script = tmp_path / "script.py"
    script.write_text(f"raise SystemExit({ends})")
    monkeypatch.setattr(csv_look, "__file__", str(script))
    with pytest.raises(error):
        judge(HEADER + ROWS * 100)


def test_a_gzip_bomb_is_refused_before_it_fills_the_disk(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_file, "_BOMB_BYTES", 4 << 20)
    finding = judge(gzip.compress(bytes(32 << 20))).judgement.finding
    assert finding is not None
    assert "unpacks to more than" in finding.what


def test_a_full_disk_is_for_a_larger_place(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv_shape, "look", full)
    with pytest.raises(UploadTooLargeError):
        judge(PLAIN)


@pytest.mark.slow
def test_a_line_of_two_gigabytes_ends_within_bounded_memory(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415

    file = tmp_path / "upload"
    with file.open("wb") as target:
        target.write(PLAIN.encode() + b"2017-03-04,")
        for _ in range(2048):
            target.write(b"x" * (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    judgement = DuckDbValidator(memory_mb=1024, threads=2)(file, contract(), "a" * 64, RECEIVED)
    assert judgement.finding is None
    assert [row.line for row in judgement.examples] == [5]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KB


@pytest.mark.slow
def test_a_gzip_bomb_of_ten_gigabytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "upload"
    with gzip.open(file, "wb", compresslevel=1) as target:
        for _ in range(10_240):
            target.write(bytes(1 << 20))
    finding = DuckDbValidator(memory_mb=1024)(file, contract(), "a" * 64, RECEIVED).finding
    assert finding is not None
    assert "unpacks to more than" in finding.what
