"""One contender of benchmarks/validation.py in a fresh process: `validation_contenders.py NAME FILE FOLDER`.

The data: ten columns, eight rules, one row in a thousand bad; `validation_contenders.py write FILE ROWS` makes it.

Converters write Parquet and check nothing; checkers read the file into memory, check the eight rules and write nothing;
`ratchet` writes accepted and quarantined rows, with every reason, and their profile. Each prints how many rules were
broken by how many values, so that all are seen to check the same.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STATION, WEATHER = "S[0-9]{4}", ["Clear", "Clouds", "Rain", "Snow"]

CONTRACT: dict[str, Any] = {
    "target": "volume",
    "task": "regression",
    "timestamp": "observed",
    "max_bad_rows": 0.01,
    "columns": {
        "observed": {"type": "timestamp", "required": True},
        "station": {"type": "string", "pattern": STATION},
        "temp": {"type": "number", "min": 200, "max": 330},
        "weather": {"type": "string", "allowed": WEATHER},
        "clouds": {"type": "integer", "min": 0, "max": 100},
        "rain": {"type": "number", "min": 0, "max": 100},
        "volume": {"type": "integer", "min": 0, "required": True},
        "holiday": {"type": "boolean"},
        "wind": {"type": "number"},
        "number": {"type": "integer"},
    },
}


def write_csv(path: Path, rows: int) -> None:
    """The rows, block by block, so that they need no more disk or memory than the file itself."""
    import duckdb as library

    connection = library.connect(config={"memory_limit": "512MB", "preserve_insertion_order": "false"})
    connection.execute(
        "COPY (SELECT strftime(TIMESTAMP '2016-01-01' + INTERVAL 1 SECOND * i, '%Y-%m-%d %H:%M:%S') AS observed, "
        "'S' || lpad((i % 1000)::VARCHAR, 4, '0') AS station, "
        "CASE WHEN hash(i) % 3000 = 0 THEN '999' ELSE printf('%.2f', 200 + (hash(i * 7) % 13000) / 100.0) END AS temp, "
        "CASE WHEN hash(i) % 3000 = 1 THEN 'Hail' ELSE ['Clear', 'Clouds', 'Rain', 'Snow'][1 + (hash(i * 3) % 4)::INT] "
        "END AS weather, (hash(i * 11) % 101)::INT AS clouds, round((hash(i * 13) % 1000) / 10.0, 1) AS rain, "
        "CASE WHEN hash(i) % 3000 = 2 THEN '' ELSE (hash(i * 17) % 7000)::VARCHAR END AS volume, "
        "hash(i * 19) % 2 = 0 AS holiday, round((hash(i * 23) % 100000) / 1000.0, 3) AS wind, i AS number "
        f"FROM range({rows}) t(i)) TO '{path}' (HEADER)"
    )


def ratchet(file: Path, folder: Path) -> int:
    """Memory as a Lambda function of 2 GB has it: the limit that DuckDB is given, not what it needs."""
    from ratchet.adapters.duckdb_validation import DuckDbValidator
    from ratchet.domain.data_contract import DataSection

    upload = folder / "upload"
    upload.symlink_to(file)
    data = DataSection.model_validate(CONTRACT)
    judgement = DuckDbValidator(memory_mb=1536)(upload, data, "0" * 64, datetime.now(UTC))
    assert judgement.finding is None
    assert (folder / "accepted.parquet").exists()
    assert (folder / "quarantine.parquet").exists()
    return sum(rule.rows for rule in judgement.broken)


def duckdb(file: Path, folder: Path) -> int:
    import duckdb as library

    library.sql(f"COPY (FROM '{file}') TO '{folder / 'all.parquet'}' (FORMAT parquet)")
    return 0


def polars(file: Path, folder: Path) -> int:
    import polars as pl

    pl.scan_csv(file, try_parse_dates=True).sink_parquet(folder / "all.parquet")
    return 0


def pandera(file: Path, _: Path) -> int:
    import pandera.polars as pa
    import polars as pl

    schema = pa.DataFrameSchema(
        {
            "observed": pa.Column(nullable=False),
            "station": pa.Column(checks=pa.Check.str_matches(f"^{STATION}$")),
            "temp": pa.Column(checks=pa.Check.in_range(200, 330)),
            "weather": pa.Column(checks=pa.Check.isin(WEATHER)),
            "clouds": pa.Column(checks=pa.Check.in_range(0, 100)),
            "rain": pa.Column(checks=pa.Check.in_range(0, 100)),
            "volume": pa.Column(checks=pa.Check.ge(0), nullable=False),
        }
    )
    try:
        schema.validate(pl.read_csv(file, try_parse_dates=True), lazy=True)
    except pa.errors.SchemaErrors as errors:
        return len(errors.failure_cases)
    return 0


def dataframely(file: Path, _: Path) -> int:
    import dataframely as dy
    import polars as pl

    class Weather(dy.Schema):  # type: ignore[misc]
        observed = dy.Datetime(nullable=False)
        station = dy.String(regex=f"^{STATION}$", nullable=True)
        temp = dy.Float64(min=200, max=330, nullable=True)
        weather = dy.String(check=lambda value: value.is_in(WEATHER), nullable=True)
        clouds = dy.Int64(min=0, max=100, nullable=True)
        rain = dy.Float64(min=0, max=100, nullable=True)
        volume = dy.Int64(min=0, nullable=False)

    _, failure = Weather.filter(pl.read_csv(file, try_parse_dates=True), cast=True)
    return sum(failure.counts().values())


def pointblank(file: Path, _: Path) -> int:
    import pointblank as pb
    import polars as pl

    validation = (
        pb.Validate(pl.read_csv(file, try_parse_dates=True))
        .col_vals_not_null("observed")
        .col_vals_regex("station", f"^{STATION}$", na_pass=True)
        .col_vals_between("temp", 200, 330, na_pass=True)
        .col_vals_in_set("weather", WEATHER)
        .col_vals_between("clouds", 0, 100, na_pass=True)
        .col_vals_between("rain", 0, 100, na_pass=True)
        .col_vals_not_null("volume")
        .col_vals_ge("volume", 0, na_pass=True)
        .interrogate()
    )
    return sum(validation.n_failed().values())


def great_expectations(file: Path, _: Path) -> int:
    import great_expectations as gx
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("upload")
    frame = pd.read_csv(file, parse_dates=["observed"])
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    expect = gx.expectations
    result = batch.validate(
        gx.ExpectationSuite(
            name="weather",
            expectations=[
                expect.ExpectColumnValuesToNotBeNull(column="observed"),
                expect.ExpectColumnValuesToMatchRegex(column="station", regex=f"^{STATION}$"),
                expect.ExpectColumnValuesToBeBetween(column="temp", min_value=200, max_value=330),
                expect.ExpectColumnValuesToBeInSet(column="weather", value_set=WEATHER),
                expect.ExpectColumnValuesToBeBetween(column="clouds", min_value=0, max_value=100),
                expect.ExpectColumnValuesToBeBetween(column="rain", min_value=0, max_value=100),
                expect.ExpectColumnValuesToNotBeNull(column="volume"),
                expect.ExpectColumnValuesToBeBetween(column="volume", min_value=0),
            ],
        )
    )
    return sum(int(each.result["unexpected_count"]) for each in result.results)


CONTENDERS: dict[str, Callable[[Path, Path], int]] = {
    each.__name__: each for each in (ratchet, duckdb, polars, pandera, dataframely, pointblank, great_expectations)
}

if __name__ == "__main__":
    name, file, folder = sys.argv[1:]
    if name == "write":
        write_csv(Path(file), int(folder))
        sys.exit()
    print(json.dumps({"broken": CONTENDERS[name](Path(file), Path(folder))}))
