"""Any CSV file: DuckDB's fast reading and the exact line reader agree with Python's own reader, line by line."""

import csv
import gzip
import io
import tempfile
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.domain.data_contract import DataSection
from ratchet.domain.validation import Judgement

CONTRACT = DataSection.model_validate(
    {
        "target": "y",
        "task": "regression",
        "max_bad_rows": 1.0,
        "columns": {"y": {"type": "string"}, "a": {"type": "string"}, "b": {"type": "string"}},
    }
)
UPLOAD = "b" * 64
RECEIVED = datetime(2017, 4, 1, tzinfo=UTC)
VALIDATE = DuckDbValidator(memory_mb=512, threads=2)

texts = st.text(
    st.one_of(
        st.sampled_from(list("ab ,\"\n\r;\t|\\'#0.")), st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    ),
    max_size=12,
)
rows = st.lists(st.tuples(texts.filter(str.strip), texts, texts), min_size=1, max_size=12)
endings = st.sampled_from(["\n", "\r\n"])


def judge(
    content: bytes, data: DataSection = CONTRACT
) -> tuple[Judgement, list[tuple[object, ...]], list[tuple[object, ...]]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "upload"
        file.write_bytes(content)
        judgement = VALIDATE(file, data, UPLOAD, RECEIVED)
        accepted = sorted(_rows(file.parent / "accepted.parquet"), key=itemgetter(-2))
        return judgement, accepted, _rows(file.parent / "quarantine.parquet")


def _rows(file: Path) -> list[tuple[object, ...]]:
    return duckdb.connect().execute(f"FROM '{file}'").fetchall() if file.exists() else []


def written(records: list[tuple[str, ...]], ending: str, quoting: int) -> tuple[str, list[int]]:
    """The CSV text, and the line each record starts in as an editor counts them."""
    file = io.StringIO(newline="")
    if any("\r" in value for record in records for value in record):
        quoting = csv.QUOTE_ALL  # Python leaves a lone carriage return unquoted, where every reader sees a line end
    writer = csv.writer(file, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(("y", "a", "b"))
    lines = []
    for record in records:
        lines.append(len(io.StringIO(file.getvalue(), newline=None).readlines()) + 1)
        writer.writerow(record)
    return file.getvalue(), lines


@settings(max_examples=60)
@given(rows, endings, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_what_a_csv_writer_wrote_is_read_back_with_its_lines(
    records: list[tuple[str, ...]], ending: str, quoting: int
) -> None:
    text, lines = written(records, ending, quoting)
    judgement, accepted, _ = judge(text.encode())
    assert judgement.finding is None
    assert judgement.bad_rows == 0
    assert [row[:3] for row in accepted] == [tuple(value or None for value in record) for record in records]
    assert [row[4] for row in accepted] == lines


@settings(max_examples=60)
@given(
    rows, st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["", "x", "x,y", "x,y,z,w", 'x,"y" z,w'])), max_size=4)
)
def test_lines_that_are_no_rows_never_shift_the_others(
    records: list[tuple[str, ...]], intruders: list[tuple[int, str]]
) -> None:
    pieces = [_piece(record) for record in records]
    expected_bad = 0
    for place, intruder in sorted(intruders, reverse=True):
        pieces.insert(min(place, len(pieces)), intruder)
        expected_bad += bool(intruder)
    content = '"y","a","b"\n' + "".join(piece + "\n" for piece in pieces)
    judgement, accepted, quarantine = judge(content.encode())
    assert judgement.rows == len(records) + expected_bad
    assert judgement.bad_rows == expected_bad
    if judgement.finding is None:
        assert [row[:3] for row in accepted] == [tuple(value or None for value in record) for record in records]
        numbered = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for row in quarantine:
            assert numbered[int(str(row[3])) - 1] in {intruder for _, intruder in intruders}


def _piece(record: tuple[str, ...]) -> str:
    return ",".join('"' + value.replace('"', '""') + '"' for value in record)


def ends_well(content: bytes, data: DataSection = CONTRACT) -> None:
    """Accepted or rejected with reasons, and every row is in one of the two files."""
    judgement, accepted, quarantine = judge(content, data)
    if judgement.finding is not None:
        assert all(judgement.finding.model_dump().values())
        assert not accepted
        return
    assert len(accepted) == judgement.accepted_rows >= 1
    assert len(quarantine) == judgement.bad_rows
    assert all(row[-1] for row in quarantine)
    assert len({row[-2] for row in accepted} | {row[-2] for row in quarantine}) == judgement.rows
    assert sum(rule.rows for rule in judgement.broken) >= judgement.bad_rows


@settings(max_examples=150)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_end_in_a_judgement(content: bytes, with_header: bool) -> None:
    ends_well((b"y,a,b\n" if with_header else b"") + content)


TYPED = DataSection.model_validate(
    {
        "target": "y",
        "task": "regression",
        "timestamp": "at",
        "key": ["at"],
        "unique": True,
        "order": "ascending",
        "max_bad_rows": 1.0,
        "nulls": ["NA"],
        "columns": {
            "y": {"type": "integer", "min": 0, "max": 1e6, "allowed": list(range(100))},
            "at": {"type": "timestamp"},
            "x": {"type": "number", "max": 50},
            "open": {"type": "boolean"},
        },
        "compare": ["y <= x"],
    }
)
cells = st.one_of(
    st.sampled_from(
        ["", "0", "1", "-1", "12.0", "1.5", "1e3", "1e999", "nan", "inf", "0x1F", "1_0", "NA", "true", "9" * 30]
    ),
    st.sampled_from(
        ["2017-03-01", "2017-03-01 24:00", "2017-03-01T08:00Z", "2017-03-01 08:00+15", "9999-12-31", "epoch", " 7 "]
    ),
    texts,
)
tables = st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=20)


@settings(max_examples=150)
@given(
    tables,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"]),
    st.sampled_from(",;\t|"),
    st.booleans(),
)
def test_any_values_end_in_a_judgement(
    table: list[tuple[str, ...]], encoding: str, delimiter: str, packed: bool
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([("y", "at", "x", "open"), *table])
    content = file.getvalue().encode(encoding, errors="replace")
    ends_well(gzip.compress(content) if packed else content, TYPED)


FIRST, SECOND = b'1,2017-03-01 00:00:00,1.5,true\n2,2017-03-01 01:00:00,2.5,"no"\n', b"3,2017-03-01 02:00:00,,0\n"
SOUND = b"y,at,x,open\n" + (FIRST + SECOND) * 2
tokens = st.sampled_from(
    [
        b'"',
        b",",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xff",
        b"\xc3",
        b'""',
        b'\n"',
        b";",
        b"\x1f\x8b",
        b"\xef\xbb\xbf",
        b"{",
    ]
)
damages = st.tuples(st.integers(0, len(SOUND)), st.integers(0, 12), tokens | st.binary(max_size=4))


@settings(max_examples=200)
@given(st.lists(damages, max_size=6), st.integers(0, 40))
def test_any_damage_to_a_sound_file_ends_in_a_judgement(changes: list[tuple[int, int, bytes]], cut: int) -> None:
    content = SOUND
    for place, length, token in changes:
        content = content[:place] + token + content[place + length :]
    packed = gzip.compress(content) if cut % 4 == 0 else content
    ends_well(packed[: len(packed) - cut // 4], TYPED)
