"""From a model to everything it was made of, and from an upload to every model it is in."""

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import Model
from ratchet.domain.lineage import model_lineage
from ratchet.domain.upload_lineage import upload_lineage
from ratchet.domain.withdrawing import WithdrawUpload
from tests.unit import samples
from tests.unit.world import World


@pytest.fixture
def world() -> World:
    """g1 deployed on upload 1, g2 refused on uploads 1 and 2."""
    world = World()
    world.apply()
    world.accept()
    world.deployed()
    world.accept()
    run, plan, selection, evaluation = world.judged(candidate=0.4)
    world.close(run, RunOutcome.REFUSED, plan=plan, selection=selection, evaluation=evaluation)
    return world


def model(world: World, name: str) -> Model:
    found = world.ledger.model("traffic", name)
    assert found is not None
    return found


def test_a_serving_model_leads_to_all_it_was_made_of(world: World) -> None:
    lineage = model_lineage(world.ledger, world.store, "traffic", model(world, "ratchet-dev-traffic-g1"))
    first = samples.upload(1)
    (upload,) = lineage.uploads
    assert (upload.upload_id, upload.key, upload.version_id, upload.withdrawn) == (
        first.upload_id,
        first.key,
        first.version_id,
        False,
    )
    assert lineage.serving
    assert lineage.code == samples.compiled().code
    assert lineage.definition_uri == samples.definition_ref().uri
    assert lineage.evaluation is not None
    assert lineage.evaluation.decision_uri == lineage.model.decision_uri
    assert lineage.model_package_arn is not None
    assert [change.cause for change in lineage.champion_history] == ["promoted"]
    assert lineage.model.hyperparameters["sagemaker_program"] == "train.py"


def test_a_refused_model_never_served(world: World) -> None:
    lineage = model_lineage(world.ledger, world.store, "traffic", model(world, "ratchet-dev-traffic-g2"))
    assert (lineage.serving, lineage.champion_history, lineage.run_outcome) == (False, (), "REFUSED")
    assert [upload.precedence for upload in lineage.uploads] == [0, 1]


def test_an_upload_leads_to_every_model_it_is_in(world: World) -> None:
    copy = samples.upload(1, "incoming/traffic/copy.csv").model_copy(update={"version_id": "v9"})
    world.ledger.record_object("traffic", copy)
    first = upload_lineage(world.ledger, world.store, "traffic", samples.upload(1))
    assert [(use.run_id, use.outcome, use.serving) for use in first.models] == [
        ("traffic-g1", "PROMOTE", True),
        ("traffic-g2", "REFUSE", False),
    ]
    assert [seen.key for seen in first.objects] == ["incoming/traffic/1.csv", "incoming/traffic/copy.csv"]
    second = upload_lineage(world.ledger, world.store, "traffic", samples.upload(2))
    assert [use.run_id for use in second.models] == ["traffic-g2"]
    assert [verdict.outcome for verdict in second.verdicts] == ["ACCEPTED"]


def test_a_withdrawal_shows_both_ways(world: World) -> None:
    WithdrawUpload(world.ledger, world.store, world.clock)("traffic", samples.upload(1), "a request", "arn:ada")
    lineage = model_lineage(world.ledger, world.store, "traffic", model(world, "ratchet-dev-traffic-g1"))
    assert lineage.uploads[0].withdrawn
    assert lineage.model.saw_withdrawn == (samples.upload(1).upload_id,)
    upload = upload_lineage(world.ledger, world.store, "traffic", samples.upload(1))
    assert upload.withdrawal is not None
    assert (upload.withdrawal.reason, upload.withdrawal.by) == ("a request", "arn:ada")


def test_a_model_whose_run_and_snapshot_are_gone_is_still_told(world: World) -> None:
    orphan = model(world, "ratchet-dev-traffic-g1").model_copy(update={"run_id": "traffic-g9", "snapshot_id": "0" * 64})
    lineage = model_lineage(world.ledger, world.store, "traffic", orphan)
    assert (lineage.uploads, lineage.code, lineage.evaluation) == ((), None, None)
