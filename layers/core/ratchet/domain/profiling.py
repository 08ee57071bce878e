"""The accepted rows in figures, as SQL over what was accepted."""

from collections.abc import Collection, Mapping, Sequence

from ratchet.domain.contract_sql import SQL_TYPES, identifier, literal
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


def statistics(metadata: str, columns: Mapping[str, ColumnRule]) -> str:
    """SELECT what Parquet's footer knows: column, nulls, least and greatest as text, but of strings, which it cuts."""
    each = (
        "SELECT path_in_schema, sum(stats_null_count)::BIGINT, "  # noqa: S608
        f"CAST(min(CAST(stats_min_value AS {SQL_TYPES[rule.type]})) AS VARCHAR), "
        f"CAST(max(CAST(stats_max_value AS {SQL_TYPES[rule.type]})) AS VARCHAR) "
        f"FROM {metadata} WHERE path_in_schema = {literal(name)} GROUP BY 1 "
        "HAVING bool_and(stats_null_count = num_values OR (stats_null_count >= 0 AND min_is_exact AND max_is_exact))"
        for name, rule in columns.items()
        if rule.type != "string"
    )
    return " UNION ALL ".join(("SELECT NULL, NULL, NULL, NULL WHERE false", *each))


def exact(accepted: str, columns: Mapping[str, ColumnRule], known: Collection[str]) -> str:
    """SELECT the count; of each column, unless known, nulls, bounds as text; and of a number mean and deviation."""
    found = ["count(*)"]
    for name, rule in columns.items():
        column = identifier(name)
        if name not in known:
            found.append(f"count(*) - count({column})")
            found += (f"left(CAST({which}({column}) AS VARCHAR), {_SHOWN})" for which in ("min", "max"))
        if rule.type in NUMBERS:
            found += (f"avg({column})::DOUBLE", f"stddev_pop({column}::DOUBLE)")
    return f"SELECT {', '.join(found)} FROM {accepted}"  # noqa: S608


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
