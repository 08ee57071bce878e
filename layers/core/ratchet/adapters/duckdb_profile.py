"""The profile of what was accepted: nulls and bounds mostly from Parquet's footer, the rest from few passes."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.domain import profiling
from ratchet.domain.contract_sql import literal
from ratchet.domain.data_contract import ColumnRule, DataSection
from ratchet.domain.validation import ColumnProfile, Profile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAMPLE = "profile_sample"
_Figures = dict[str, dict[str, Any]]


def profile(
    connection: "DuckDBPyConnection", accepted: Path, data: DataSection, rows: int, sample: str | None = None
) -> Profile:
    """Of the accepted rows; its cost hardly grows with them. `sample` is a SELECT of some of them, evenly spread."""
    table = f"read_parquet({literal(str(accepted))})"
    names = list(data.columns)
    sample = sample or profiling.sample(table, rows, names)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_SAMPLE} AS {sample}")
    try:
        (sampled,) = _row(connection, f"SELECT count(*) FROM {_SAMPLE}")  # noqa: S608
        figures = _exact(connection, table, data.columns)
        numbers = [name for name, rule in data.columns.items() if rule.type in profiling.NUMBERS]
        if numbers:
            for name, found in zip(numbers, _row(connection, profiling.quantiles(_SAMPLE, numbers)), strict=True):
                figures[name]["quantiles"] = found or ()
        for name, count in zip(names, _row(connection, profiling.distinct(_SAMPLE, names)), strict=True):
            figures[name]["distinct"] = count
        for name, rule in data.columns.items():
            if profiling.has_top_values(rule):
                figures[name]["top"] = connection.execute(profiling.top_values(_SAMPLE, name)).fetchall()
    finally:
        connection.execute(f"DROP TABLE {_SAMPLE}")
    columns = tuple(ColumnProfile(column=name, type=rule.type, **figures[name]) for name, rule in data.columns.items())
    return Profile(rows=rows, sampled=sampled, quantiles=profiling.QUANTILES, columns=columns)


def _exact(connection: "DuckDBPyConnection", table: str, columns: Mapping[str, ColumnRule]) -> _Figures:
    """Of each column what all rows count for."""
    figures: _Figures = {}
    for names in profiling.together(columns):
        found = iter(_row(connection, profiling.bounds(table, names)))
        figures |= {name: {"nulls": next(found), "min": next(found), "max": next(found)} for name in names}
    centres = {name: _centre(figures[name]) for name, rule in columns.items() if rule.type in profiling.NUMBERS}
    if centres:
        found = iter(_row(connection, profiling.moments(table, centres)))
        for name in centres:
            figures[name] |= {"mean": _finite(next(found)), "deviation": _finite(next(found))}
    return figures


def _centre(figures: Mapping[str, Any]) -> float:
    least, greatest = figures["min"], figures["max"]
    return 0.0 if least is None else float(least) / 2 + float(greatest) / 2


def _finite(value: float | None) -> float | None:
    """None for what is beyond floats."""
    return value if value is None or isfinite(value) else None


def _row(connection: "DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  (an aggregate without GROUP BY always has one row)
    return tuple(row)
