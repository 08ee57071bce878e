"""The profile's exact figures are those that the values themselves give, wherever they are taken from."""

import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ratchet.adapters.duckdb_profile import profile
from ratchet.domain.data_contract import DataSection
from ratchet.domain.validation import ColumnProfile

NEW = datetime(2017, 3, 1, tzinfo=UTC).replace(tzinfo=None)
OLD = NEW.replace(year=1999, microsecond=5)
TYPES = {"number": "DOUBLE", "integer": "BIGINT", "string": "VARCHAR", "boolean": "BOOLEAN", "timestamp": "TIMESTAMP"}


def profiled(folder: Path, kind: str, values: list[Any], name: str = "x") -> ColumnProfile:
    """The profile of a column that holds these values, in many row groups."""
    file = folder / "accepted.parquet"
    with duckdb.connect() as connection:
        rows = f"SELECT unnest(?::{TYPES[kind]}[]) AS {name}, unnest(?::BIGINT[]) AS ratchet_line, 1 AS other"
        places = list(range(len(values)))
        copy = f"COPY ({rows}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
        connection.execute(copy, [values, places])
        columns = {name: {"type": kind}, "other": {"type": "integer"}}
        document = {"target": name, "task": "regression", "columns": columns}
        found = profile(connection, file, DataSection.model_validate(document), len(values))
    return found.columns[0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("string", ["short", None, "other"], id="short texts"),
        pytest.param("string", ["é" * 300 + "b", "é" * 300 + "a", None], id="texts that the footer cuts"),
        pytest.param("boolean", [True, None, False, False], id="truth values"),
        pytest.param("timestamp", [NEW, None, OLD], id="times"),
        pytest.param("number", [None, None], id="nothing"),
    ],
)
def test_nulls_and_bounds_are_exact(tmp_path: Path, kind: str, values: list[Any]) -> None:
    column = profiled(tmp_path, kind, values)
    known = [value for value in values if value is not None]
    least, greatest = (str(min(known))[:100], str(max(known))[:100]) if known else (None, None)
    if kind == "boolean":
        least, greatest = "false", "true"
    assert (column.nulls, column.min, column.max) == (len(values) - len(known), least, greatest)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("number", [1.5, None, -7.25, 3.0], id="few"),
        pytest.param("number", [1e9 + n % 3 / 8 for n in range(5000)], id="far from zero"),
        pytest.param("number", [0.001 * (n % 7) for n in range(4999)] + [1e9], id="one far from the others"),
        pytest.param("integer", [2**60 + n for n in range(3000)], id="large whole numbers"),
        pytest.param("integer", [5, 5, 5], id="one value"),
    ],
)
@pytest.mark.parametrize("name", ["x", "d0"])
def test_mean_and_deviation_are_exact(tmp_path: Path, kind: str, values: list[Any], name: str) -> None:
    column = profiled(tmp_path, kind, values, name)
    known = [value for value in values if value is not None]
    assert column.mean == pytest.approx(statistics.mean(known), rel=1e-12)
    if kind == "integer" and max(known) > 2**53:  # as DOUBLE they lie 256 apart
        assert column.deviation == pytest.approx(statistics.pstdev(map(float, known)), rel=1e-9)
    else:
        assert column.deviation == pytest.approx(statistics.pstdev(known), rel=1e-9)


def test_what_is_beyond_floats_is_not_told(tmp_path: Path) -> None:
    column = profiled(tmp_path, "number", [1.7e308, -1.7e308, 1.7e308])
    assert (column.max, column.deviation) == ("1.7e+308", None)
