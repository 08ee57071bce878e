"""Uploads too large for the function: one execution judges each, whoever asks and however often."""

import gzip
from datetime import timedelta

import pytest

from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.contracts.ingest import ObjectCreatedEvent, ValidateDataResult, VerdictOutcome
from ratchet.domain.audit import Audit
from ratchet.domain.ingest import JudgeUpload
from ratchet.domain.large import LargePath
from ratchet.domain.ledger import LargeValidation
from ratchet.domain.ports import ExecutionStatus
from tests.unit import samples
from tests.unit.world import World

LIMIT = 1000
ROW = "2017-03-01 00:00:00,280.5,Clear,500\n"
LARGE = ("datetime,temp,weather_main,traffic_volume\n" + ROW * 100).encode()


@pytest.fixture
def world() -> World:
    world = World()
    compiled = world.apply()
    world.store.write_json(samples.definition_ref(compiled).uri, samples.stored_definition(compiled))
    return world


def judge(world: World, event: ObjectCreatedEvent) -> ValidateDataResult:
    """validate_data."""
    large = LargePath(world.ledger, world.workflow, world.clock, LIMIT)
    validate = DuckDbValidator(memory_mb=512, threads=1, most_bytes=LIMIT)
    return JudgeUpload(world.ledger, world.store, validate, world.clock, large)(event)


def judge_in_job(world: World, event: ObjectCreatedEvent, room: int | None = None) -> ValidateDataResult:
    """The job of validate_large."""
    validate = DuckDbValidator(memory_mb=512, threads=1, most_bytes=room)
    return JudgeUpload(world.ledger, world.store, validate, world.clock)(event)


def upload(world: World, content: bytes, name: str = "march.csv") -> ObjectCreatedEvent:
    version = world.store.write(f"s3://{samples.DATA}/incoming/traffic/{name}", content)
    named = {"key": version.key, "size": version.size, "version-id": version.version_id, "sequencer": "1"}
    detail = {"bucket": {"name": samples.DATA}, "object": named}
    return ObjectCreatedEvent.model_validate({"id": "e1", "time": "2017-03-01", "detail": detail})


def started(world: World) -> LargeValidation:
    (large,) = world.ledger.larges("traffic")
    return large


def found(world: World) -> list[str]:
    return [finding.what for finding in Audit(world.ask)().findings if finding.kind == "object"]


def test_a_large_upload_is_handed_on_unread(world: World) -> None:
    result = judge(world, upload(world, LARGE))
    assert (result.outcome, result.upload_id, result.verdict_id) == (VerdictOutcome.LARGE, "", "")
    assert result.large
    assert started(world).execution_arn.endswith(f":{result.large.execution_name}")
    assert len(result.large.execution_name) <= 80
    assert world.ledger.objects("traffic") == {}
    handed = ObjectCreatedEvent.model_validate(result.large.event)
    assert handed.detail.object.size == len(LARGE)
    assert result.announcement.sentence == "march.csv is large (0 MB): a job validates it."


def test_a_small_file_that_holds_much_is_handed_on_too(world: World) -> None:
    packed = gzip.compress(LARGE)
    assert len(packed) < LIMIT < len(LARGE)
    assert judge(world, upload(world, packed)).outcome == "LARGE"


def test_the_same_upload_names_the_same_execution_and_input_whoever_tells_of_it(world: World) -> None:
    event = upload(world, LARGE)
    first = judge(world, event)
    told_otherwise = event.model_copy(update={"id": "e2", "time": "2031-01-01"})
    assert judge(world, told_otherwise).large == first.large
    other = judge(world, upload(world, LARGE))
    assert other.large
    assert first.large
    assert other.large.execution_name != first.large.execution_name, "another version of the same key"


def test_the_job_judges_as_the_function_would_and_the_function_then_tells(world: World) -> None:
    event = upload(world, LARGE)
    handed = judge(world, event).large
    assert handed
    in_job = judge_in_job(world, ObjectCreatedEvent.model_validate(handed.event))
    assert (in_job.outcome, in_job.rows) == ("ACCEPTED", 100)
    world.store.remove(f"s3://{samples.DATA}/incoming/traffic/march.csv")
    assert judge(world, event) == in_job, "without reading the object again"


def test_what_even_the_job_has_no_room_for_is_rejected_with_the_fix(world: World) -> None:
    result = judge_in_job(world, upload(world, LARGE), room=LIMIT)
    assert result.outcome == "REJECTED"
    assert result.finding
    assert "too large" in result.finding.what
    assert "ValidateLargeWorkerType" in result.finding.fix


def test_an_execution_that_died_gives_way_to_another_attempt(world: World) -> None:
    event = upload(world, LARGE)
    first = judge(world, event).large
    world.workflow.statuses[started(world).execution_arn] = ExecutionStatus.UNKNOWN
    assert judge(world, event).large == first, "recorded, and never started"
    world.workflow.statuses[started(world).execution_arn] = ExecutionStatus.ENDED
    second = judge(world, event).large
    assert first
    assert second
    assert second.execution_name == first.execution_name.removesuffix("-1") + "-2"
    assert started(world).attempt == 2


def test_a_new_contract_is_a_new_execution(world: World) -> None:
    event = upload(world, LARGE)
    first = judge(world, event).large
    world.apply(data=samples.definition().data.model_copy(update={"min_rows": 7}))
    second = judge(world, event).large
    assert first
    assert second
    assert second.execution_name.endswith("-1")
    assert second.execution_name != first.execution_name


def test_audit_and_reconcile_leave_an_upload_alone_while_its_validation_runs(world: World) -> None:
    judge(world, upload(world, LARGE))
    world.clock.advance(minutes=22)
    assert found(world) == []
    assert world.reconcile().ingested == ()


@pytest.mark.parametrize("status", [ExecutionStatus.ENDED, ExecutionStatus.UNKNOWN])
def test_a_validation_that_died_is_named_and_its_event_sent_again(world: World, status: ExecutionStatus) -> None:
    judge(world, upload(world, LARGE))
    arn = started(world).execution_arn
    world.workflow.statuses[arn] = status
    assert found(world) == [f"has no verdict; its validation {arn} is not running"]
    world.clock.advance(minutes=9)
    assert world.reconcile().ingested == (), "an execution that has just ended may be about to be told of"
    world.clock.advance(minutes=2)
    assert len(world.reconcile().ingested) == 1


def test_a_validation_that_dies_again_and_again_is_tried_less_and_less(world: World) -> None:
    event = upload(world, LARGE)
    waits = []
    for _ in range(4):
        judge(world, event)
        begun = world.clock.now
        world.workflow.statuses[started(world).execution_arn] = ExecutionStatus.ENDED
        while not world.reconcile().ingested:
            world.clock.advance(minutes=5)
        waits.append(world.clock.now - begun)
    assert waits == [timedelta(minutes=minutes) for minutes in (10, 20, 40, 80)]
