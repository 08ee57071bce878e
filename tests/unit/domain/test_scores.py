"""Joining the holdout with what batch transform answered."""

import pytest

from ratchet.adapters.memory_store import MemoryStore
from ratchet.domain.errors import ScoringIncompleteError
from ratchet.domain.scores import holdout_rows, label, predictions, utc_time
from tests.unit.world import holdout, jsonl

OUT = "s3://bucket/scores/"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def answer(row: int) -> dict[str, object]:
    return {"row": row, "SageMakerOutput": {"prediction": row * 1.5}}


def test_rows_come_in_order_from_every_file_and_other_files_are_left_alone(store: MemoryStore) -> None:
    lines = holdout(days=1)
    store.write("s3://bucket/holdout/part-1.jsonl", jsonl(lines[:10]))
    store.write("s3://bucket/holdout/part-0.jsonl", jsonl(lines[10:]))
    store.write("s3://bucket/holdout/_SUCCESS", b"")
    rows = holdout_rows(store, "s3://bucket/holdout/")
    assert [row.row for row in rows] == list(range(24))
    assert rows[1].time == utc_time("2026-02-01T01:00:00")
    assert rows[0].record["weather_main"] == "Fog"


def test_an_empty_holdout_judges_nothing(store: MemoryStore) -> None:
    with pytest.raises(ScoringIncompleteError, match="is empty"):
        holdout_rows(store, "s3://bucket/holdout/")


def test_predictions_are_found_by_row_in_any_order(store: MemoryStore) -> None:
    store.write(f"{OUT}b.jsonl.out", jsonl([answer(2)]))
    store.write(f"{OUT}a.jsonl.out", jsonl([answer(3), answer(1)]))
    assert {row: a["prediction"] for row, a in predictions(store, OUT, [1, 2, 3]).items()} == {1: 1.5, 2: 3.0, 3: 4.5}


def test_missing_rows_are_named(store: MemoryStore) -> None:
    store.write(f"{OUT}a.out", jsonl([answer(1), {"row": 2}, {"row": 3, "SageMakerOutput": {"error": "x"}}]))
    with pytest.raises(ScoringIncompleteError, match=r"no prediction under s3://bucket/scores/ for 2 rows: 2, 3$"):
        predictions(store, OUT, [1, 2, 3])
    with pytest.raises(ScoringIncompleteError, match=r"for 99 rows: 2, 3, 4, 5, 6, …"):
        predictions(store, OUT, range(1, 101))


def test_doubled_rows_are_named(store: MemoryStore) -> None:
    store.write(f"{OUT}a.out", jsonl([answer(1), answer(2), answer(2)]))
    with pytest.raises(ScoringIncompleteError, match=r"more than one prediction .* for row 2"):
        predictions(store, OUT, [1, 2])


@pytest.mark.parametrize(
    ("value", "text"), [("late", "late"), (1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), (None, "None")]
)
def test_a_class_has_one_spelling(value: object, text: str) -> None:
    assert label(value) == text


def test_times_with_and_without_a_zone_can_be_compared() -> None:
    bare, zoned = utc_time("2026-02-01T01:00:00"), utc_time("2026-02-01T02:00:00+01:00")
    assert bare == zoned
    assert utc_time(None) is None
