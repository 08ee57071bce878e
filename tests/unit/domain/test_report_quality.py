"""The data quality that a report shows: this run's new uploads, rejections meanwhile, broken rules in sum."""

from datetime import timedelta
from typing import Any

import pytest

from ratchet.contracts.base import Finding
from ratchet.domain.ledger import RunRecord
from ratchet.domain.report import Quality
from ratchet.domain.report_quality import MAX_UPLOADS, quality_of
from tests.unit import samples
from tests.unit.world import World

BELOW = {"column": "temp", "rule": "min", "expects": "at least 200", "rows": 3, "first_line": 4}
EMPTY = {"column": None, "rule": "shape", "expects": "as many values as the header names", "rows": 1, "first_line": 9}


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    return world


def accept(world: World, number: int, *broken: dict[str, Any]) -> None:
    """An upload whose validation report names broken rules."""
    made = samples.verdict(number)
    uri = f"s3://{samples.DATA}/reports/traffic/{made.verdict_id}.json"
    world.store.write_json(uri, {"judgement": {"broken": list(broken)}})
    world.ledger.record_object("traffic", samples.upload(number))
    bad = sum(rule["rows"] for rule in broken)
    world.ledger.accept("traffic", made.model_copy(update={"report_uri": uri, "bad_rows": bad}))


def reject(world: World, number: int, minutes: int) -> None:
    finding = Finding(what="No rows.", where="the file", why="It is empty.", fix="Send rows.")
    judged_at = samples.NOW + timedelta(minutes=minutes)
    made = samples.verdict(number, "REJECTED").model_copy(update={"finding": finding, "judged_at": judged_at})
    world.ledger.record_object("traffic", samples.upload(number))
    world.ledger.reject("traffic", made)


def quality(world: World, run_id: str) -> Quality:
    record = world.ledger.run("traffic", run_id)
    assert isinstance(record, RunRecord)
    return quality_of(world.ledger, world.store, record)


def test_the_first_run_shows_every_upload_and_the_sum_of_broken_rules(world: World) -> None:
    accept(world, 1, BELOW)
    accept(world, 2, BELOW, EMPTY)
    world.judged()
    found = quality(world, "traffic-g1")
    assert found.before is None
    assert {upload.key for upload in found.uploads} == {"incoming/traffic/1.csv", "incoming/traffic/2.csv"}
    assert [(rule.column, rule.rows, rule.uploads) for rule in found.broken] == [("temp", 6, 2), (None, 1, 1)]


def test_a_later_run_shows_what_came_since_and_what_was_rejected_meanwhile(world: World) -> None:
    reject(world, 8, minutes=-10)
    accept(world, 1, BELOW)
    world.deployed()
    reject(world, 9, minutes=5)
    accept(world, 2)
    world.clock.advance(minutes=10)
    world.judged()
    found = quality(world, "traffic-g2")
    assert found.before == "traffic-g1"
    assert [(upload.key, upload.outcome) for upload in found.uploads] == [
        ("incoming/traffic/9.csv", "REJECTED"),
        ("incoming/traffic/2.csv", "ACCEPTED"),
    ]
    assert found.broken == ()
    assert found.uploads[0].finding is not None


def test_a_rerun_of_the_same_uploads_has_nothing_new(world: World) -> None:
    accept(world, 1)
    world.deployed()
    world.start(forced=True)
    record = world.ledger.run("traffic", "traffic-g2")
    first = world.ledger.run("traffic", "traffic-g1")
    assert record is not None
    assert first is not None
    found = quality_of(world.ledger, world.store, record.model_copy(update={"plan": first.plan}))
    assert found.uploads == ()


def test_a_report_that_is_gone_and_very_many_uploads_are_no_obstacle(world: World) -> None:
    for number in range(1, MAX_UPLOADS + 6):
        accept(world, number, BELOW)
    world.store.remove(f"s3://{samples.DATA}/reports/traffic/{samples.verdict(MAX_UPLOADS).verdict_id}.json")
    world.judged()
    found = quality(world, "traffic-g1")
    assert len(found.uploads) == MAX_UPLOADS + 5
    assert found.unread == 5
    assert found.broken[0].rows < 3 * (MAX_UPLOADS + 5)
