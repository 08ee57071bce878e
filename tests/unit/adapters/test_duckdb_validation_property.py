"""Any CSV file: DuckDB's fast reading and the exact line reader agree with Python's own reader, line by line."""

import csv
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


def judge(content: bytes) -> tuple[Judgement, list[tuple[object, ...]], list[tuple[object, ...]]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "upload"
        file.write_bytes(content)
        judgement = VALIDATE(file, CONTRACT, UPLOAD, RECEIVED)
        accepted = sorted(_rows(file.parent / "accepted.parquet"), key=itemgetter(4))
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


@settings(max_examples=100)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_end_in_a_judgement(content: bytes, with_header: bool) -> None:
    judgement, accepted, quarantine = judge((b"y,a,b\n" if with_header else b"") + content)
    if judgement.finding is None:
        assert len(accepted) == judgement.accepted_rows
        assert len(quarantine) == judgement.bad_rows
        assert judgement.accepted_rows >= 1
    else:
        assert all(judgement.finding.model_dump().values())
        assert not accepted
