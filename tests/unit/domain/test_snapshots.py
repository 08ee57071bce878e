"""A snapshot of 20,000 uploads: its list stands in S3, and what passes between states stays small."""

import time

import pytest

from ratchet.contracts.run import RunPlan
from ratchet.domain.snapshots import uploads_in
from tests.unit import samples
from tests.unit.world import World

COUNT = 20_000
_STATE_LIMIT = 256 * 1024  # bytes of a state's payload


@pytest.fixture(scope="module")
def planned() -> tuple[World, RunPlan, float]:
    world = World()
    world.apply()
    world.accept(COUNT)
    started = time.perf_counter()
    plan = world.plan(world.start())
    return world, plan, time.perf_counter() - started


def test_every_upload_is_in_the_manifest_in_order(planned: tuple[World, RunPlan, float]) -> None:
    world, plan, _ = planned
    assert plan.snapshot_id is not None
    held = uploads_in(world.ledger, world.store, "traffic", plan.snapshot_id)
    assert [upload.precedence for upload in held] == list(range(COUNT))
    assert held[-1].upload_id == samples.upload(COUNT).upload_id
    assert plan.uploads == COUNT


def test_the_plan_and_the_record_stay_small(planned: tuple[World, RunPlan, float]) -> None:
    world, plan, _ = planned
    record = world.ledger.runs("traffic")[-1]
    assert len(plan.model_dump_json()) < 10_000
    assert len(record.model_dump_json()) < _STATE_LIMIT / 10


def test_it_is_planned_well_within_the_functions_time(planned: tuple[World, RunPlan, float]) -> None:
    _, _, seconds = planned
    assert seconds < 10  # measured: under one; the function has 80


def test_a_snapshot_nobody_took_holds_nothing(planned: tuple[World, RunPlan, float]) -> None:
    world, _, _ = planned
    assert uploads_in(world.ledger, world.store, "traffic", "0" * 64) == []
