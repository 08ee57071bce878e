"""The engine on real files: one defect each, judged by content, with the line where it stands."""

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ratchet.adapters.duckdb_connection import connection_in
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import UploadTooLargeError
from ratchet.domain.validation import Judgement

COLUMNS: dict[str, Any] = {
    "at": {"type": "timestamp", "required": True},
    "temp": {"type": "number", "min": 200, "max": 330},
    "weather": {"type": "string", "allowed": ["Clear", "Rain"]},
    "code": {"type": "string", "pattern": "[A-Z]{2}[0-9]+"},
    "open": {"type": "boolean"},
    "volume": {"type": "integer", "min": 0, "required": True},
}
HEADER = "at,temp,weather,code,open,volume\n"
GOOD = "2017-03-01 00:00:00,280.5,Clear,AB1,true,5\n"
UPLOAD = "a" * 64
RECEIVED = datetime(2017, 4, 1, tzinfo=UTC)


def contract(**changes: Any) -> DataSection:
    document = {
        "target": "volume",
        "task": "regression",
        "timestamp": "at",
        "key": ["at"],
        "columns": COLUMNS,
        "max_bad_rows": 0.5,
    }
    return DataSection.model_validate({**document, **changes})


class Judged:
    """A judgement with the rows that were written beside the file."""

    def __init__(self, judgement: Judgement, folder: Path) -> None:
        self.judgement = judgement
        self.finding = judgement.finding
        self._folder = folder

    def rows(self, name: str) -> list[dict[str, Any]]:
        table = duckdb.connect().execute(f"FROM read_parquet('{self._folder / name}.parquet')")
        names = [column[0] for column in table.description or ()]
        return [dict(zip(names, row, strict=True)) for row in table.fetchall()]

    def wrote(self, name: str) -> bool:
        return (self._folder / f"{name}.parquet").exists()


Judge = Callable[..., Judged]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    validate = DuckDbValidator(memory_mb=512, threads=2)

    def run(content: str | bytes, **changes: Any) -> Judged:
        folder = tmp_path / hashlib.sha256(repr((content, changes)).encode()).hexdigest()[:12]
        folder.mkdir()
        file = folder / "upload"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return Judged(validate(file, contract(**changes), UPLOAD, RECEIVED), folder)

    return run


@pytest.mark.parametrize("timestamp", ["at", None])
def test_good_rows_become_the_contracts_types_with_their_line_and_bucket(judge: Judge, timestamp: str | None) -> None:
    judged = judge(HEADER + GOOD, timestamp=timestamp)
    bucket = int(hashlib.md5(b"2017-03-01 00:00:00", usedforsecurity=False).hexdigest()[:8], 16) % 10_000
    assert judged.finding is None
    row = judged.rows("accepted")[0]
    assert row.pop("at").isoformat() == "2017-03-01T00:00:00"
    assert row == {
        "temp": 280.5,
        "weather": "Clear",
        "code": "AB1",
        "open": True,
        "volume": 5,
        "ratchet_upload": UPLOAD,
        "ratchet_line": 2,
        "ratchet_bucket": None if timestamp else bucket,  # a time series is split by time
    }
    assert not judged.wrote("quarantine")


def test_the_parquet_schema_is_the_contracts(judge: Judge, tmp_path: Path) -> None:
    judged = judge("at,volume\n2017-03-01,5\n")
    described = duckdb.connect().execute(f"DESCRIBE FROM '{next(tmp_path.rglob('accepted.parquet'))}'").fetchall()
    assert [(name, kind) for name, kind, *_ in described] == [
        ("at", "TIMESTAMP"),
        ("temp", "DOUBLE"),
        ("weather", "VARCHAR"),
        ("code", "VARCHAR"),
        ("open", "BOOLEAN"),
        ("volume", "BIGINT"),
        ("ratchet_upload", "VARCHAR"),
        ("ratchet_line", "BIGINT"),
        ("ratchet_bucket", "INTEGER"),
    ]
    assert judged.judgement.absent == ("temp", "weather", "code", "open")


