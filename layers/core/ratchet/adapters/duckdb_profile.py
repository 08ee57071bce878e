"""The profile of what was accepted: nulls and bounds from Parquet's own statistics, the rest from few passes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.domain import profiling
from ratchet.domain.contract_sql import identifier, literal
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
        figures = _bounds(connection, table, accepted, data)
        numbers = [name for name, rule in data.columns.items() if rule.type in profiling.NUMBERS]
        if numbers:
            moments = _row(connection, profiling.moments(table, numbers))
            quantiles = _row(connection, profiling.quantiles(_SAMPLE, numbers))
            for at, name in enumerate(numbers):
                mean, deviation = moments[2 * at : 2 * at + 2]
                figures[name] |= {"mean": mean, "deviation": deviation, "quantiles": quantiles[at] or ()}
        for name, count in zip(names, _row(connection, profiling.distinct(_SAMPLE, names)), strict=True):
            figures[name]["distinct"] = count
        for name, rule in data.columns.items():
            if profiling.has_top_values(rule):
                figures[name]["top"] = connection.execute(profiling.top_values(_SAMPLE, name)).fetchall()
    finally:
        connection.execute(f"DROP TABLE {_SAMPLE}")
    columns = tuple(ColumnProfile(column=name, type=rule.type, **figures[name]) for name, rule in data.columns.items())
    return Profile(rows=rows, sampled=sampled, quantiles=profiling.QUANTILES, columns=columns)


def _bounds(
    connection: "DuckDBPyConnection", table: str, accepted: Path, data: DataSection
) -> dict[str, dict[str, Any]]:
    """Nulls, least and greatest; the statistics leave out long strings, and those of columns that are all null."""
    found = connection.execute(
        "SELECT path_in_schema, sum(stats_null_count), count(*) = count(stats_null_count) "  # noqa: S608
        f"FROM parquet_metadata({literal(str(accepted))}) GROUP BY 1"
    ).fetchall()
    nulls = {name: int(count) for name, count, complete in found if complete}
    missing = [name for name in data.columns if name not in nulls]
    if missing:
        counts = ", ".join(f"count(*) - count({identifier(name)})" for name in missing)
        nulls |= dict(zip(missing, _row(connection, f"SELECT {counts} FROM {table}"), strict=True))  # noqa: S608
    ends = ", ".join(
        f"left(CAST({which}({identifier(name)}) AS VARCHAR), 100)" for name in data.columns for which in ("min", "max")
    )
    bounds = _row(connection, f"SELECT {ends} FROM {table}")  # noqa: S608
    return {
        name: {"nulls": nulls[name], "min": bounds[2 * at], "max": bounds[2 * at + 1]}
        for at, name in enumerate(data.columns)
    }


def _row(connection: "DuckDBPyConnection", query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  (an aggregate without GROUP BY always has one row)
    return tuple(row)
