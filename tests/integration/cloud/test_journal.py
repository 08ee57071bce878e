"""The journal by itself: order, groups, a full disk, and duties."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from ministack.core.responses import get_account_id, get_region, request_scope

from local.cloud.repairs.durability.codec import Codec, key_from, key_of
from local.cloud.repairs.durability.duties import SERVICE, Duties
from local.cloud.repairs.durability.journal import Journal
from tests.integration.cloud.account import until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def lasting(file: Path) -> Callable[[], dict[str, str | None]]:
    """What another process would find."""

    def read() -> dict[str, str | None]:
        with closing(sqlite3.connect(file)) as records:
            return dict(records.execute("SELECT key, value FROM record"))

    return read


def test_what_is_committed_lasts_and_the_last_change_counts(file: Path, lasting: Callable[[], object]) -> None:
    journal = Journal(file)
    journal.put("service", "store", "a", "1")
    assert lasting() == {}
    journal.put("service", "store", "a", "2")
    journal.put("service", "store", "b", None)
    journal.put("service", "store", "c", "3")
    journal.drop("service", "store", "c")
    journal.commit()
    assert lasting() == {"a": "2", "b": None}
    journal.drop("service", "store", "b")
    journal.commit()
    assert lasting() == {"a": "2"}


def test_a_group_lasts_whole_or_not_at_all(file: Path, lasting: Callable[[], object]) -> None:
    journal = Journal(file)
    with journal.together():
        journal.put("service", "store", "a", "1")
        with ThreadPoolExecutor() as pool:
            pool.submit(journal.put, "service", "store", "c", "3").result()
            pool.submit(journal.commit).result()
        assert lasting() == {"c": "3"}
        with journal.together():
            journal.put("service", "store", "b", "2")
    journal.commit()
    assert lasting() == {"a": "1", "b": "2", "c": "3"}


def test_what_cannot_be_written_is_an_error_and_is_written_later(file: Path, lasting: Callable[[], object]) -> None:
    journal = Journal(file)
    pages = journal._records.execute("PRAGMA page_count").fetchone()[0]
    journal._records.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk
    journal.put("service", "store", "a", "1" * 100_000)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.commit()
    assert lasting() == {}
    journal._records.execute("PRAGMA max_page_count = 1000")
    journal.put("service", "store", "b", "2")
    journal.commit()
    assert lasting() == {"a": "1" * 100_000, "b": "2"}


def test_a_stop_leaves_duties_only(file: Path, lasting: Callable[[], object]) -> None:
    journal = Journal(file)
    for service in ("one", "other", SERVICE):
        journal.put(service, "store", service, "1")
    journal.commit()
    journal.only(SERVICE)
    journal.forget(["one", "other"])
    journal.put("one", "store", "late", "1")
    journal.drop(SERVICE, "store", SERVICE)
    journal.put(SERVICE, "store", "late", "1")
    journal.commit()
    assert lasting() == {"late": "1"}


@pytest.mark.parametrize("key", ["plain", 7, None, ("000000000000", "us-east-1", ("a", ("b", 'c"\x00')))])
def test_keys_come_back(key: object) -> None:
    assert key_from(key_of(key)) == key


def test_binary_parts_come_back_and_large_ones_are_files(tmp_path: Path) -> None:
    codec = Codec(tmp_path / "blobs")
    value = {"small": b"\x00\xff", "large": [bytes(range(256)) * 100]}
    text = codec.encode(value)
    assert codec.encode(value) == text
    assert len(text) < 1000
    assert len(list((tmp_path / "blobs").iterdir())) == 1
    assert Codec(tmp_path / "blobs").decode(text) == value


def test_what_was_not_done_is_done_again_in_its_order_and_its_account(file: Path, tmp_path: Path) -> None:
    journal, codec, seen = Journal(file), Codec(tmp_path / "blobs"), list[object]()
    before = Duties(journal, codec)
    with request_scope("111122223333", "eu-west-1"):
        duties = [before.add("bring", number) for number in range(4)]
    before.done(duties[1])
    before.until_done("bring", "done", lambda: None)()
    journal.commit()

    def bring(number: object) -> None:
        if number == 2:  # and keeps no other from being done
            raise LookupError
        seen.append((number, get_account_id(), get_region()))

    after = Duties(journal, codec)
    after.handle("bring", bring)
    after.load([(store, key_from(key), codec.decode(value or "")) for store, key, value in journal.records(SERVICE)])
    after.resume()
    journal.commit()
    assert seen == [(number, "111122223333", "eu-west-1") for number in (0, 3)]
    assert journal.records(SERVICE) == []


def test_duties_are_owed_while_they_are_done_in_the_background(file: Path, tmp_path: Path) -> None:
    journal, begun, over = Journal(file), threading.Event(), threading.Event()
    duties = Duties(journal, Codec(tmp_path / "blobs"))

    def act() -> None:
        begun.set()
        over.wait(10)

    duties.in_background("bring", "it", act)

    def kept() -> list[str]:
        journal.commit()
        return [store for store, _, _ in journal.records(SERVICE)]

    assert begun.wait(10)
    assert kept() == ["bring"]
    over.set()
    until(lambda: not kept())
