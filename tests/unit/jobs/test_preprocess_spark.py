"""The same expressions on Spark: the same rows come out."""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest

from tests.unit.jobs.harness import Preprocess, Row

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(
        not (shutil.which("java") and find_spec("pyspark")), reason="needs Java 17 and pyspark 3.5, as Glue 5 has"
    ),
]

START = datetime.fromisoformat("2026-03-01")
COLUMNS = {"at": "timestamp", "site": "string", "wet": "boolean", "level": "number", "n": "integer", "sky": "string"}
SERIES = {"columns": COLUMNS, "target": "n", "task": "regression", "timestamp": "at", "key": ["at", "site"]}
SPLIT_BY_HASH = {"columns": COLUMNS, "target": "sky", "task": "classification", "key": ["n"]}
CASES = {
    "series": (SERIES, {"metric": "mae", "threshold": 1, "holdout": "2d", "season": "1d"}),
    "series in a window": ({**SERIES, "window": "6d"}, {"metric": "mae", "threshold": 1, "holdout": "1d"}),
    "labels by hash": (SPLIT_BY_HASH, {"metric": "accuracy", "threshold": 0.5, "holdout": 0.2}),
    "numbers by hash": (
        {**SPLIT_BY_HASH, "target": "level", "task": "regression", "key": []},
        {"metric": "mae", "threshold": 1, "holdout": 0.3},
    ),
    "flags by hash": ({**SPLIT_BY_HASH, "target": "wet"}, {"metric": "auc", "threshold": 0.5, "holdout": 0.2}),
}


def rows(first: int, last: int) -> list[Row]:
    """Rows of two sites with nulls, NaN, fractions of seconds and characters that JSON must escape."""
    return [
        {
            "at": START + timedelta(hours=n // 2, microseconds=500_000 if n % 17 == 0 else 0),
            "site": "ab"[n % 2],
            "wet": [True, False, None][n % 3],
            "level": float("nan") if n % 19 == 0 else n / 3,
            "n": n,
            "sky": ["Clear", 'a "b"\n', "é", None][n % 4],
            "ratchet_bucket": n * 7919 % 10_000,
        }
        for n in range(first, last)
    ]


@pytest.fixture(scope="module")
def spark(preprocess_module: ModuleType) -> Iterator[Any]:
    """The job's Spark engine, on this machine."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - absent where these tests are skipped

    builder = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", "2")
    session = builder.config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1").getOrCreate()
    yield preprocess_module.SparkEngine()
    session.stop()


def written_by_spark(job: Preprocess, engine: Any, output: Path) -> dict[str, Any]:
    """All that the job writes with Spark, which reads and writes the folder itself."""
    summary, profile = job.module.process(engine, {"uploads": job.uploads}, job.definition, f"{output}/")
    parts = {part: duckdb.read_parquet(str(output / part / "*.parquet")).fetchall() for part in ("train", "validation")}
    lines = [line for file in sorted((output / "holdout").glob("*.jsonl")) for line in file.read_text().splitlines()]
    files = {path.suffix for path in output.rglob("*") if path.is_file() and not path.name.startswith(".")}
    holdout = [json.loads(line) for line in lines]
    return {**parts, "holdout": holdout, "summary": summary, "profile": profile, "suffixes": files}


@pytest.mark.parametrize("case", CASES)
def test_both_engines_write_the_same(job: Preprocess, spark: Any, tmp_path: Path, case: str) -> None:
    job.define(*CASES[case])
    job.upload(*rows(0, 500))
    job.upload(*rows(400, 700), precedence=9)
    job.upload(*rows(450, 460), *rows(450, 455))
    duck = written_by_duckdb(job)
    for upload in job.uploads:
        upload["accepted_uri"] = str(job.s3.root / "data" / upload["accepted_uri"].removeprefix("s3://data/"))
    sparked = written_by_spark(job, spark, tmp_path / "spark")

    assert sparked["suffixes"] == {".parquet", ".jsonl"}
    assert sparked["train"] == duck["train"]
    assert sparked["validation"] == duck["validation"]
    assert sparked["holdout"] == duck["holdout"]
    assert len(duck["holdout"]) > 20
    assert_close({**sparked["summary"], "engine": None}, {**duck["summary"], "engine": None})
    assert_close(sparked["profile"], duck["profile"])


def written_by_duckdb(job: Preprocess) -> dict[str, Any]:
    """DuckDB's output, which goes through S3."""
    summary = job.run()
    parts = {part: [tuple(row.values()) for row in job.rows(part)] for part in ("train", "validation")}
    return {**parts, "holdout": job.holdout(), "summary": summary, "profile": job.document("profile.json")}


def assert_close(left: Any, right: Any) -> None:
    """Equal, but for the last digits of sums that were added in another order."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_close(left[key], right[key])
    elif isinstance(left, list):
        for a, b in zip(left, right, strict=True):
            assert_close(a, b)
    else:
        assert left == (pytest.approx(right) if isinstance(right, float) else right)
