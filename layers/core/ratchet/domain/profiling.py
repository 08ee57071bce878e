"""The accepted rows in figures, as SQL over what was accepted."""

from collections.abc import Mapping, Sequence

from ratchet.domain.contract_sql import identifier
from ratchet.domain.data_contract import ColumnRule

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SAMPLE_ROWS = 50_000
TOP_VALUES = 10
_SHOWN = 100  # characters of a value
NUMBERS = ("number", "integer")


def sample(accepted: str, rows: int, names: Sequence[str]) -> str:
    """SELECT of every n-th row, at most about SAMPLE_ROWS of them: the same rows each time."""
    step = max(rows // SAMPLE_ROWS, 1)
    columns = ", ".join(map(identifier, names))
    return f"SELECT {columns} FROM {accepted} WHERE ratchet_line % {step} = {step // 2}"  # noqa: S608


def together(columns: Mapping[str, ColumnRule]) -> tuple[tuple[str, ...], ...]:
    """The columns by how `bounds` of them are found, each kind worth a query of its own.

    DuckDB takes them from Parquet's footer if it can for all columns of a query: always of numbers and times, never of
    truth values and of texts written as ENUM, and of other strings unless the footer cuts a long one.
    """
    kinds: dict[str, list[str]] = {}
    for name, rule in columns.items():
        kind = rule.type if rule.type in ("boolean", "string") else "other"
        kinds.setdefault("listed" if kind == "string" and rule.allowed is not None else kind, []).append(name)
    return tuple(map(tuple, kinds.values()))


def bounds(accepted: str, names: Sequence[str]) -> str:
    """SELECT of each column nulls, and least and greatest as text."""
    found = (
        f"count(*) - count({column}), "
        + ", ".join(f"left(CAST({which}({column}) AS VARCHAR), {_SHOWN})" for which in ("min", "max"))
        for column in map(identifier, names)
    )
    return f"SELECT {', '.join(found)} FROM {accepted}"  # noqa: S608


def moments(accepted: str, centres: Mapping[str, float]) -> str:
    """SELECT of each numeric column mean and deviation, given a value between its least and its greatest.

    The squares of distances from such a value lose no digits that matter, and cost half of `stddev_pop`.
    """
    values = (
        f"{identifier(name)} AS v{at}, {identifier(name)} - {centre!r}::DOUBLE AS d{at}"
        for at, (name, centre) in enumerate(centres.items())
    )
    found = (
        f"avg(v{at})::DOUBLE, sqrt(greatest(avg(d{at} * d{at}) - avg(d{at}) * avg(d{at}), 0))"
        for at in range(len(centres))
    )
    return f"SELECT {', '.join(found)} FROM (SELECT {', '.join(values)} FROM {accepted})"  # noqa: S608


def quantiles(sampled: str, names: Sequence[str]) -> str:
    """SELECT the list of QUANTILES of each numeric column."""
    each = (f"quantile_cont({identifier(name)}::DOUBLE, {list(QUANTILES)})" for name in names)
    return f"SELECT {', '.join(each)} FROM {sampled}"  # noqa: S608


def distinct(sampled: str, names: Sequence[str]) -> str:
    """SELECT how many values each column has."""
    each = (f"count(DISTINCT {identifier(name)})" for name in names)
    return f"SELECT {', '.join(each)} FROM {sampled}"  # noqa: S608


def top_values(sampled: str, name: str) -> str:
    """SELECT the commonest values as text, each with its share of all values of the column."""
    column = identifier(name)
    return (
        f"SELECT left(CAST({column} AS VARCHAR), {_SHOWN}), count(*) / sum(count(*)) OVER () AS share "  # noqa: S608
        f"FROM {sampled} WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY share DESC, 1 LIMIT {TOP_VALUES}"
    )


def has_top_values(rule: ColumnRule) -> bool:
    """Whether single values of the column say something."""
    return rule.type in ("string", "boolean", "integer")