BAD_ROWS = {
    "not a timestamp": ("01.03.2017,280,Clear,AB1,true,5", "at", "type"),
    "an impossible date": ("2017-02-30,280,Clear,AB1,true,5", "at", "type"),
    "an impossible hour": ("2017-03-01 25:00:00,280,Clear,AB1,true,5", "at", "type"),
    "a named day": ("today,280,Clear,AB1,true,5", "at", "type"),
    "an infinite day": ("infinity,280,Clear,AB1,true,5", "at", "type"),
    "a one-digit month": ("2017-3-1,280,Clear,AB1,true,5", "at", "type"),
    "an epoch": ("1488326400,280,Clear,AB1,true,5", "at", "type"),
    "no timestamp": (",280,Clear,AB1,true,5", "at", "required"),
    "a word for a number": ("2017-03-01,warm,Clear,AB1,true,5", "temp", "type"),
    "a decimal comma": ('2017-03-01,"280,5",Clear,AB1,true,5', "temp", "type"),
    "not a finite number": ("2017-03-01,nan,Clear,AB1,true,5", "temp", "type"),
    "an infinite number": ("2017-03-01,1e999,Clear,AB1,true,5", "temp", "type"),
    "a number with a unit": ("2017-03-01,280 K,Clear,AB1,true,5", "temp", "type"),
    "below the minimum": ("2017-03-01,199.9,Clear,AB1,true,5", "temp", "min"),
    "above the maximum": ("2017-03-01,330.1,Clear,AB1,true,5", "temp", "max"),
    "not allowed": ("2017-03-01,280,Fog,AB1,true,5", "weather", "allowed"),
    "allowed but for its case": ("2017-03-01,280,clear,AB1,true,5", "weather", "allowed"),
    "a pattern matched in part": ("2017-03-01,280,Clear,xAB1,true,5", "code", "pattern"),
    "not a boolean": ("2017-03-01,280,Clear,AB1,maybe,5", "open", "type"),
    "a fraction for an integer": ("2017-03-01,280,Clear,AB1,true,5.5", "volume", "type"),
    "a grouped integer": ("2017-03-01,280,Clear,AB1,true,1_000", "volume", "type"),
    "a hexadecimal integer": ("2017-03-01,280,Clear,AB1,true,0x1F", "volume", "type"),
    "an integer of more than 64 bits": ("2017-03-01,280,Clear,AB1,true,9223372036854775808", "volume", "type"),
    "no target": ("2017-03-01,280,Clear,AB1,true,", "volume", "required"),
    "too few values": ("2017-03-01,280,Clear,AB1,true", None, "shape"),
    "too many values": ("2017-03-01,280,Clear,AB1,true,5,6", None, "shape"),
    "far too many values": ("2017-03-01,280,Clear,AB1,true,5,6,7,8", None, "shape"),
    "a stray quote": ('2017-03-01,280,"Cle"ar,AB1,true,5', None, "shape"),
    "a value without end": ("2017-03-01,280," + "x" * 200_000 + ",AB1,true,5", None, "shape"),
}


