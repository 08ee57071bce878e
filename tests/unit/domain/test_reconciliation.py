"""Reconcile: whatever event is lost, the next look finds it."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from ratchet.contracts.ingest import ObjectCreatedEvent
from ratchet.contracts.run import RunOutcome
from ratchet.domain.errors import DependencyBusyError, ReconcileIncompleteError
from ratchet.domain.ports import ExecutionStatus
from ratchet.domain.reconciliation import MOST_INGESTED, is_due
from tests.unit import samples
from tests.unit.world import ENDPOINT, World

KEY = "incoming/traffic/März 2026+1.csv"


@pytest.fixture
def world() -> World:
    """At rest: one upload, one champion, nothing owned and nothing behind."""
    world = World()
    world.apply()
    world.accept()
    world.deployed()
    state = world.state
    world.ledger._change(state, applied_at=samples.NOW)
    world.clock.now = samples.NOW
    world.endpoints.calls.clear()
    return world


def put(world: World, key: str = KEY, minutes_ago: float = 6) -> str:
    """An object version whose event is lost."""
    version = world.store.write(f"s3://{samples.DATA}/{key}", b"a,b\n")
    world.clock.now = version.modified
    world.clock.advance(minutes=minutes_ago)
    state = world.state
    world.ledger._change(state, applied_at=version.modified)
    return version.version_id


def test_a_healthy_pipeline_is_left_alone(world: World) -> None:
    report = world.reconcile()
    assert report.model_dump(exclude_defaults=True) == {"pipelines": 1}
    assert world.endpoints.calls == []


def test_an_object_nobody_announced_is_ingested_by_an_event_like_s3s(world: World) -> None:
    version = put(world)
    report = world.reconcile()
    assert report.ingested == (f"s3://{samples.DATA}/{KEY}?versionId={version}",)
    event = TypeAdapter(ObjectCreatedEvent).validate_python(world.workflow.ingested[0])
    assert (event.detail.bucket.name, event.detail.object.key) == (samples.DATA, KEY)
    assert (event.detail.object.version_id, event.detail.object.size) == (version, 4)


def test_an_object_whose_event_may_still_come_is_left_alone(world: World) -> None:
    put(world, minutes_ago=4)
    assert world.reconcile().ingested == ()


def test_folder_markers_are_no_uploads(world: World) -> None:
    put(world, "incoming/traffic/2026/")
    assert world.reconcile().ingested == ()


def test_a_judged_version_is_not_judged_again_under_the_same_contract(world: World) -> None:
    version = put(world)
    seen = samples.upload(1, KEY).model_copy(update={"version_id": version})
    world.ledger.record_object("traffic", seen)
    assert world.reconcile().ingested == ()


def test_a_new_contract_judges_known_versions_at_once(world: World) -> None:
    version = put(world, minutes_ago=0)
    world.ledger.record_object("traffic", samples.upload(1, KEY).model_copy(update={"version_id": version}))
    assert world.reconcile().ingested == ()
    world.apply(data={**samples.definition().model_dump(mode="json")["data"], "min_rows": 7})
    assert len(world.reconcile().ingested) == 1


def test_a_burst_is_ingested_a_hundred_at_a_time(world: World) -> None:
    for number in range(MOST_INGESTED + 5):
        put(world, f"incoming/traffic/{number}.csv")
    assert len(world.reconcile().ingested) == MOST_INGESTED


@pytest.mark.parametrize(
    ("minutes", "seen", "due"),
    [
        (4, False, False),
        (4, True, True),
        (5, False, True),
        (12, False, True),
        (16, False, False),
        (16, True, False),
        (22, False, True),
        (44, False, True),
        (46, False, False),
        (60 * 24 * 7, False, False),
    ],
)
def test_a_file_that_breaks_validation_is_tried_less_and_less(minutes: float, seen: bool, due: bool) -> None:
    assert is_due(timedelta(minutes=minutes), seen) is due


def test_work_nobody_runs_is_started(world: World) -> None:
    world.accept()
    assert world.reconcile().started == ("traffic-g2",)
    assert world.workflow.started[-1].reason == "reconcile"


def test_a_running_owner_is_left_alone(world: World) -> None:
    world.accept()
    world.start()
    world.clock.advance(hours=20)
    report = world.reconcile()
    assert (report.closed, report.released, report.started) == ((), (), ())


def test_an_owner_whose_execution_ended_is_closed_and_announced(world: World) -> None:
    world.accept()
    run = world.start()
    world.plan(run)
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.ENDED
    report = world.reconcile()
    assert report.closed == ("traffic-g2",)
    record = world.ledger.run("traffic", "traffic-g2")
    assert record is not None
    assert record.outcome is RunOutcome.FAILED
    ((kind, announcement),) = world.publisher.announced
    assert kind == "Run Failed"
    assert announcement.finding is not None
    assert "stopped, timed out, or could not close" in announcement.finding.why
    assert world.reconcile().closed == ()


@pytest.mark.parametrize(("minutes", "released"), [(4, ()), (6, ("traffic-g2",))])
def test_a_claim_whose_execution_never_started_gives_way_after_a_while(
    world: World, minutes: float, released: tuple[str, ...]
) -> None:
    world.accept()
    run = world.start()
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.UNKNOWN
    world.clock.advance(minutes=minutes)
    report = world.reconcile()
    assert report.released == released
    assert report.started == (("traffic-g3",) if released else ())
    assert [kind for kind, _ in world.publisher.announced] == (["Work Stalled"] if released else [])


def test_a_deployment_whose_event_was_lost_is_answered(world: World) -> None:
    world.accept()
    run, _, selection, _ = world.judged(candidate=0.01)
    world.deploy(run, selection)
    world.endpoints.finish(ENDPOINT)
    assert world.reconcile().resumed == ("traffic-g2: in service",)
    assert world.workflow.answers[-1][1].endpoint_config_name == "ratchet-dev-traffic-g2"


def test_an_endpoint_somebody_changed_is_put_back_on_the_champion(world: World) -> None:
    world.endpoints.serve(ENDPOINT, "by-hand")
    report = world.reconcile()
    assert report.restored == (f"endpoint {ENDPOINT} is on its way back to ratchet-dev-traffic-g1",)
    world.endpoints.finish(ENDPOINT)
    assert world.reconcile().restored == ()


def test_the_endpoint_of_a_running_run_is_its_own_business(world: World) -> None:
    world.accept()
    world.start()
    world.endpoints.serve(ENDPOINT, "candidate")
    assert world.reconcile().restored == ()
    assert world.endpoints.calls == []


def test_an_endpoint_on_its_way_back_keeps_the_dead_run_open_until_it_is_there(world: World) -> None:
    world.accept()
    run, _, selection, _ = world.judged(candidate=0.01)
    world.deploy(run, selection)
    world.endpoints.finish(ENDPOINT)
    world.resume_deployment(ENDPOINT)
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.ENDED
    first = world.reconcile()
    assert first.closed == ()
    assert first.waiting == (f"traffic: endpoint {ENDPOINT} is on its way back to ratchet-dev-traffic-g1",)
    world.endpoints.finish(ENDPOINT)
    assert world.reconcile().closed == ("traffic-g2",)


def test_one_pipeline_that_fails_stops_no_other(world: World) -> None:
    world.ledger.apply_definition("broken", samples.definition_ref())
    world.accept()
    status = world.workflow.status

    def fail_for_broken(execution_arn: str) -> ExecutionStatus:
        if "broken" in execution_arn:
            raise RuntimeError("AccessDenied")
        return status(execution_arn)

    world.workflow.status = fail_for_broken  # type: ignore[method-assign]
    broken = world.ledger.claim("broken", "upload", False, lambda f: f"arn:broken-g{f}", world.clock())
    assert broken is not None
    with pytest.raises(ReconcileIncompleteError, match="broken: owner: RuntimeError: AccessDenied"):
        world.reconcile()
    assert world.workflow.started[-1].run_id == "traffic-g2"


def test_a_run_that_closes_itself_meanwhile_is_no_failure(world: World) -> None:
    world.accept()
    run = world.start()
    status = world.workflow.status

    def end_and_close(execution_arn: str) -> ExecutionStatus:
        if world.ledger.run("traffic", run.run_id).outcome is None:  # type: ignore[union-attr]
            world.ledger.release(samples.claim(fence=2))
        return ExecutionStatus.ENDED

    world.workflow.status = end_and_close  # type: ignore[method-assign]
    report = world.reconcile()
    world.workflow.status = status  # type: ignore[method-assign]
    assert (report.closed, report.started) == ((), ("traffic-g3",))


def test_what_is_busy_is_reported_and_looked_at_again(world: World) -> None:
    world.accept()
    world.workflow.start_error = DependencyBusyError("StartExecution: Rate exceeded")
    assert world.reconcile().waiting == ("traffic: StartExecution: Rate exceeded",)
    world.workflow.start_error = None
    assert world.reconcile().started == ("traffic-g3",)


def test_an_execution_event_looks_at_its_own_pipeline_only(world: World) -> None:
    world.ledger.apply_definition("other", samples.definition_ref())
    world.accept()
    assert world.reconcile("other").started == ("other-g1",)
    assert world.reconcile("unheard-of").pipelines == 0
    state = world.state
    assert state.behind
