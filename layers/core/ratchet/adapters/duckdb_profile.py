"""The profile of what was accepted: nulls and bounds from Parquet's own statistics, the rest from few passes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.domain import profiling
from ratchet.domain.contract_sql import literal
from ratchet.domain.data_contract import DataSection
from ratchet.domain.validation import ColumnProfile, Profile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAMPLE = "profile_sample"


def profile(connection: "DuckDBPyConnection", accepted: Path, data: DataSection, rows: int) -> Profile:
    """Of the accepted rows; its cost hardly grows with them."""
    table = f"read_parquet({literal(str(accepted))})"
    names = list(data.columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_SAMPLE} AS {profiling.sample(table, rows, names)}")
    try:
        (sampled,) = _row(connection, f"SELECT count(*) FROM {_SAMPLE}")  # noqa: S608
        figures = dict(zip(names, _exact(connection, table, accepted, data), strict=True))
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


def _exact(connection: "DuckDBPyConnection", table: str, accepted: Path, data: DataSection) -> Iterator[dict[str, Any]]:
    """Of each column what all rows count for; nulls and bounds are in Parquet's own statistics, mostly."""
    metadata = f"parquet_metadata({literal(str(accepted))})"
    stated = connection.execute(profiling.statistics(metadata, data.columns)).fetchall()
    known = {name: bounds for name, *bounds in stated}
    _, *counted = _row(connection, profiling.exact(table, data.columns, known))
    found = iter(counted)
    for name, rule in data.columns.items():
        nulls, least, greatest = known[name] if name in known else (next(found), next(found), next(found))
        figures = {"nulls": nulls, "min": least, "max": greatest}
        if rule.type in profiling.NUMBERS:
            figures |= {"mean": next(found), "deviation": next(found)}
        yield figures


def _row(connection: "DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  (an aggregate without GROUP BY always has one row)
    return tuple(row)