@pytest.mark.parametrize(("line", "column", "rule"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_quarantined_with_its_line_and_reason(
    judge: Judge, line: str, column: str | None, rule: str
) -> None:
    judged = judge(HEADER + GOOD + line + "\n" + GOOD)
    assert judged.finding is None
    (broken,) = judged.judgement.broken
    assert (broken.column, broken.rule, broken.rows, broken.first_line) == (column, rule, 1, 3)
    (example,) = judged.judgement.examples
    assert (example.line, example.columns) == (3, (column,) if column else ())
    (put_aside,) = judged.rows("quarantine")
    assert put_aside["ratchet_line"] == 3
    assert put_aside["ratchet_reasons"] == list(example.reasons)
    assert [row["ratchet_line"] for row in judged.rows("accepted")] == [2, 4]


GOOD_VALUES = {
    "a date": ("at", "2017-03-01", "2017-03-01T00:00:00"),
    "ISO 8601": ("at", "2017-03-01T08:30:00", "2017-03-01T08:30:00"),
    "minutes only": ("at", "2017-03-01T08:30", "2017-03-01T08:30:00"),
    "fractions": ("at", "2017-03-01 08:30:00.25", "2017-03-01T08:30:00.250000"),
    "Zulu time": ("at", "2017-03-01T08:30:00Z", "2017-03-01T08:30:00"),
    "an offset": ("at", "2017-03-01T08:30:00+02:00", "2017-03-01T06:30:00"),
    "an offset without colon": ("at", "2017-03-01 08:30:00-0330", "2017-03-01T12:00:00"),
    "spaces around a time": ("at", " 2017-03-01 08:30:00 ", "2017-03-01T08:30:00"),
    "spaces around a number": ("temp", " 280 ", 280.0),
    "an exponent": ("temp", "2.8e2", 280.0),
    "an integer as pandas writes it": ("volume", "12.0", 12),
    "the greatest integer": ("volume", "9223372036854775807", 9223372036854775807),
    "yes": ("open", "Yes", True),
    "zero": ("open", "0", False),
    "nothing": ("temp", "", None),
}


@pytest.mark.parametrize(("column", "text", "value"), GOOD_VALUES.values(), ids=GOOD_VALUES.keys())
def test_a_good_value_is_read(judge: Judge, column: str, text: str, value: object) -> None:
    row = dict(zip(COLUMNS, GOOD.strip().split(","), strict=True)) | {column: text}
    judged = judge(HEADER + ",".join(row.values()) + "\n")
    assert judged.judgement.bad_rows == 0
    found = judged.rows("accepted")[0][column]
    assert (found.isoformat() if column == "at" else found) == value


REJECTED = {
    "nothing": (b"", "empty"),
    "only blanks": (b"\n\n  \n", "empty"),
    "only a byte order mark": (b"\xef\xbb\xbf", "empty"),
    "a header only": (HEADER.encode(), "no rows"),
    "a header without line end": (HEADER.strip().encode(), "no rows"),
    "an Excel workbook": (b"PK\x03\x04\x14\x00\x06\x00" + bytes(200), "Excel"),
    "an old Excel workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(200), "Excel"),
    "a web page": (b"\n<!DOCTYPE html><html><body>Please log in</body></html>", "web page"),
    "a Parquet file": (b"PAR1" + bytes(20) + b"PAR1", "Parquet"),
    "JSON": (b'[{"at": "2017-03-01", "volume": 5}]', "JSON"),
    "binary data": (b"at,volume\n\x00\x01\x02\x03" + bytes(range(256)), "binary"),
    "gzip in gzip": (gzip.compress(gzip.compress(HEADER.encode())), "gzip"),
    "broken gzip": (gzip.compress((HEADER + GOOD * 500).encode())[:-12], "damaged"),
    "gzip with a wrong checksum": (gzip.compress(HEADER.encode())[:-8] + bytes(8), "damaged"),
    "UTF-16 without a mark": ((HEADER + GOOD).encode("utf-16-le"), "UTF-16"),
    "no required column": (b"at,temp\n2017-03-01,280\n", "'volume'"),
    "a required column in another case": (b"at,Volume\n2017-03-01,280\n", "'volume'"),
    "a column twice": (b"at,volume,temp,temp\n2017-03-01,5,280,281\n", "more than once"),
    "a column twice but for its case": (b"at,volume,temp,Temp\n2017-03-01,5,280,281\n", "more than once"),
    "no header": (b"2017-03-01,5\n2017-03-02,6\n", "lacks"),
}


@pytest.mark.parametrize(("content", "says"), REJECTED.values(), ids=REJECTED.keys())
def test_a_file_that_cannot_be_judged_by_rows_is_rejected_in_plain_words(
    judge: Judge, content: bytes, says: str
) -> None:
    judged = judge(content)
    assert judged.finding is not None
    assert says in judged.finding.what
    assert not judged.wrote("accepted")
    assert not judged.wrote("quarantine")


def test_another_encoding_is_rejected_with_the_line_and_the_likeliest_one(judge: Judge) -> None:
    judged = judge((HEADER + GOOD * 3).encode() + "2017-03-01,280,Clear,Glätte,true,5\n".encode("cp1252"))
    assert judged.finding is not None
    assert judged.finding.where == "line 5"
    assert "Windows-1252" in judged.finding.what
    assert "Glätte" in judged.finding.what


def test_another_encoding_is_seen_in_a_column_the_contract_does_not_know(judge: Judge) -> None:
    judged = judge(b"at,volume,note\n2017-03-01,5,ok\n2017-03-02,5,\xe4\n")
    assert judged.finding is not None
    assert judged.finding.where == "line 3"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\ufeff" + HEADER + GOOD, id="a byte order mark"),
        pytest.param((HEADER + GOOD).replace("\n", "\r\n"), id="CRLF"),
        pytest.param((HEADER + GOOD).replace("\n", "\r"), id="CR"),
        pytest.param(HEADER + GOOD.strip(), id="no last line end"),
        pytest.param(HEADER + GOOD + "\n\n\n", id="blank lines at the end"),
        pytest.param(HEADER + GOOD.strip() + ",\n", id="a comma at the line's end"),
        pytest.param(" at , temp,weather,code,open, volume \n" + GOOD, id="spaces in the header"),
        pytest.param(HEADER + '"' + GOOD.strip().replace(",", '","') + '"\n', id="quoted values"),
        pytest.param((HEADER + GOOD).encode("utf-16"), id="UTF-16"),
        pytest.param((HEADER + GOOD).encode("utf-32"), id="UTF-32"),
        pytest.param((HEADER + GOOD).replace(",", ";"), id="semicolons"),
        pytest.param((HEADER + GOOD).replace(",", "\t"), id="tabs"),
        pytest.param(gzip.compress((HEADER + GOOD).encode()), id="gzip"),
        pytest.param(
            gzip.compress(HEADER.encode()) + gzip.compress(GOOD.encode()), id="gzip of two members, as logs are"
        ),
    ],
)
def test_harmless_variants_are_read_the_same(judge: Judge, content: str | bytes) -> None:
    judged = judge(content)
    assert judged.finding is None
    assert judged.rows("accepted") == judge(HEADER + GOOD).rows("accepted")


