"""Write Report: what it gathers at each of a run's stages, and what it does when something is gone."""

import json
from typing import Any

import pytest

from ratchet.contracts.report import WriteReportRequest
from ratchet.contracts.run import RunOutcome, TaskError
from ratchet.domain import report_holdout
from ratchet.domain.errors import DependencyBusyError, EventInvalidError
from ratchet.domain.identity import report_uri
from ratchet.domain.ledger import RunRecord
from ratchet.domain.ports import ScoringJob
from ratchet.domain.report import Report
from tests.unit import samples
from tests.unit.world import World, holdout, importance


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    world.accept(3)
    return world


def record(world: World, run_id: str) -> RunRecord:
    found = world.ledger.run("traffic", run_id)
    assert found is not None
    return found


def report(world: World, run_id: str = "traffic-g1") -> Report:
    return world.write_report.report(record(world, run_id))


def test_the_page_stands_under_the_run_and_is_written_over(world: World) -> None:
    run, _, _, _ = world.judged()
    request = WriteReportRequest(pipeline="traffic", run_id=run.run_id)
    first = world.write_report(request)
    assert first.report_uri == report_uri(samples.ARTIFACTS, "traffic", "traffic-g1")
    assert len(world.store.read(first.report_uri)) == first.size
    world.close(run, RunOutcome.REFUSED)
    assert b"Refused" in world.store.read(world.write_report(request).report_uri)


def test_a_very_large_holdout_is_shown_by_a_sample(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_holdout, "MAX_ROWS", 200)
    world.deployed()
    world.accept()
    world.judged()
    found = report(world, "traffic-g2")
    assert found.scores is not None
    assert found.scores.rows == 28 * 24
    assert 100 < found.scores.used < 300
    assert f"{found.scores.used} of 672 rows" in world.write_report.page_of(found)


def test_half_a_character_in_a_file_does_not_stop_the_page(world: World) -> None:
    run = world.start()
    plan = world.plan(run)
    rows = [{**row, "record": {"weather_main": "\ud800"}} for row in holdout()]
    world.preprocess(plan, rows)
    selection = world.select(run, plan, world.train(plan))
    world.score(selection)
    world.evaluate(run, plan, selection)
    written = world.write_report(WriteReportRequest(pipeline="traffic", run_id=run.run_id))
    assert b'<th scope="row">?</th>' in world.store.read(written.report_uri)


def test_an_unknown_run_is_the_callers_error(world: World) -> None:
    with pytest.raises(EventInvalidError, match="no run traffic-g9"):
        world.write_report(WriteReportRequest(pipeline="traffic", run_id="traffic-g9"))


def test_after_the_decision_everything_but_the_ending_is_known(world: World) -> None:
    world.judged()
    found = report(world)
    assert found.record.outcome is None
    assert found.decision is not None
    assert found.decision["outcome"] == "PROMOTE"
    assert found.scores is not None
    assert found.importance == (("datetime:hour", 0.7), ("temp", 0.3))
    assert found.lineage is not None
    assert len(found.lineage.uploads) == 3
    assert found.gaps == ()


def test_a_finished_run_shows_what_it_cost(world: World) -> None:
    world.deployed()
    found = report(world)
    assert found.record.outcome is RunOutcome.DEPLOYED
    assert [(job.role, job.seconds) for job in found.scoring] == [("candidate", 90)]
    assert found.scoring[0].dollars == pytest.approx(90 / 3600 * 0.115)
    assert [step.name for step in found.steps] == ["preprocess", "train c1"]


def test_scoring_that_was_tried_twice_cost_twice(world: World) -> None:
    _, _, selection, _ = world.judged()
    (model,) = selection.models_to_score
    world.scoring.ended[f"{model.job_name}-1"] = ScoringJob(30, "ml.m5.large")
    assert report(world).scoring[0].seconds == 120
    world.scoring.ended[f"{model.job_name}-1"] = ScoringJob(30, "ml.new.large")
    assert report(world).scoring[0].dollars is None, "a type without a known price makes no sum"


def test_a_champion_is_drawn_beside_the_candidate(world: World) -> None:
    world.deployed()
    world.accept()
    world.judged()
    scores = report(world, "traffic-g2").scores
    assert scores is not None
    assert scores.errors is not None
    assert list(scores.errors.lines) == ["candidate", "champion", "naive"]


FAILURES: dict[str, Any] = {
    "before its plan": {},
    "in training": {"plan": True},
    "in scoring": {"plan": True, "selection": True},
}


@pytest.mark.parametrize("stage", FAILURES)
def test_a_failed_run_has_a_report_of_what_it_reached(world: World, stage: str) -> None:
    run = world.start()
    plan = world.plan(run) if "plan" in FAILURES[stage] else None
    if plan is not None:
        world.preprocess(plan)
    if plan is not None and "selection" in FAILURES[stage]:
        world.select(run, plan, world.train(plan))
    cause = json.dumps({"TrainingJobName": "j", "FailureReason": "<b>exit 1</b> & more"})
    world.close(run, RunOutcome.FAILED, error=TaskError(error="States.TaskFailed", cause=cause))
    found = report(world)
    assert found.record.finding is not None
    assert found.scores is None
    assert found.gaps == ()
    page = world.write_report.page_of(found)
    assert "What went wrong" in page
    assert "&lt;b&gt;exit 1&lt;/b&gt; &amp; more" in page
    assert "<b>exit 1</b>" not in page


def test_what_was_deleted_since_is_named_and_the_rest_is_shown(world: World) -> None:
    _, _, selection, evaluation = world.judged()
    for uri in world.store.list(selection.holdout_uri):
        world.store.remove(uri)
    world.store.remove(evaluation.decision_uri)
    found = report(world)
    assert found.decision is None
    assert found.scores is None
    assert found.importance
    assert [gap.partition(":")[0] for gap in found.gaps] == ["the decision", "the scored holdout"]
    assert evaluation.decision_uri in world.write_report.page_of(found)


def test_a_busy_world_is_not_a_gap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.judged()

    def throttled(uri: str) -> Any:
        raise DependencyBusyError("GetObject: SlowDown")

    monkeypatch.setattr(world.store, "read_json", throttled)
    with pytest.raises(DependencyBusyError):
        report(world)


@pytest.mark.parametrize("left", [None, importance({}), importance({"a": 0.0})], ids=["nothing", "empty", "no gain"])
def test_a_training_script_that_leaves_no_importance_is_no_error(world: World, left: bytes | None) -> None:
    _, _, selection, _ = world.judged()
    uri = str(selection.candidate.model_uri).replace("model.tar.gz", "output.tar.gz")
    world.store.remove(uri)
    if left is not None:
        world.store.write(uri, left)
    found = report(world)
    assert found.importance == ()
    assert "left no feature_importance.json" in world.write_report.page_of(found)
