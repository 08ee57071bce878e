"""Numbers that DuckDB's CSV reader casts by itself are judged as their text would be."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ratchet.adapters import csv_look, csv_shape
from ratchet.adapters.csv_shape import Shape, measure
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.domain.data_contract import DataSection

DATA: dict[str, Any] = {
    "target": "y",
    "task": "regression",
    "max_bad_rows": 0.5,
    "columns": {"y": {"type": "number"}, "whole": {"type": "integer", "max": 1e18}, "truth": {"type": "boolean"}},
}
GOOD = "1.5,7,true\n" * 3
ODD = (
    *("1", "-1", "+1", "1.", ".5", "1e3", "1e400", "inf", "nan", "Infinity", "0x1F", "0b1", "1,5", " 1 ", "\t1", "--1"),
    *("1e", "e1", "1.5.2", "-0", "1d", "1f", "true", "T", "f", "yes", "n", "on", "off", "½", "\u0661", "\u00a01", "1%"),
    *("1" * 400, "4.9e-324", "1.7976931348623159e308", "9223372036854775808", "0e0", "1'000", "(1)", "1-", "."),
)


def judged(rows: str, folder: Path, **changes: Any) -> None:
    """Writes the accepted and the quarantined rows into the folder."""
    file = folder / "upload"
    file.write_text(f"y,whole,truth\n{rows}")
    data = DataSection.model_validate({**DATA, **changes})
    assert DuckDbValidator()(file, data, "0" * 64, datetime.now(UTC)).finding is None


def rows_of(folder: Path, name: str, columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT {columns} FROM '{folder / name}.parquet' ORDER BY ratchet_line"  # noqa: S608
    return duckdb.connect().execute(query).fetchall()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1.5,1.5,true", 'whole "1.5" is not a whole number'),
        ("1.5,+-1,true", 'whole "+-1" is not a whole number'),
        ("1.5,0x1F,true", 'whole "0x1F" is not a whole number'),
        ("1.5,1_000,true", 'whole "1_000" is not a whole number'),
        ("nan,7,true", 'y "nan" is not a number such as 3.5, without thousands separators or units'),
        ("1.5,7,perhaps", 'truth "perhaps" is not true or false'),
        ("1.5,inf,true", 'whole "inf" is not a whole number'),
        (",7,true", "y is empty"),
    ],
)
def test_what_is_not_of_its_type_is_put_aside(tmp_path: Path, row: str, reason: str) -> None:
    judged(f"{GOOD}{row}\n{GOOD}", tmp_path)
    assert rows_of(tmp_path, "quarantine", "ratchet_line, ratchet_reasons") == [(5, [reason])]
    assert rows_of(tmp_path, "accepted", "y, whole, truth") == [(1.5, 7, True)] * 6


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300", "-1e300", "9007199254740993", "10", "-1"])
@pytest.mark.parametrize("column", ["y", "whole"])
def test_bounds_refuse_what_is_not_finite_or_too_large_for_any_type(tmp_path: Path, column: str, value: str) -> None:
    bounds = {"min": 0, "max": 9}
    columns = {"y": {"type": "number", **bounds}, "whole": {"type": "integer", **bounds}, "truth": {"type": "boolean"}}
    row = {"y": "1.5", "whole": "7", column: value}
    judged(f"{GOOD}{row['y']},{row['whole']},true\n{GOOD}", tmp_path, columns=columns)
    assert rows_of(tmp_path, "quarantine", "ratchet_line") == [(5,)]
    assert rows_of(tmp_path, "accepted", "y, whole, truth") == [(1.5, 7, True)] * 6


def test_bounds_do_not_make_whole_what_is_not(tmp_path: Path) -> None:
    columns = {**DATA["columns"], "whole": {"type": "integer", "min": 0, "max": 9}}
    judged(f"{GOOD}1.5,1.5,true\n1.5,,true\n", tmp_path, columns=columns)
    assert rows_of(tmp_path, "quarantine", "ratchet_line") == [(5,)]
    assert rows_of(tmp_path, "accepted", "whole")[-1] == (None,)


@pytest.mark.parametrize("whole", [2**53 + 1, -(2**53) - 1, 2**53 - 1])
def test_whole_numbers_are_kept_to_the_digit(tmp_path: Path, whole: int) -> None:
    judged(f"{GOOD}2,{whole}, false\n", tmp_path)
    assert rows_of(tmp_path, "accepted", "whole, truth")[-1] == (whole, False)


@pytest.mark.parametrize(
    ("kind", "cast"), [("DOUBLE", "TRY_CAST(text AS DOUBLE)"), ("BOOLEAN", "TRY_CAST(text AS BOOLEAN)")]
)
def test_the_reader_casts_no_other_texts_than_a_cast_does(tmp_path: Path, kind: str, cast: str) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("".join(f'{place},"{text}"\n' for place, text in enumerate(ODD)))
    connection = duckdb.connect()
    options = "auto_detect=false, quote='\"', ignore_errors=true"
    read = connection.execute(f"FROM read_csv('{file}', {options}, columns={{'place': 'INT', 'value': '{kind}'}})")
    found = dict(read.fetchall())
    texts = f"FROM read_csv('{file}', {options}, columns={{'place': 'INT', 'text': 'VARCHAR'}})"
    expected = dict(connection.execute(f"SELECT place, {cast} AS value {texts} WHERE value IS NOT NULL").fetchall())
    assert str(found) == str(expected)  # as text, since NaN is not NaN


def shape_of(text: str, folder: Path) -> Shape:
    file = folder / "upload"
    file.write_text(text)
    return measure(file, DataSection.model_validate(DATA), folder, 1, after=1, delimiter=",")


@pytest.mark.parametrize(
    ("row", "over_lines", "spaced"),
    [
        ('"",1,true', False, False),
        ('"a,b",1,true', False, False),
        ('"a\nb",1,true', True, False),
        ('5" pipe,1,true', True, False),
        ('say "it",1,true', False, False),
        ('1, "a",true', False, True),
        ('"a","b","c"', True, False),  # so many that DuckDB counts the rows
    ],
)
@pytest.mark.parametrize("chunk", [64, 1 << 20])
def test_quotes_that_may_hold_a_lines_end_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, over_lines: bool, spaced: bool, chunk: int
) -> None:
    monkeypatch.setattr(csv_look, "CHUNK", chunk)
    monkeypatch.setattr(csv_look, "QUOTE_IS_RARE", 30)
    found = shape_of(f"y,whole,truth\n{row}\n{GOOD * 5}", tmp_path)
    assert (found.quotes, found.spaced_quotes) == (over_lines, spaced)


@pytest.mark.parametrize("chunk", range(1, 24))
def test_a_quote_after_spaces_is_found_wherever_a_chunk_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(csv_look, "CHUNK", chunk)
    monkeypatch.setattr(csv_shape, "MARKED", 1)
    assert shape_of(f'y,whole,truth\n1,  "a",true\n{GOOD}', tmp_path).spaced_quotes


@pytest.mark.parametrize(("row", "over_lines"), [('"a\nb",1,true', True), ('"ab",1,true', False)])
def test_quotes_are_followed_from_one_chunk_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, over_lines: bool
) -> None:
    monkeypatch.setattr(csv_look, "CHUNK", 2)
    monkeypatch.setattr(csv_look, "QUOTE_IS_RARE", 1)
    assert shape_of(f"y,whole,truth\n{row}\n{GOOD}", tmp_path).quotes == over_lines