def test_unexpected_columns_are_ignored_but_reported_and_kept_in_quarantine(judge: Judge) -> None:
    judged = judge("note,at,volume,,ratchet_line\nx,2017-03-01,5,,9\ny,2017-03-02,many,,9\n")
    assert judged.judgement.unexpected == ("note", "column 4", "ratchet_line")
    assert judged.rows("quarantine") == [
        {
            "note": "y",
            "at": "2017-03-02",
            "volume": "many",
            "column 4": None,
            "source_ratchet_line": "9",
            "ratchet_line": 3,
            "ratchet_reasons": ['volume "many" is not a whole number'],
        }
    ]


def test_every_reason_of_a_row_is_told_and_long_values_are_shortened(judge: Judge) -> None:
    judged = judge(HEADER + GOOD + f"later,1,{'Fog' * 40},AB1,true,5\n")
    (example,) = judged.judgement.examples
    assert example.columns == ("at", "temp", "weather")
    assert example.reasons == (
        'at "later" is not a date and time such as 2017-03-31 08:00:00 or 2017-03-31T08:00:00Z',
        'temp "1" is below 200',
        f'weather "{("Fog" * 40)[:40]}…" is not allowed',
    )


def test_lines_are_those_of_an_editor_after_quoted_line_breaks_and_blank_lines(judge: Judge) -> None:
    judged = judge(
        "at,volume,note\n"  # 1
        '2017-03-01,1,"two\nlines"\n'  # 2, 3
        "\n"  # 4
        "2017-03-02,2,x\n"  # 5
        '2017-03-03,many,"three\r\nmore\nlines"\n'  # 6, 7, 8
        "2017-03-04\n"  # 9
        "2017-03-05,5,y\n"  # 10
    )
    assert sorted(row["ratchet_line"] for row in judged.rows("accepted")) == [2, 5, 10]
    assert sorted(row["ratchet_line"] for row in judged.rows("quarantine")) == [6, 9]


def test_a_header_after_blank_lines_and_a_quote_after_a_space_are_understood(judge: Judge) -> None:
    judged = judge('\n\nat, volume, note\n2017-03-01, 5, "a, b"\n')
    assert judged.finding is None
    assert judged.rows("accepted")[0]["ratchet_line"] == 4


def test_a_delimiter_at_the_end_of_a_quoted_value_is_no_quote_after_a_space(judge: Judge) -> None:
    columns = {"a": {"type": "string"}, "b": {"type": "string"}}
    judged = judge('a,b\n"x, ", y\n', key=[], timestamp=None, target="a", columns=columns)
    assert [(row["a"], row["b"]) for row in judged.rows("accepted")] == [("x, ", " y")]


def test_a_quote_that_never_closes_costs_its_line_only(judge: Judge) -> None:
    judged = judge(HEADER + GOOD * 3 + '2017-03-01,280,"Clear,AB1,true,5\n')
    assert judged.finding is None
    assert judged.judgement.examples[0].line == 5
    assert "cannot be split" in judged.judgement.examples[0].reasons[0]


def test_bad_rows_at_the_limit_are_tolerated_and_one_more_is_not(judge: Judge) -> None:
    bad = "2017-03-01,280,Fog,AB1,true,5\n"
    at_limit = judge(HEADER + GOOD * 71 + bad * 29, max_bad_rows=0.29)  # 0.29 x 100 < 29 in binary
    assert at_limit.finding is None
    over = judge(HEADER + GOOD * 70 + bad * 30, max_bad_rows=0.29)
    assert over.finding is not None
    assert over.finding.what == "30 of 100 rows break the data contract, more than the 29 % it tolerates."
    assert over.finding.where == (
        "line 72, column weather; line 73, column weather; line 74, column weather; and 27 more rows"
    )
    assert over.finding.why.startswith('In line 72, weather "Fog" is not allowed.')
    assert not over.wrote("quarantine")
    assert over.judgement.bad_rows == 30
    assert len(over.judgement.examples) == 20


