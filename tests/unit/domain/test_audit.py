"""Audit sees what reconcile would mend, and touches nothing."""

import pytest

from ratchet.contracts.run import RunOutcome, TaskError
from ratchet.domain.ports import ExecutionStatus
from ratchet.domain.withdrawing import WithdrawUpload
from tests.unit import samples
from tests.unit.world import ENDPOINT, World


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    return world


def kinds(world: World, pipeline: str | None = None) -> list[str]:
    return [found.kind for found in world.audit(pipeline).findings]


def put(world: World, number: int) -> None:
    """An object whose bytes are upload `number`, in the bucket and nowhere else."""
    world.store.write(f"s3://{samples.DATA}/incoming/traffic/{number}.csv", b"x" * number)


def refuse(world: World) -> None:
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)


def test_a_pipeline_in_order_has_no_findings(world: World) -> None:
    world.accept(3)
    world.deployed()
    assert kinds(world) == []
    assert kinds(world, "another") == []


def test_an_object_no_event_announced(world: World) -> None:
    world.accept()
    refuse(world)
    put(world, 7)
    assert kinds(world) == ["object"]


def test_a_folder_marker_is_no_data(world: World) -> None:
    world.accept()
    refuse(world)
    world.store.write(f"s3://{samples.DATA}/incoming/traffic/empty/", b"")
    assert kinds(world) == []


def test_a_contract_that_did_not_judge_everything(world: World) -> None:
    world.accept()
    refuse(world)
    version = world.store.write(f"s3://{samples.DATA}/incoming/traffic/1.csv", b"x")
    world.ledger.record_object("traffic", samples.upload(1).model_copy(update={"version_id": version.version_id}))
    world.apply(data={**samples.definition().data.model_dump(mode="json"), "min_rows": 5})
    assert kinds(world) == ["object", "work"]


def test_a_withdrawn_upload_is_accounted_for(world: World) -> None:
    world.accept(2)
    refuse(world)
    WithdrawUpload(world.ledger, world.store, world.clock)("traffic", samples.upload(1), "wrong", "arn:ada")
    assert kinds(world) == ["work"]
    refuse(world)
    assert kinds(world) == []


def test_work_that_nobody_owns(world: World) -> None:
    world.accept()
    assert kinds(world) == ["work"]
    world.start()
    assert kinds(world) == []


@pytest.mark.parametrize("status", [ExecutionStatus.ENDED, ExecutionStatus.UNKNOWN])
def test_an_owner_that_does_not_run(world: World, status: ExecutionStatus) -> None:
    world.accept()
    run = world.start()
    world.workflow.statuses[world.arn(run)] = status
    world.clock.advance(minutes=6)
    assert kinds(world) == ["owner"]


def test_a_claim_is_older_than_its_execution(world: World) -> None:
    world.accept()
    run = world.start()
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.UNKNOWN
    assert kinds(world) == []


def test_work_that_waits_for_its_schedule_is_accounted_for(world: World) -> None:
    world.apply(on_upload=False, train={"hyperparameters": {"max_depth": 6}})
    world.accept()
    assert kinds(world) == []
    assert not world.reconcile().started


def test_a_deployment_recorded_for_a_run_that_is_over(world: World) -> None:
    world.accept()
    run, _, selection, _ = world.judged()
    world.deploy(run, selection)
    world.ledger.release(samples.claim(run.fence))
    world.endpoints.live.clear()
    assert kinds(world) == ["work", "deployment"]
    assert world.reconcile().resumed == ("traffic-g1: its run is over",)
    assert "deployment" not in kinds(world)


def test_a_deployment_whose_event_never_came(world: World) -> None:
    world.accept()
    run, _, selection, _ = world.judged()
    world.deploy(run, selection)
    assert kinds(world) == []
    world.endpoints.finish(ENDPOINT)
    assert kinds(world) == ["deployment"]


def test_an_endpoint_that_serves_another_model_than_the_champion(world: World) -> None:
    world.accept()
    world.deployed()
    world.endpoints.live[ENDPOINT] = world.endpoints.live[ENDPOINT]._replace(config_name="made-by-hand")
    assert kinds(world) == ["endpoint"]
    del world.endpoints.live[ENDPOINT]
    assert kinds(world) == ["endpoint"]


def test_an_upload_that_slipped_past_every_run(world: World) -> None:
    """It cannot happen by the protocol: here somebody wrote the counter by hand."""
    world.accept()
    refuse(world)
    world.accept()
    run = world.start()
    claim = samples.claim(run.fence)
    record = world.ledger.run("traffic", run.run_id)
    assert record is not None
    lost = record.model_copy(update={"outcome": RunOutcome.NOTHING_TO_DO, "work_seq": 3})
    world.ledger.close(claim, lost)
    assert kinds(world) == ["upload"]


def test_failed_work_shows_until_it_is_judged(world: World) -> None:
    world.apply(retrain={"retry_after": ["5m"]})
    world.accept()
    run = world.start()
    world.plan(run)
    world.close(run, RunOutcome.FAILED, error=TaskError(error="States.Timeout"))
    assert kinds(world) == ["upload"]
    world.clock.advance(minutes=11)
    assert kinds(world) == ["retry", "upload"]


def test_it_changes_nothing(world: World) -> None:
    world.accept()
    run = world.start()
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.ENDED
    put(world, 9)
    before = (world.ledger.pipelines(), world.ledger.runs("traffic"), list(world.workflow.started))
    assert kinds(world) == ["object", "owner"]
    assert (world.ledger.pipelines(), world.ledger.runs("traffic"), world.workflow.started) == before
    assert world.workflow.ingested == []
    assert world.endpoints.calls == []


def test_reconcile_leaves_nothing_for_the_audit(world: World) -> None:
    world.accept()
    run = world.start()
    world.workflow.statuses[world.arn(run)] = ExecutionStatus.ENDED
    world.clock.advance(minutes=10)
    world.reconcile()
    assert kinds(world) == ["upload"]  # due again in five minutes
