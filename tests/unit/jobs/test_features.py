"""Features of single records, as serving computes them."""

import json
from collections.abc import Callable
from math import isnan
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.jobs.harness import load_job

Of = Callable[..., list[float | None]]


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """jobs/model/features.py: it needs nothing but numpy."""
    return load_job("model/features.py")


@pytest.fixture
def features(module: ModuleType) -> Any:
    """Features of every type of column."""
    return module.Features(
        columns={"at": "timestamp", "temp": "number", "count": "integer", "open": "boolean", "sky": "string"},
        calendar=["hour", "weekday", "month", "dayofyear", "trend", "holiday:US"],
        holidays={"US": ["2017-01-01", "2017-01-02", "2017-07-04"]},
        categories={"sky": ["Clear", "Rain"]},
        labels=[],
    )


@pytest.fixture
def of(features: Any) -> Of:
    """The features of one record; not known is None."""

    def compute(**record: Any) -> list[float | None]:
        row = features.from_records([record])[0].tolist()
        return [None if isnan(value) else value for value in row]

    return compute


def test_names_and_types_fit_the_matrix(features: Any) -> None:
    parts = ["hour", "weekday", "month", "dayofyear", "trend", "holiday:US"]
    assert features.names == [*(f"at:{part}" for part in parts), "temp", "count", "open", "sky"]
    assert features.types == ["q"] * 9 + ["c"]
    assert features.from_records([{}]).shape == (1, 10)


@pytest.mark.parametrize(
    ("time", "hour", "weekday", "month", "dayofyear", "trend"),
    [
        ("2016-12-31T23:59:59", 23, 5, 12, 366, 17166 + 86399 / 86400),
        ("2017-01-01T00:00:00", 0, 6, 1, 1, 17167),
        ("2017-03-01 06:30:00", 6, 2, 3, 60, 17226 + 6.5 / 24),
        ("1969-12-31T12:00:00", 12, 2, 12, 365, -0.5),
    ],
)
def test_the_calendar(of: Of, time: str, hour: int, weekday: int, month: int, dayofyear: int, trend: float) -> None:
    found = of(at=time)
    assert found[:4] == [hour, weekday, month, dayofyear]
    assert found[4] == pytest.approx(trend, abs=1e-3)


@pytest.mark.parametrize(
    ("day", "distance"),
    [
        ("2016-12-20", -3),
        ("2016-12-31", -1),
        ("2017-01-01", 0),
        ("2017-01-02", 0),
        ("2017-01-04", 2),
        ("2017-07-03", -1),
        ("2017-07-05", 1),
        ("2018-01-01", 3),
    ],
)
def test_the_distance_to_the_nearest_holiday(of: Of, day: str, distance: int) -> None:
    assert of(at=f"{day}T22:00:00")[5] == distance


@pytest.mark.parametrize("time", ["2017-03-01T12:00:00Z", "2017-03-01T14:00:00+02:00", "2017-03-01T10:00:00-02:00"])
def test_an_offset_is_turned_to_utc(of: Of, time: str) -> None:
    assert of(at=time)[0] == 12


def test_what_is_missing_null_or_unseen_is_not_known(of: Of) -> None:
    assert of() == [None] * 10
    assert of(at=None, temp=None, count=None, open=None, sky=None) == [None] * 10
    assert of(sky="Sharknado")[-1] is None


def test_values_pass_as_they_are(of: Of) -> None:
    assert of(temp=-0.5, count=7, open=True, sky="Rain")[6:] == [-0.5, 7, 1, 1]
    assert of(open=False, sky="Clear")[8:] == [0, 0]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"temp": "warm"}, "column temp must hold a number or null: could not convert string to float: 'warm'"),
        ({"temp": [1, 2]}, "column temp must hold a number or null"),
        ({"sky": 5}, "column sky must hold a string or null: 5 is not text"),
        ({"at": 1488369600}, "column at must hold a timestamp or null: a time is written as ISO 8601 text"),
        ({"at": "yesterday"}, "column at must hold a timestamp or null"),
    ],
)
def test_a_wrong_value_names_its_column(features: Any, module: ModuleType, record: Any, message: str) -> None:
    with pytest.raises(module.RecordError) as caught:
        features.from_records([{}, record])
    assert message in str(caught.value)


def test_a_batch_gives_what_each_record_gives_alone(features: Any) -> None:
    records = [{"at": "2017-01-01T05:00:00", "temp": 1.5}, {"sky": "Rain"}, {"at": "2017-07-04T05:00:00+01:00"}]
    alone = [features.from_records([record]).tobytes() for record in records]
    assert features.from_records(records).tobytes() == b"".join(alone)


def test_saving_and_loading_changes_nothing(features: Any, module: ModuleType, tmp_path: Path) -> None:
    features.save(tmp_path)
    assert module.Features.load(tmp_path) == features
    assert json.loads((tmp_path / "features.json").read_text())["categories"] == {"sky": ["Clear", "Rain"]}
