"""Glue job: a snapshot's accepted Parquet becomes training, validation and holdout data, with a profile.

Runs on Spark where a Spark runtime is installed (Glue 5) and on DuckDB on one machine. Only the two engines at the end
of this file know which; what happens to the rows is written once, as narwhals expressions.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, cast

import boto3
import narwhals as nw

Json = dict[str, Any]
Frame = nw.LazyFrame[Any]

MICROSECONDS = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
PARTS = ("train", "validation", "holdout")
BUCKETS = 10_000  # ratchet_bucket is 0..9999
VALIDATION_SHARE = 0.1
SHORT_HISTORY = 3  # in holdouts: with less history, validation takes its share instead of a holdout's length
QUANTILES = [q / 20 for q in range(21)]
TOP_VALUES = 20
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - data has no zone
YEAR = "365d"  # the calendar's: the same date a year before
SEASONS = ("1h", "1d", "7d", "364d", YEAR)  # 52 weeks keep the weekday, a year the date
SEASON_POINTS = 20_000  # times that a season is looked for in
SEASONAL = 0.2  # the least autocorrelation that counts as a season
ALIKE = 0.02  # by which a shorter season may be weaker


class UnusableDataError(Exception):
    """The snapshot cannot be split as the definition asks; the message says what to change."""


class Engine(Protocol):
    """How rows are read, kept, looked at and written; `uri` is an s3:// URI and, for folders, ends in a slash."""

    name: str

    def read(self, uris: Sequence[str], timestamp: str | None) -> Frame:
        """All rows, with `ratchet_time`: microseconds since 1970 of the timestamp column, else null."""

    def frame(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Frame:
        """A small table from memory."""

    def keep(self, frame: Frame) -> Frame:
        """The same rows, computed once however often they are used."""

    def rows(self, frame: Frame) -> list[Json]:
        """A small result, in memory."""

    def quantiles(self, frame: Frame, columns: Sequence[str]) -> dict[str, list[float] | None]:
        """Each column's QUANTILES, interpolated; null where the column holds nothing."""

    def write_parquet(self, frame: Frame, uri: str) -> None:
        """One or more Parquet files in the folder."""

    def write_json_lines(self, frame: Frame, uri: str) -> None:
        """One or more files of JSON Lines in the folder, nulls written out."""


def process(engine: Engine, snapshot: Json, definition: Json, output: str) -> tuple[Json, Json]:
    """Writes the three data sets under `output`; returns the summary and the profile."""
    data, gate, uploads = definition["data"], definition["gate"], snapshot["uploads"]
    accepted = engine.read([upload["accepted_uri"] for upload in uploads], data["timestamp"])
    precedence = engine.frame(
        ["ratchet_upload", "ratchet_precedence"],
        [(upload["upload_id"], upload["precedence"]) for upload in uploads],
    )
    latest = engine.keep(latest_rows(accepted, precedence, data))
    rows = with_parts(engine, engine.keep(usable_rows(engine, latest, data)), data, gate)
    parts = measure_parts(engine, rows)
    known = rows.filter(nw.col("ratchet_part") != "holdout")

    for part in ("train", "validation"):
        engine.write_parquet(in_order(part_of(rows, part)).select(*data["columns"]), f"{output}{part}/")
    holdout, naive = with_naive(engine, part_of(rows, "holdout"), known, data, gate)
    engine.write_json_lines(holdout_lines(in_order(holdout), data), f"{output}holdout/")

    total, kept = count(engine, accepted), count(engine, latest)
    unusable = kept - sum(part["rows"] for part in parts.values())
    print(f"{total} rows; left out for want of a target or a time, or as older than the window: {unusable}")
    summary = {
        "rows": {name: part["rows"] for name, part in parts.items()},
        "duplicates_dropped": total - kept,
        "first": iso(parts["train"]["first"]),
        "last": iso(parts["holdout"]["last"]),
        "holdout_start": iso(parts["holdout"]["first"]),
        "trained_until": iso(parts["validation"]["last"]),
        "uploads": len(uploads),
        "naive": naive,
        "engine": engine.name,
    }
    return summary, profile(engine, known, data)


def latest_rows(accepted: Frame, precedence: Frame, data: Json) -> Frame:
    """The rows, one per key: the upload with the highest precedence wins, within an upload the last line."""
    # 2**32 lines an upload: the number stays under 2**53, which every JSON reader keeps exactly.
    row = nw.col("ratchet_precedence") * 2**32 + nw.col("ratchet_line")
    rows = accepted.join(precedence, on="ratchet_upload", how="inner").with_columns(ratchet_row=row)
    return rows.unique(data["key"], keep="last", order_by=["ratchet_row"]) if data["key"] else rows


def usable_rows(engine: Engine, rows: Frame, data: Json) -> Frame:
    """Rows that have a target, and a time inside the window if the pipeline has a timestamp; NaN becomes null."""
    finite = [nw.when(nw.col(name).is_finite()).then(nw.col(name)).alias(name) for name in names_of(data, "number")]
    rows = (rows.with_columns(*finite) if finite else rows).filter(~nw.col(data["target"]).is_null())
    if data["timestamp"]:
        rows = rows.filter(~nw.col("ratchet_time").is_null())
        if data["window"]:
            end = engine.rows(rows.select(nw.col("ratchet_time").max()))[0]["ratchet_time"]
            rows = rows.filter(nw.col("ratchet_time") > (end or 0) - microseconds(data["window"]))
    return rows


def with_parts(engine: Engine, rows: Frame, data: Json, gate: Json) -> Frame:
    """The rows with `ratchet_part`: train, validation or holdout."""
    if data["timestamp"]:
        position, validation_after, holdout_after = nw.col("ratchet_time"), *time_bounds(engine, rows, gate)
    else:
        # The stable hash of the key decides, so a row keeps its part from run to run.
        position, holdout_after = nw.col("ratchet_bucket"), round(BUCKETS * (1 - gate["holdout"])) - 1
        validation_after = round((holdout_after + 1) * (1 - VALIDATION_SHARE)) - 1
    older = nw.when(position > validation_after).then(nw.lit("validation")).otherwise(nw.lit("train"))
    part = nw.when(position > holdout_after).then(nw.lit("holdout")).otherwise(older)
    return rows.with_columns(ratchet_part=part)


def time_bounds(engine: Engine, rows: Frame, gate: Json) -> tuple[int, int]:
    """The times after which validation and holdout begin."""
    time = nw.col("ratchet_time")
    span = engine.rows(rows.select(time.min().alias("first"), time.max().alias("last")))[0]
    if span["first"] is None:
        raise UnusableDataError("No row has both a target and a timestamp; upload rows that have.")
    length = microseconds(gate["holdout"])
    holdout_after = span["last"] - length
    history = holdout_after - span["first"]
    if history <= 0:
        raise UnusableDataError(
            f"The holdout of {gate['holdout']} takes all rows from {iso(span['first'])} to {iso(span['last'])} "
            "and leaves none to train on; upload older data or shorten gate.holdout."
        )
    validation = length if history >= SHORT_HISTORY * length else int(history * VALIDATION_SHARE)
    return holdout_after - validation, holdout_after


def measure_parts(engine: Engine, rows: Frame) -> dict[str, Json]:
    """Each part's number of rows and its oldest and newest time; no part may be empty."""
    time = nw.col("ratchet_time")
    measures = (nw.len().alias("rows"), time.min().alias("first"), time.max().alias("last"))
    measured = {row["ratchet_part"]: row for row in engine.rows(rows.group_by("ratchet_part").agg(*measures))}
    if empty := [part for part in PARTS if part not in measured]:
        raise UnusableDataError(
            f"No row falls into {' and '.join(empty)}; upload more data or change gate.holdout "
            f"(rows: { {part: row['rows'] for part, row in measured.items()} })."
        )
    return {part: measured[part] for part in PARTS}


def with_naive(engine: Engine, holdout: Frame, known: Frame, data: Json, gate: Json) -> tuple[Frame, Json]:
    """The holdout with `naive`, what would be said without any model from older rows alone; and what that is."""
    if data["task"] == "classification":
        return majority_class(engine, holdout, known, data)
    if data["timestamp"]:
        return repeated_season(engine, holdout, known, data, gate)
    median = engine.rows(known.select(nw.col(data["target"]).median().alias("median")))[0]["median"]
    return holdout.with_columns(naive=nw.lit(median)), {
        "kind": "median",
        "words": f"the median of the older rows, {median:g}",
    }


def majority_class(engine: Engine, holdout: Frame, known: Frame, data: Json) -> tuple[Frame, Json]:
    """The commonest class, with every class's share as its probability."""
    target = nw.col(data["target"])
    counted = known.group_by(data["target"]).agg(nw.len().alias("rows"))
    rows = engine.rows(counted.select(target.cast(nw.String), "rows"))
    classes = {row[data["target"]]: row["rows"] for row in rows}
    total = sum(classes.values())
    label = min(classes, key=lambda name: (-classes[name], name))
    details = {
        "kind": "majority_class",
        "label": label,
        "shares": {name: rows / total for name, rows in classes.items()},
        "words": f"always saying {label}, the commonest class",
    }
    return holdout.with_columns(naive=nw.lit(label, nw.String)), details


def repeated_season(engine: Engine, holdout: Frame, known: Frame, data: Json, gate: Json) -> tuple[Frame, Json]:
    """Each series' last season before the holdout, or its last value where no season is to be seen."""
    series = series_of(data)
    found: Json = {"season": gate["season"], "detected": False}
    if not gate["season"]:
        found = detected_season(engine, known, data)
    season = found["season"]
    phase = phase_of(season, data["timestamp"]).alias("ratchet_phase")
    last = (
        known.with_columns(phase)
        .unique([*series, "ratchet_phase"], keep="last", order_by=["ratchet_time", "ratchet_row"])
        .select(*series, "ratchet_phase", nw.col(data["target"]).alias("naive"))
    )
    details = {"kind": "seasonal" if season else "last_value", "series": series, **found}
    words = f"the last {season} before the holdout, repeated" if season else "the last value before the holdout"
    if found["detected"]:
        words += f"; season detected by autocorrelation {found['autocorrelations'][season]:.2f}"
    elif not season:
        words += "; no season was detected"
    joined = holdout.with_columns(phase).join(last, on=[*series, "ratchet_phase"], how="left")
    return joined, {**details, "words": f"the naive forecast ({words})"}


def series_of(data: Json) -> list[str]:
    """The columns that tell series apart: those stated, else the key's besides the timestamp."""
    return data["series"] or [name for name in data["key"] if name != data["timestamp"]]


def phase_of(season: str | None, timestamp: str) -> nw.Expr:
    """Where in its season a row is; without a season all rows are alike."""
    if season is None:
        return nw.lit(0)
    if season != YEAR:
        return nw.col("ratchet_time") % microseconds(season)
    date = nw.col(timestamp).dt.month() * 100 + nw.col(timestamp).dt.day()
    return date.cast(nw.Int64) * microseconds("1d") + nw.col("ratchet_time") % microseconds("1d")


def detected_season(engine: Engine, known: Frame, data: Json) -> Json:
    """The season that the newest training rows show, with the autocorrelation at each season they are long enough for.

    A season counts when its autocorrelation is at least SEASONAL and higher than half a season earlier: smooth or
    trending series resemble any near past. Of those nearly as strong as the strongest (ALIKE) the shortest is taken.
    """
    points = series_mean(engine, known, data)
    gaps = sorted(later - time for time, later in pairwise(sorted(points)))
    gap = gaps[len(gaps) // 2] if gaps else 0
    found: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for season in SEASONS:
        length = microseconds(season)
        correlation = autocorrelation(points, season, length / gap) if gap and 2 * gap <= length else None
        if correlation is not None:
            found[season] = correlation
            half = autocorrelation(points, f"{length // 2 // gap * gap // MICROSECONDS['s']}s", 1)
            if correlation >= SEASONAL and (half is None or correlation > half):
                peaks[season] = correlation
    shortest = next((season for season, value in peaks.items() if value >= max(peaks.values()) - ALIKE), None)
    return {"season": shortest, "detected": shortest is not None, "autocorrelations": found}


def series_mean(engine: Engine, known: Frame, data: Json) -> dict[int, float]:
    """The newest times, each with the mean of all series, which are put on one scale first."""
    series, value = series_of(data), nw.col(data["target"]).cast(nw.Float64)
    if series:
        spread = value.std().over(*series)
        value = nw.when(spread > 0).then((value - value.mean().over(*series)) / spread).otherwise(0.0)
    scaled = known.select("ratchet_time", value.alias("ratchet_value"))
    means = scaled.group_by("ratchet_time").agg(nw.col("ratchet_value").mean().alias("mean"))
    newest = engine.rows(means.sort("ratchet_time", descending=True).head(SEASON_POINTS))
    return {row["ratchet_time"]: row["mean"] for row in newest}


def autocorrelation(points: dict[int, float], season: str, fewest: float) -> float | None:
    """The correlation of values with those a season earlier; None for fewer pairs than `fewest` or for a constant."""
    pairs = [(value, points[past]) for time, value in points.items() if (past := earlier(time, season)) in points]
    if len(pairs) < max(fewest, 3):
        return None
    mean_now, mean_then = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    together = sum((now - mean_now) * (then - mean_then) for now, then in pairs)
    spread = sum((now - mean_now) ** 2 for now, _ in pairs) * sum((then - mean_then) ** 2 for _, then in pairs)
    return together / spread**0.5 if spread > 0 else None


def earlier(time: int, season: str) -> int | None:
    """The time a season before; a year before is the same date, which 29 February has not."""
    if season != YEAR:
        return time - microseconds(season)
    date = EPOCH + timedelta(microseconds=time)
    try:
        return (date.replace(year=date.year - 1) - EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


def holdout_lines(holdout: Frame, data: Json) -> Frame:
    """One line per row to score: its number, truth, naive answer and time, and the record a caller would send."""
    target, timestamp = nw.col(data["target"]), data["timestamp"]
    record = [
        iso_text(name) if rule["type"] == "timestamp" else nw.col(name)
        for name, rule in data["columns"].items()
        if name != data["target"]
    ]
    return holdout.select(
        nw.col("ratchet_row").alias("row"),
        (target.cast(nw.String) if data["task"] == "classification" else target).alias("actual"),
        nw.col("naive"),
        (iso_text(timestamp) if timestamp else nw.lit(None, nw.String)).alias("time"),
        nw.struct(record).alias("record"),
    )


def profile(engine: Engine, rows: Frame, data: Json) -> Json:
    """What the training rows look like, column by column; drift is later measured against it."""
    numbers = [*names_of(data, "number"), *names_of(data, "integer")]
    times = names_of(data, "timestamp")
    measures = [nw.len().alias("rows"), *(nw.col(name).count().alias(f"count {name}") for name in data["columns"])]
    for name in (*numbers, *times):
        column = iso_text(name) if name in times else nw.col(name)
        measures += [column.min().alias(f"min {name}"), column.max().alias(f"max {name}")]
    for name in numbers:
        measures += [nw.col(name).mean().alias(f"mean {name}"), nw.col(name).std().alias(f"std {name}")]
    found = engine.rows(rows.select(*measures))[0]
    quantiles = engine.quantiles(rows, numbers)

    columns: Json = {}
    for name, rule in data["columns"].items():
        columns[name] = {
            "type": rule["type"],
            "count": found[f"count {name}"],
            "nulls": found["rows"] - found[f"count {name}"],
        }
        columns[name] |= {m: found[f"{m} {name}"] for m in ("min", "max", "mean", "std") if f"{m} {name}" in found}
        if name in numbers:
            columns[name]["quantiles"] = quantiles[name]
        elif name not in times:
            columns[name]["top"] = top_values(engine, rows, name)
    return {"rows": found["rows"], "quantiles": QUANTILES, "columns": columns}


def top_values(engine: Engine, rows: Frame, name: str) -> Json:
    """The commonest values of a column, as text, and how often each stands there."""
    counted = rows.filter(~nw.col(name).is_null()).group_by(name).agg(nw.len().alias("rows"))
    top = counted.sort("rows", name, descending=[True, False]).head(TOP_VALUES)
    return {row[name]: row["rows"] for row in engine.rows(top.with_columns(nw.col(name).cast(nw.String)))}


def part_of(rows: Frame, part: str) -> Frame:
    """One part's rows."""
    return rows.filter(nw.col("ratchet_part") == part)


def in_order(frame: Frame) -> Frame:
    """Oldest first; the row number decides between equals, so the order is the same on every machine."""
    return frame.sort("ratchet_time", "ratchet_row")


def count(engine: Engine, frame: Frame) -> int:
    """The number of rows."""
    return cast(int, engine.rows(frame.select(nw.len().alias("rows")))[0]["rows"])


def names_of(data: Json, kind: str) -> list[str]:
    """The columns of a type, in contract order."""
    return [name for name, rule in data["columns"].items() if rule["type"] == kind]


def microseconds(duration: str) -> int:
    """`28d` → microseconds."""
    return int(duration[:-1]) * MICROSECONDS[duration[-1]]


def iso(time: int | None) -> str | None:
    """Microseconds since 1970 → ISO 8601."""
    if time is None:
        return None
    return (EPOCH + timedelta(microseconds=time)).isoformat()


def iso_text(name: str) -> nw.Expr:
    """A timestamp column as ISO 8601 text."""
    return nw.col(name).cast(nw.String).str.replace_all(" ", "T", literal=True)


class DuckDbEngine:
    """One machine: objects are copied to a folder of the job's own, and DuckDB does the rest there."""

    name = "duckdb"

    def __init__(self, work: Path) -> None:
        import duckdb  # noqa: PLC0415 - not installed where the Spark engine runs

        self._work = work
        # Tables and sorts beyond the memory spill into the folder.
        self._connection = duckdb.connect(config={"temp_directory": str(work)})
        self._tables = 0

    def read(self, uris: Sequence[str], timestamp: str | None) -> Frame:
        with ThreadPoolExecutor(16) as pool:
            files = list(pool.map(self._fetch, enumerate(uris)))
        time = f"epoch_us({quoted(timestamp)})" if timestamp else "NULL::BIGINT"
        return self._frame(self._connection.read_parquet(files).project(f"*, {time} AS ratchet_time"))

    def frame(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Frame:
        values = ", ".join(f"({', '.join('?' * len(columns))})" for _ in rows)
        names = ", ".join(quoted(name) for name in columns)
        params = [value for row in rows for value in row]
        query = f"SELECT * FROM (VALUES {values}) AS v({names})"  # noqa: S608 - the names are this file's own
        return self._frame(self._connection.sql(query, params=params))

    def keep(self, frame: Frame) -> Frame:
        self._tables += 1
        frame.to_native().create(f"kept_{self._tables}")
        return self._frame(self._connection.table(f"kept_{self._tables}"))

    def rows(self, frame: Frame) -> list[Json]:
        relation = frame.to_native()
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

    def quantiles(self, frame: Frame, columns: Sequence[str]) -> dict[str, list[float] | None]:
        if not columns:
            return {}
        each = (f"quantile_cont({quoted(name)}::DOUBLE, {QUANTILES}) AS {quoted(name)}" for name in columns)
        return self.rows(self._frame(frame.to_native().aggregate(", ".join(each))))[0]

    def write_parquet(self, frame: Frame, uri: str) -> None:
        with self._upload(f"{uri}part-00000.parquet") as file:
            frame.to_native().write_parquet(str(file))

    def write_json_lines(self, frame: Frame, uri: str) -> None:
        with self._upload(f"{uri}part-00000.jsonl") as file:
            relation = frame.to_native()
            self._connection.execute(f"COPY ({relation.sql_query()}) TO '{file}' (FORMAT json)")

    def _frame(self, relation: Any) -> Frame:
        return cast(Frame, nw.from_native(relation))

    def _fetch(self, numbered: tuple[int, str]) -> str:
        number, uri = numbered
        file = str(self._work / f"{number}.parquet")
        s3().download_file(*bucket_and_key(uri), file)
        return file

    @contextmanager
    def _upload(self, uri: str) -> Iterator[Path]:
        file = self._work / Path(uri).name
        yield file
        s3().upload_file(str(file), *bucket_and_key(uri))


class SparkEngine:
    """A cluster: Spark reads and writes the object store itself."""

    name = "spark"

    def __init__(self) -> None:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - not installed where DuckDB runs

        self._spark = SparkSession.builder.getOrCreate()
        self._spark.conf.set("spark.sql.session.timeZone", "UTC")

    def read(self, uris: Sequence[str], timestamp: str | None) -> Frame:
        time = f"unix_micros(CAST(`{timestamp}` AS TIMESTAMP))" if timestamp else "CAST(NULL AS BIGINT)"
        return self._frame(self._spark.read.parquet(*uris).selectExpr("*", f"{time} AS ratchet_time"))

    def frame(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Frame:
        return self._frame(self._spark.createDataFrame(list(rows), list(columns)))

    def keep(self, frame: Frame) -> Frame:
        return self._frame(frame.to_native().persist())

    def rows(self, frame: Frame) -> list[Json]:
        return [row.asDict() for row in frame.to_native().collect()]

    def quantiles(self, frame: Frame, columns: Sequence[str]) -> dict[str, list[float] | None]:
        if not columns:
            return {}
        shares = ", ".join(str(share) for share in QUANTILES)
        each = [f"percentile(`{name}`, array({shares})) AS `{name}`" for name in columns]
        return self.rows(self._frame(frame.to_native().selectExpr(*each)))[0]

    def write_parquet(self, frame: Frame, uri: str) -> None:
        self._writer(frame).parquet(uri)

    def write_json_lines(self, frame: Frame, uri: str) -> None:
        self._writer(frame).option("ignoreNullFields", "false").json(uri)
        # Spark names them .json, which nothing but Hadoop's own file system can change.
        jvm = self._spark.sparkContext._jvm
        folder = jvm.org.apache.hadoop.fs.Path(uri)
        files = folder.getFileSystem(self._spark.sparkContext._jsc.hadoopConfiguration())
        for file in files.listStatus(folder):
            name = file.getPath().getName()
            files.rename(file.getPath(), jvm.org.apache.hadoop.fs.Path(folder, name.replace(".json", ".jsonl")))

    def _writer(self, frame: Frame) -> Any:
        # An empty _SUCCESS file would be one more input for training and batch transform.
        unmarked = "mapreduce.fileoutputcommitter.marksuccessfuljobs"
        return frame.to_native().write.mode("overwrite").option(unmarked, "false")

    def _frame(self, native: Any) -> Frame:
        return cast(Frame, nw.from_native(native))


@cache
def s3() -> Any:
    """The one S3 client; its region and endpoint come from the environment."""
    return boto3.client("s3")


def bucket_and_key(uri: str) -> tuple[str, str]:
    """`s3://bucket/a/b` → (`bucket`, `a/b`)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def load(uri: str) -> Json:
    """A JSON document from S3."""
    bucket, key = bucket_and_key(uri)
    return cast(Json, json.loads(s3().get_object(Bucket=bucket, Key=key)["Body"].read()))


def store(uri: str, document: Json) -> None:
    """A JSON document to S3."""
    bucket, key = bucket_and_key(uri)
    body = json.dumps(document, indent=1, allow_nan=False).encode()
    s3().put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def quoted(name: str) -> str:
    """A column's name inside SQL."""
    return '"' + name.replace('"', '""') + '"'


def main(argv: Sequence[str]) -> None:
    """Reads the arguments that Glue passes, of which it adds some of its own, and does the job."""
    parser = argparse.ArgumentParser()
    for name in ("snapshot", "definition", "output"):
        parser.add_argument(f"--{name}", required=True, metavar="S3_URI")
    arguments, _ = parser.parse_known_args(argv)
    snapshot, definition = load(arguments.snapshot), load(arguments.definition)["definition"]
    with tempfile.TemporaryDirectory() as work:
        engine: Engine = SparkEngine() if find_spec("pyspark") else DuckDbEngine(Path(work))
        summary, profiled = process(engine, snapshot, definition, arguments.output)
    store(f"{arguments.output}profile.json", profiled)
    # Last: its presence says that all the rest is there.
    store(f"{arguments.output}summary.json", summary)
    print(json.dumps(summary))


if __name__ == "__main__":
    main(sys.argv[1:])