def test_too_few_usable_rows_reject_the_file(judge: Judge) -> None:
    judged = judge(HEADER + GOOD * 3 + "2017-03-01,280,Fog,AB1,true,5\n", min_rows=4)
    assert judged.finding is not None
    assert judged.finding.what == "The file holds 3 usable rows, fewer than the contract asks for."


def test_the_target_the_timestamp_and_the_key_are_required_without_saying_so(judge: Judge) -> None:
    columns = {**COLUMNS, "at": {"type": "timestamp"}, "volume": {"type": "integer"}}
    judged = judge(HEADER + GOOD + ",280,Clear,AB1,true,\n", columns=columns)
    assert [(broken.column, broken.rule) for broken in judged.judgement.broken] == [
        ("at", "required"),
        ("volume", "required"),
    ]


def test_names_and_rules_cannot_break_out_of_the_sql(judge: Judge) -> None:
    name = "we'a\"ther; DROP TABLE x --"
    columns = {
        "at": {"type": "timestamp"},
        name: {"type": "string", "allowed": ["it's", 'a "b"'], "pattern": "[a-z'\" ]*"},
        "volume": {"type": "integer"},
    }
    quoted = name.replace('"', '""')
    judged = judge(
        f'at,"{quoted}",volume\n2017-03-01,it\'s,5\n2017-03-01,"a ""b""",5\n2017-03-01,x\'); --,5\n',
        columns=columns,
    )
    assert judged.finding is None
    assert [row[name] for row in judged.rows("accepted")] == ["it's", 'a "b"']
    assert judged.rows("quarantine")[0][name] == "x'); --"


def test_another_delimiter_is_read_when_the_contract_states_it(judge: Judge) -> None:
    judged = judge("at;volume;note\n2017-03-01;5;a,b\n", delimiter=";")
    assert judged.finding is None
    assert judged.rows("accepted")[0]["volume"] == 5


def test_the_bucket_is_of_the_value_not_of_its_spelling(judge: Judge) -> None:
    judged = judge("at,volume\n2017-03-01,1\n2017-03-01T02:00:00+02:00,2\n2017-03-02,3\n", timestamp=None)
    first, second, third = (row["ratchet_bucket"] for row in judged.rows("accepted"))
    assert first == second != third


def test_without_a_key_the_bucket_is_of_all_columns(judge: Judge) -> None:
    columns = {"a": {"type": "string"}, "y": {"type": "integer"}}
    judged = judge("a,y\nx,1\n,1\n", key=[], timestamp=None, target="y", columns=columns)
    expected = [
        int(hashlib.md5(text, usedforsecurity=False).hexdigest()[:8], 16) % 10_000 for text in (b"x\x1f1", b"\x1f1")
    ]
    assert [row["ratchet_bucket"] for row in judged.rows("accepted")] == expected


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_json_lines_are_judged_with_their_line(judge: Judge) -> None:
    content = (
        jsonl({"at": "2017-03-01T00:00:00Z", "volume": 5, "temp": 280.5, "open": True, "more": {"a": 1}})
        + "\n"
        + "{broken\n"
        + "[1, 2]\n"
        + jsonl({"at": "2017-03-02", "volume": 5.5}, {"at": "2017-03-02", "volume": [5]}, {"at": "2017-03-03"})
        + jsonl({"volume": "7", "weather": None, "at": "2017-03-04"})
    )
    judged = judge(content, format="jsonl", max_bad_rows=0.9)
    assert judged.finding is None
    assert [(row["ratchet_line"], row["volume"], row["temp"]) for row in judged.rows("accepted")] == [
        (1, 5, 280.5),
        (8, 7, None),
    ]
    assert [(example.line, example.columns) for example in judged.judgement.examples] == [
        (3, ()),
        (4, ()),
        (5, ("volume",)),
        (6, ()),
        (7, ("volume",)),
    ]
    assert judged.judgement.unexpected == ("more",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b'[{"at": "2017-03-01", "volume": 5}]', "one JSON list", id="a list"),
        pytest.param(b"at,volume\n2017-03-01,5\n", "lacks", id="CSV"),
        pytest.param(b'{"at": "2017-03-01"}\n', "'volume'", id="no target anywhere"),
        pytest.param(b'{"at": "2017-03-01", "volume": 5}\n{"weather": "\xe4"}\n', "not UTF-8", id="Latin-1"),
        pytest.param(b"", "empty", id="nothing"),
    ],
)
def test_a_file_that_is_no_json_lines_is_rejected(judge: Judge, content: bytes, says: str) -> None:
    judged = judge(content, format="jsonl")
    assert judged.finding is not None
    assert says in judged.finding.what


