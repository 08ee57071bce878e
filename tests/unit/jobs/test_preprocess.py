"""What the preprocess job makes of accepted uploads."""

import json
import math
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.jobs.harness import FolderS3, Preprocess, Row, load_job

START = datetime.fromisoformat("2026-03-01")
Hourly = Callable[..., Preprocess]


def hours(days: int, start: int = 0, **values: Any) -> list[Row]:
    """Hourly rows whose count is the day times 100 plus the hour."""
    return [
        {"at": START + timedelta(hours=hour), "count": hour // 24 * 100 + hour % 24, **values}
        for hour in range(start * 24, days * 24)
    ]


def test_latest_upload_wins_on_the_key(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(10, note="old"))
    job.upload({"at": START, "count": 999, "note": "new"})
    assert job.run()["duplicates_dropped"] == 1
    assert [row["note"] for row in job.rows("train") if row["count"] == 999] == ["new"]
    assert len(job.rows("train")) + len(job.rows("validation")) + len(job.holdout()) == 240


def test_precedence_decides_and_not_the_order_of_delivery(hourly: Hourly) -> None:
    job = hourly()
    job.upload({"at": START, "count": 999}, precedence=7)
    job.upload(*hours(10), precedence=3)
    job.run()
    assert job.rows("train")[0]["count"] == 999


def test_last_line_wins_within_an_upload(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(10), {"at": START, "count": 1}, {"at": START, "count": 2})
    job.run()
    assert job.rows("train")[0]["count"] == 2


def test_without_a_key_every_row_stays(hourly: Hourly) -> None:
    job = hourly(key=[])
    job.upload(*hours(10), {"at": START, "count": 1})
    summary = job.run()
    assert summary["duplicates_dropped"] == 0
    assert sum(summary["rows"].values()) == 241


def test_the_newest_rows_are_held_out_and_those_before_validate(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(10))
    summary = job.run()
    assert summary == {
        "rows": {"train": 192, "validation": 24, "holdout": 24},
        "duplicates_dropped": 0,
        "first": "2026-03-01T00:00:00",
        "last": "2026-03-10T23:00:00",
        "holdout_start": "2026-03-10T00:00:00",
        "trained_until": "2026-03-09T23:00:00",
        "uploads": 1,
        "naive": {
            "kind": "seasonal",
            "series": [],
            "detected": False,
            "season": "1d",
            "words": "the naive forecast (the last 1d before the holdout, repeated)",
        },
        "engine": "duckdb",
    }
    assert [row["at"] for row in job.rows("validation")] == [START + timedelta(hours=8 * 24 + n) for n in range(24)]
    assert max(row["at"] for row in job.rows("train")) == START + timedelta(hours=8 * 24 - 1)


def test_a_short_history_gives_validation_a_tenth(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(3))
    assert job.run()["rows"] == {"train": 43, "validation": 5, "holdout": 24}


def test_a_history_shorter_than_the_holdout_says_what_to_do(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(1))
    with pytest.raises(job.module.UnusableDataError, match=r"holdout of 1d takes all rows .* shorten gate\.holdout"):
        job.run()
    assert "out/summary.json" not in job.s3.puts


def test_no_row_with_a_target_says_what_to_do(hourly: Hourly) -> None:
    job = hourly()
    job.upload({"at": START}, {"at": None, "count": 3})
    with pytest.raises(job.module.UnusableDataError, match="No row has both a target and a timestamp"):
        job.run()


def test_the_naive_forecast_repeats_the_season_before_the_holdout(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(10))
    job.run()
    assert [line["naive"] for line in job.holdout()] == [800 + hour for hour in range(24)]


def test_the_naive_forecast_looks_further_back_for_a_missing_hour(hourly: Hourly) -> None:
    job = hourly()
    missing = START + timedelta(days=8, hours=5)
    job.upload(*(row for row in hours(10) if row["at"] != missing))
    job.run()
    assert [line["naive"] for line in job.holdout()][4:7] == [804, 705, 806]


def test_the_naive_forecast_is_null_where_nothing_was_seen(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*(row for row in hours(10) if row["at"].hour != 5 or row["at"].day == 10))
    job.run()
    assert [line["naive"] for line in job.holdout()][4:7] == [804, None, 806]


def test_each_series_repeats_its_own_season(hourly: Hourly) -> None:
    job = hourly(key=["at", "note"])
    job.upload(*hours(10, note="a"), *({**row, "count": -row["count"], "note": "b"} for row in hours(10)))
    job.run()
    naive = {(line["record"]["note"], line["time"][11:13]): line["naive"] for line in job.holdout()}
    assert naive["a", "07"] == 807
    assert naive["b", "07"] == -807


DAY = [0, 5, 20, 80, 40, 10]  # every four hours


def shaped(value: Callable[[int, datetime], float], steps: int, step: timedelta) -> list[Row]:
    """Rows one step apart; the values follow from the step's number and its time."""
    times = [datetime.fromisoformat("2023-03-01") + n * step for n in range(steps)]
    return [{"at": at, "count": round(1000 * value(n, at))} for n, at in enumerate(times)]


def weekly(n: int, at: datetime) -> float:
    return DAY[n % 6] * (0.3 if at.weekday() > 4 else 1)


def daily(n: int, at: datetime) -> float:
    return DAY[n % 6] + (n * 7919 % 13) / 2


def yearly(n: int, at: datetime) -> float:
    return 10 * math.cos(2 * math.pi * at.timetuple().tm_yday / 365.25) + (n * 7919 % 13) / 10


def smooth(n: int, at: datetime) -> float:
    return (n / 100) ** 2


@pytest.mark.parametrize(
    ("value", "steps", "step", "holdout", "season"),
    [
        (weekly, 360, "4h", "3d", "7d"),
        (daily, 360, "4h", "3d", "1d"),
        (daily, 10, "4h", "12h", None),  # not two days
        (yearly, 900, "1d", "60d", "364d"),
        (yearly, 40, "30d", "60d", None),  # no date comes twice
        (smooth, 300, "1d", "60d", None),
    ],
)
def test_the_season_is_detected_unless_stated(
    hourly: Hourly, value: Callable[[int, datetime], float], steps: int, step: str, holdout: str, season: str | None
) -> None:
    job = hourly()
    job.definition["gate"] |= {"season": None, "holdout": holdout}
    job.upload(*shaped(value, steps, timedelta(microseconds=job.module.microseconds(step))))
    naive = job.run()["naive"]
    assert (naive["season"], naive["detected"]) == (season, season is not None)
    assert naive["kind"] == ("seasonal" if season else "last_value")
    assert ("season detected by autocorrelation" in naive["words"]) is (season is not None)


def test_a_month_repeats_its_month_of_the_year_before(hourly: Hourly) -> None:
    job = hourly()
    job.definition["gate"] |= {"season": None, "holdout": "340d"}
    months = [datetime(2019 + n // 12, n % 12 + 1, 1) for n in range(60)]  # noqa: DTZ001 - data has no zone
    job.upload(*({"at": at, "count": at.month * 1000 + at.year} for at in months))
    assert job.run()["naive"]["season"] == "365d"
    lines = job.holdout()
    assert [line["naive"] for line in lines] == [line["actual"] - 1 for line in lines]


def test_without_a_season_the_last_value_is_repeated(hourly: Hourly) -> None:
    job = hourly(key=["at", "note"])
    job.definition["gate"]["season"] = None
    job.upload(*({**row, "note": note} for note in "ab" for row in shaped(smooth, 100, timedelta(hours=1))))
    naive = job.run()["naive"]
    assert naive["words"] == "the naive forecast (the last value before the holdout; no season was detected)"
    lines = job.holdout()
    assert {(line["record"]["note"], line["naive"]) for line in lines} == {
        ("a", lines[0]["naive"]),
        ("b", lines[0]["naive"]),
    }


def test_series_may_be_other_columns_than_the_keys(hourly: Hourly) -> None:
    job = hourly(key=["at", "level"], series=["note"])
    job.upload(*({**row, "note": "ab"[level], "level": level} for level in (0, 1) for row in hours(10)))
    assert job.run()["naive"]["series"] == ["note"]
    assert [line["naive"] for line in job.holdout()[:4]] == [800, 800, 801, 801]


def test_the_majority_class_comes_with_every_share(job: Preprocess) -> None:
    columns = {"id": "integer", "sky": "string"}
    job.define(
        {"columns": columns, "target": "sky", "task": "classification", "key": ["id"]},
        {"metric": "log_loss", "threshold": 1, "holdout": 0.2},
    )
    skies = ["Clear", "Clear", "Rain", "Fog"]
    job.upload(*({"id": n, "sky": skies[n % 4], "ratchet_bucket": n * 25} for n in range(400)))
    naive = job.run()["naive"]
    assert (naive["kind"], naive["label"]) == ("majority_class", "Clear")
    assert naive["shares"] == {"Clear": 0.5, "Rain": 0.25, "Fog": 0.25}
    assert {line["naive"] for line in job.holdout()} == {"Clear"}


def test_a_holdout_line_holds_the_record_as_a_caller_sends_it(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(9))
    job.upload(*hours(10, start=9, level=float("nan"), note='wet, "cold" and ü'))
    job.run()
    assert job.holdout()[3] == {
        "row": 2**32 + 5,  # of the second upload, line 5
        "actual": 903,
        "naive": 803,
        "time": "2026-03-10T03:00:00",
        "record": {"at": "2026-03-10T03:00:00", "note": 'wet, "cold" and ü', "level": None},
    }
    assert "NaN" not in job.holdout_text()


def test_times_keep_their_fraction(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(9), {"at": START + timedelta(days=9, microseconds=250_000), "count": 1})
    job.run()
    assert datetime.fromisoformat(job.holdout()[-1]["time"]) == START + timedelta(days=9, microseconds=250_000)
    assert job.holdout()[-1]["record"]["at"] == job.holdout()[-1]["time"]


def test_row_numbers_are_unique_and_the_same_each_time(hourly: Hourly) -> None:
    job = hourly(key=[])
    for _ in range(3):
        job.upload(*hours(10))
    job.run()
    first = job.holdout_text()
    job.uploads.reverse()
    job.run()
    assert job.holdout_text() == first
    assert len({line["row"] for line in job.holdout()}) == 72


def test_the_window_leaves_older_rows_out(hourly: Hourly) -> None:
    job = hourly(window="5d")
    job.upload(*hours(10))
    assert job.run()["first"] == "2026-03-06T00:00:00"


def test_rows_without_a_target_teach_nothing(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(10), {"at": START + timedelta(days=9, minutes=30), "count": None})
    assert job.run()["rows"]["holdout"] == 24


def test_a_target_that_is_no_number_is_no_target(hourly: Hourly) -> None:
    job = hourly(target="level")
    job.upload(*hours(10, level=1.5), {"at": START + timedelta(days=9, minutes=30), "level": float("nan")})
    assert job.run()["rows"]["holdout"] == 24
    assert {line["actual"] for line in job.holdout()} == {1.5}


def test_the_profile_describes_what_the_model_was_fitted_on(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(9, note="dry", level=0.5), *hours(10, start=9, note="holdout"))
    job.run()
    profile = job.document("profile.json")
    assert profile["rows"] == 216
    assert profile["columns"]["note"] == {"type": "string", "count": 216, "nulls": 0, "top": {"dry": 216}}
    assert profile["columns"]["at"]["max"] == "2026-03-09T23:00:00"
    count = profile["columns"]["count"]
    assert (count["min"], count["max"], count["mean"], round(count["std"], 2)) == (0, 823, 411.5, 258.89)
    assert len(count["quantiles"]) == len(profile["quantiles"]) == 21
    assert (count["quantiles"][0], count["quantiles"][10], count["quantiles"][20]) == (0, 411.5, 823)


def test_the_summary_is_written_last(hourly: Hourly) -> None:
    job = hourly()
    job.upload(*hours(10))
    job.run()
    assert job.s3.puts[-1] == "out/summary.json"
    assert len(job.s3.puts) == 5


def flags(job: Preprocess, **gate: Any) -> None:
    """A classification without a timestamp: the split is by bucket."""
    columns = {"id": "integer", "late": "boolean"}
    job.define(
        {"columns": columns, "target": "late", "task": "classification", "key": ["id"]},
        {"metric": "accuracy", "threshold": 0.5, "holdout": 0.2, **gate},
    )
    job.upload(*({"id": n, "late": n % 3 == 0, "ratchet_bucket": n * 100} for n in range(100)))


def test_without_a_timestamp_the_bucket_decides(job: Preprocess) -> None:
    flags(job)
    summary = job.run()
    assert summary["rows"] == {"train": 72, "validation": 8, "holdout": 20}
    assert [summary[name] for name in ("first", "last", "holdout_start", "trained_until")] == [None] * 4
    assert [line["record"]["id"] for line in job.holdout()] == list(range(80, 100))


def test_labels_are_text_and_the_naive_answer_is_the_commonest(job: Preprocess) -> None:
    flags(job)
    job.run()
    assert job.holdout()[0] == {"row": 82, "actual": "false", "naive": "false", "time": None, "record": {"id": 80}}
    assert job.holdout()[1]["actual"] == "true"


def test_regression_without_a_timestamp_compares_with_the_median(job: Preprocess) -> None:
    columns = {"id": "integer", "price": "number"}
    job.define(
        {"columns": columns, "target": "price", "task": "regression"},
        {"metric": "mae", "threshold": 9, "holdout": 0.25},
    )
    job.upload(*({"id": n, "price": float(n), "ratchet_bucket": n * 100} for n in range(100)))
    job.run()
    assert {line["naive"] for line in job.holdout()} == {37.0}


def test_an_empty_part_says_what_to_do(job: Preprocess) -> None:
    flags(job)
    job.uploads.clear()
    job.upload({"id": 1, "late": True, "ratchet_bucket": 0})
    with pytest.raises(job.module.UnusableDataError, match="No row falls into validation and holdout"):
        job.run()


def test_awkward_column_names_are_kept(job: Preprocess) -> None:
    columns = {"the time": "timestamp", 'say "n"': "integer", "ünits $": "number"}
    job.define(
        {"columns": columns, "target": 'say "n"', "task": "regression", "timestamp": "the time"},
        {"metric": "mae", "threshold": 1, "holdout": "1d", "season": "1d"},
    )
    job.upload(*({"the time": row["at"], 'say "n"': row["count"], "ünits $": 0.5} for row in hours(10)))
    job.run()
    assert job.holdout()[0]["record"] == {"the time": "2026-03-10T00:00:00", "ünits $": 0.5}
    assert job.document("profile.json")["columns"]["ünits $"]["mean"] == 0.5


def test_the_bundle_runs_the_named_script_with_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FolderS3(tmp_path)
    s3.put_object("artifacts", "bundles/abc/job.py", b"import json, sys\nprint(json.dumps([__name__, sys.argv[1:]]))\n")
    run_bundle = load_job("preprocess/run_bundle.py")
    monkeypatch.setattr(run_bundle.boto3, "client", lambda service: s3)
    arguments = ["--script_uri", "s3://artifacts/bundles/abc/job.py", "--output", "s3://artifacts/out/"]
    monkeypatch.setattr(sys, "argv", ["run_bundle.py", *arguments])
    printed: list[str] = []
    monkeypatch.setattr("builtins.print", printed.append)
    run_bundle.main(sys.argv)
    assert json.loads(printed[0]) == ["__main__", arguments]
