"""The holdout and every model's answers, joined row by row."""

from typing import Any

import numpy as np
import pytest

from ratchet.adapters.memory_store import MemoryStore
from ratchet.domain.errors import ScoringIncompleteError
from ratchet.domain.judged import Judged, read_judged
from tests.unit.world import jsonl

HOLDOUT, CANDIDATE, CHAMPION = "s3://bucket/holdout/", "s3://bucket/candidate/", "s3://bucket/champion/"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def line(row: int, actual: Any, naive: Any = None, time: str | None = None, **record: Any) -> dict[str, Any]:
    return {"row": row, "actual": actual, "naive": naive, "time": time, "record": record}


def answer(row: int, prediction: Any, **probabilities: float) -> dict[str, Any]:
    output = {"prediction": prediction, **({"probabilities": probabilities} if probabilities else {})}
    return {"row": row, "SageMakerOutput": output}


def read(store: MemoryStore, classification: bool = False, columns: tuple[str, ...] = ()) -> Judged:
    outputs = {"candidate": CANDIDATE, "champion": CHAMPION}
    return read_judged(store, HOLDOUT, outputs, classification=classification, columns=columns)


def test_numbers_are_joined_by_row_from_any_order(store: MemoryStore) -> None:
    store.write(f"{HOLDOUT}b.jsonl", jsonl([line(3, 30, 31, "2026-02-02T00:00:00", site="b")]))
    store.write(
        f"{HOLDOUT}c.jsonl",
        jsonl([line(2, 20, None, "2026-02-01T02:00:00+02:00", site="a"), line(1, 10, 11, "2026-01-31T23:59:59.5Z")]),
    )
    store.write(f"{CANDIDATE}a.out", jsonl([answer(2, 21), answer(1, 12)]))
    store.write(f"{CANDIDATE}b.out", jsonl([answer(3, 33), answer(99, 5)]))
    store.write(f"{CHAMPION}a.out", jsonl([answer(n, n) for n in (1, 2, 3)]))
    judged = read(store, columns=("site",))
    assert judged.rows.tolist() == [1, 2, 3]
    assert judged.actual.tolist() == [10, 20, 30]
    assert judged.text_of(judged.naive) == [11, None, 31]
    assert judged.answers["candidate"].values.tolist() == [12, 21, 33]
    assert judged.answers["champion"].values.tolist() == [1, 2, 3]
    assert judged.times is not None
    assert judged.times.astype(str).tolist() == [
        "2026-01-31T23:59:59.500000",
        "2026-02-01T00:00:00.000000",
        "2026-02-02T00:00:00.000000",
    ]
    site = judged.columns["site"]
    assert [site.names[code] for code in site.codes] == ["None", "a", "b"]
    assert judged.classes is None


def test_classes_are_all_that_occur_or_that_a_model_knows(store: MemoryStore) -> None:
    store.write(f"{HOLDOUT}a.jsonl", jsonl([line(1, "late", "on time"), line(2, "early", None)]))
    store.write(
        f"{CANDIDATE}a.out", jsonl([answer(2, "late", late=0.6, lost=0.4), answer(1, "lost", lost=0.9, late=0.1)])
    )
    store.write(f"{CHAMPION}a.out", jsonl([answer(1, "late"), answer(2, "on time")]))
    judged = read(store, classification=True)
    assert judged.classes == ("early", "late", "lost", "on time")
    assert judged.text_of(judged.actual) == ["late", "early"]
    assert judged.text_of(judged.naive) == ["on time", None]
    assert judged.text_of(judged.answers["candidate"].values) == ["lost", "late"]
    shares = judged.answers["candidate"].probabilities
    assert shares is not None
    assert np.array_equal(shares, [[0, 0.1, 0.9, 0], [0, 0.6, 0.4, 0]])
    assert judged.answers["champion"].probabilities is None
    assert judged.times is None


@pytest.mark.parametrize("said", [None, float("nan"), float("inf")])
def test_an_answer_that_says_nothing_is_missing(store: MemoryStore, said: float | None) -> None:
    store.write(f"{HOLDOUT}a.jsonl", jsonl([line(1, 10), line(2, 20)]))
    store.write(f"{CANDIDATE}a.out", jsonl([answer(1, 10), answer(2, said)]))
    store.write(f"{CHAMPION}a.out", jsonl([answer(1, 10), answer(2, 20)]))
    with pytest.raises(ScoringIncompleteError, match=r"no prediction under s3://bucket/candidate/ for row 2$"):
        read(store)


def test_a_row_answered_twice_is_named_unless_nobody_asked(store: MemoryStore) -> None:
    store.write(f"{HOLDOUT}a.jsonl", jsonl([line(1, 10), line(2, 20)]))
    store.write(f"{CANDIDATE}a.out", jsonl([answer(n, 1) for n in (1, 2, 7, 7)]))
    store.write(f"{CHAMPION}a.out", jsonl([answer(n, 1) for n in (2, 1, 2)]))
    with pytest.raises(ScoringIncompleteError, match=r"more than one prediction under .*champion/ for row 2$"):
        read(store)


def test_an_empty_holdout_judges_nothing(store: MemoryStore) -> None:
    with pytest.raises(ScoringIncompleteError, match="is empty"):
        read(store)