@pytest.mark.parametrize("prefix", ["\ufeff", "\r\n"])
def test_json_lines_may_start_with_a_mark_or_a_blank_line_and_be_packed(judge: Judge, prefix: str) -> None:
    content = prefix + jsonl({"at": "2017-03-01", "volume": 5}).replace("\n", "\r\n")
    judged = judge(gzip.compress(content.encode()), format="jsonl")
    assert judged.finding is None
    assert judged.rows("accepted")[0]["volume"] == 5


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[[str], bytes]:
    def make(query: str) -> bytes:
        duckdb.connect().execute(
            f"SET TimeZone='America/Chicago'; COPY ({query}) TO '{tmp_path}/made' (FORMAT parquet)"
        )
        return (tmp_path / "made").read_bytes()

    return make


def test_parquet_is_judged_by_value_whatever_its_types(judge: Judge, parquet: Callable[[str], bytes]) -> None:
    content = parquet(
        "FROM (VALUES (TIMESTAMPTZ '2017-03-01 00:00:00+02', 280.5::FLOAT, 5.0::DOUBLE, 'Clear'),"
        " (TIMESTAMPTZ '2017-03-02 00:00:00+00', 'nan'::FLOAT, 6.5, 'Clear'),"
        " (TIMESTAMPTZ '2017-03-03 00:00:00+00', NULL, 7, '')) t(\"at\", temp, volume, weather)"
    )
    for packed in (content, gzip.compress(content)):
        judged = judge(packed, format="parquet")
        assert judged.finding is None
        assert [(row["at"].isoformat(), row["temp"], row["volume"]) for row in judged.rows("accepted")] == [
            ("2017-02-28T22:00:00", 280.5, 5),
            ("2017-03-03T00:00:00", None, 7),
        ]
        assert judged.judgement.unit == "row"
        assert judged.judgement.examples[0].reasons == ('volume "6.5" is not a whole number',)
        assert judged.judgement.examples[0].line == 2


def test_damaged_nested_or_incomplete_parquet_is_rejected(judge: Judge, parquet: Callable[[str], bytes]) -> None:
    good = parquet("SELECT TIMESTAMP '2017-03-01' AS \"at\", i AS volume FROM range(5000) t(i)")
    cases = {
        "damaged": good[:-20],
        "not Parquet": HEADER.encode(),
        "plain values": parquet("SELECT DATE '2017-03-01' AS \"at\", [1] AS volume"),
        "'volume'": parquet("SELECT DATE '2017-03-01' AS \"at\""),
        "no rows": parquet("SELECT DATE '2017-03-01' AS \"at\", 1 AS volume WHERE false"),
    }
    for says, content in cases.items():
        judged = judge(content, format="parquet")
        assert judged.finding is not None, says
        assert says in judged.finding.what


def test_a_file_that_unpacks_beyond_the_room_is_for_a_larger_place(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = gzip.compress(HEADER.encode() + GOOD.encode() * 100_000)
    monkeypatch.setattr(
        "ratchet.adapters.duckdb_validation.disk_usage", lambda _: type("Usage", (), {"free": 3_000_000})
    )
    with pytest.raises(UploadTooLargeError):
        judge(bomb)


def test_duckdb_reaches_nothing_but_the_files_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("a\n1\n")
    inside = tmp_path / "inside"
    inside.mkdir()
    with connection_in(inside, 1024) as connection:
        connection.execute(f"COPY (SELECT 1) TO '{inside / 'x.parquet'}'")
        for forbidden in (
            f"FROM read_csv('{outside}')",
            f"FROM read_csv('{inside}/../outside.csv')",
            "FROM read_csv('http://127.0.0.1:9/x.csv')",
            f"COPY (SELECT 1) TO '{tmp_path / 'y.parquet'}'",
            f"ATTACH '{tmp_path / 'z.db'}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(forbidden)
