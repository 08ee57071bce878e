"""One suite for the port, run over the fake and over DynamoDB: what tests trust is what production does."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations

import pytest

from ratchet.contracts.base import Finding
from ratchet.contracts.run import RunOutcome, RunPlan
from ratchet.domain.errors import PipelineUnknownError, StaleRunError, UploadUnknownError
from ratchet.domain.ledger import Claim, LargeValidation, Ledger, Model, RunRecord, Snapshot, Step, Upload
from tests.unit import samples

P = "traffic"


@pytest.fixture
def applied(ledger: Ledger) -> Ledger:
    ledger.apply_definition(P, samples.definition_ref())
    return ledger


def claim_run(ledger: Ledger, forced: bool = False) -> tuple[Claim, RunRecord]:
    run = ledger.claim(P, "upload", forced, samples.execution_arn, samples.NOW)
    assert run is not None
    return Claim(pipeline=P, fence=run.fence, execution_arn=run.execution_arn), run


def ended(run: RunRecord, outcome: RunOutcome) -> RunRecord:
    plan = RunPlan(outcome="NEW_WORK", because="new", snapshot_id="5" * 64, definition_id="6" * 64)
    return run.model_copy(
        update={"outcome": outcome, "plan": plan, "ended_at": samples.NOW, "timings": {"train": 12.5, "total": 60.0}}
    )


def test_an_unknown_pipeline_is_none_and_takes_neither_work_nor_claims(ledger: Ledger) -> None:
    assert ledger.pipeline(P) is None
    assert ledger.pipelines() == []
    with pytest.raises(PipelineUnknownError, match="ratchet apply"):
        ledger.claim(P, "manual", True, samples.execution_arn, samples.NOW)
    ledger.record_object(P, samples.upload(1))
    with pytest.raises(PipelineUnknownError, match="ratchet apply"):
        ledger.accept(P, samples.verdict(1))
    assert ledger.verdict(P, samples.verdict(1).verdict_id) is None


def test_a_new_definition_is_work_and_the_same_one_is_not(ledger: Ledger) -> None:
    assert ledger.apply_definition(P, samples.definition_ref())
    assert not ledger.apply_definition(P, samples.definition_ref())
    other = samples.definition_ref(samples.compiled(gate={"metric": "forecast_accuracy", "threshold": 0.8}))
    assert ledger.apply_definition(P, other)
    state = ledger.pipeline(P)
    assert state is not None
    assert (state.work_seq, state.done_seq, state.fence, state.definition) == (2, 0, 0, other)
    assert state.behind


def test_pipelines_are_listed_by_name(ledger: Ledger) -> None:
    for name in ("weather", "flights", "traffic"):
        ledger.apply_definition(name, samples.definition_ref())
    assert [state.pipeline for state in ledger.pipelines()] == ["flights", "traffic", "weather"]


def version(number: int, minutes: int, name: str = "copy of ü+1.csv", version_id: str = "v0") -> Upload:
    """The bytes of an upload as another object version holds them, so many minutes older."""
    moment = samples.upload(number).modified - timedelta(minutes=minutes)
    other = {"key": f"incoming/traffic/{name}", "version_id": version_id, "modified": moment}
    return samples.upload(number).model_copy(update=other)


def work_seq(ledger: Ledger) -> int:
    state = ledger.pipeline(P)
    assert state is not None
    return state.work_seq


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_upload_has_the_precedence_of_its_oldest_version(applied: Ledger, order: tuple[int, ...]) -> None:
    first, later = samples.upload(1), version(1, -5)
    same_second = first.model_copy(update={"version_id": "v2"})
    versions = [first, same_second, later]
    for place in order:
        applied.record_object(P, versions[place])
    assert applied.record_object(P, later) == first
    assert applied.uploads(P) == [first]
    assert applied.objects(P) == {(seen.key, seen.version_id): first.upload_id for seen in versions}
    assert work_seq(applied) == 1


def test_an_older_version_of_an_accepted_upload_is_work_and_changes_the_order(applied: Ledger) -> None:
    for number in (1, 2):
        applied.record_object(P, samples.upload(number))
        applied.accept(P, samples.verdict(number))
    assert work_seq(applied) == 3
    older = version(2, 60)
    assert applied.record_object(P, older) == older
    assert work_seq(applied) == 4
    held = applied.accepted(P, samples.definition_ref().data_hash)
    assert [(v.rows, v.key, v.version_id) for v in held] == [
        (20, older.key, older.version_id),
        (10, samples.upload(1).key, samples.upload(1).version_id),
    ]
    for seen in (older, version(2, 30), samples.upload(2)):
        assert applied.record_object(P, seen) == older
    assert work_seq(applied) == 4


def test_an_older_version_of_what_was_not_accepted_is_no_work(ledger: Ledger) -> None:
    ledger.record_object(P, samples.upload(1))
    ledger.record_object(P, version(1, 60))
    assert ledger.pipeline(P) is None
    ledger.apply_definition(P, samples.definition_ref())
    ledger.reject(P, samples.verdict(1, "REJECTED"))
    assert ledger.record_object(P, version(1, 90)) == version(1, 90)
    assert work_seq(ledger) == 1


def test_an_accept_after_an_older_version_has_its_precedence(applied: Ledger) -> None:
    for number in (1, 2):
        applied.record_object(P, samples.upload(number))
    applied.record_object(P, version(2, 60))
    for number in (1, 2):
        applied.accept(P, samples.verdict(number))  # under the key and version that were judged
    held = applied.accepted(P, samples.definition_ref().data_hash)
    assert [(v.rows, v.key) for v in held] == [(20, version(2, 60).key), (10, samples.upload(1).key)]


def test_only_an_upload_that_was_recorded_is_accepted(applied: Ledger) -> None:
    with pytest.raises(UploadUnknownError, match="never saw"):
        applied.accept(P, samples.verdict(1))
    assert work_seq(applied) == 1
    assert applied.verdicts(P) == []
    assert applied.uploads(P) == []


def test_the_longest_key_s3_allows_can_be_recorded(applied: Ledger) -> None:
    key = "incoming/traffic/" + "é" * ((1024 - 17) // 2)
    applied.record_object(P, samples.upload(1, key))
    assert applied.objects(P) == {(key, "v1"): samples.upload(1).upload_id}


def test_accepting_counts_work_once(applied: Ledger) -> None:
    verdict = samples.verdict(1)
    applied.record_object(P, samples.upload(1))
    assert applied.accept(P, verdict)
    assert not applied.accept(P, verdict)
    state = applied.pipeline(P)
    assert state is not None
    assert state.work_seq == 2  # the definition and the upload
    assert applied.verdict(P, verdict.verdict_id) == verdict


def test_rejecting_counts_no_work(applied: Ledger) -> None:
    finding = Finding(what="no header", where="line 1", why="it is empty", fix="add one")
    verdict = samples.verdict(1, "REJECTED").model_copy(update={"finding": finding, "accepted_uri": None})
    assert applied.reject(P, verdict)
    assert not applied.reject(P, verdict)
    state = applied.pipeline(P)
    assert state is not None
    assert state.work_seq == 1
    assert applied.verdict(P, verdict.verdict_id) == verdict
    assert applied.verdicts(P) == [verdict]


def test_accepted_uploads_come_in_precedence_order_under_one_contract_only(applied: Ledger) -> None:
    for number in (3, 1, 2, 4, 5):
        applied.record_object(P, samples.upload(number))
    for number in (3, 1, 2):
        applied.accept(P, samples.verdict(number))
    applied.reject(P, samples.verdict(4, "REJECTED"))
    applied.accept(P, samples.verdict(5, data_hash="another contract"))
    wanted = [samples.verdict(number).verdict_id for number in (1, 2, 3)]
    assert [v.verdict_id for v in applied.accepted(P, samples.definition_ref().data_hash)] == wanted


def test_one_owner_at_a_time(applied: Ledger) -> None:
    claim, run = claim_run(applied)
    assert run.run_id == "traffic-g1"
    assert run.work_seq == 1
    assert applied.run(P, run.run_id) == run
    assert applied.claim(P, "manual", True, samples.execution_arn, samples.NOW) is None
    state = applied.pipeline(P)
    assert state is not None
    assert (state.owner, state.fence, state.claimed_at) == (claim.execution_arn, 1, samples.NOW)


def test_without_work_only_a_forced_claim_succeeds(applied: Ledger) -> None:
    claim, run = claim_run(applied)
    applied.close(claim, ended(run, RunOutcome.NOTHING_TO_DO))
    assert applied.claim(P, "schedule", False, samples.execution_arn, samples.NOW) is None
    _, second = claim_run(applied, forced=True)
    assert second.run_id == "traffic-g2"


def test_a_released_claim_leaves_the_work_and_no_run(applied: Ledger) -> None:
    claim, _ = claim_run(applied)
    applied.release(claim)
    applied.release(claim)
    assert applied.runs(P) == []
    state = applied.pipeline(P)
    assert state is not None
    assert (state.owner, state.behind, state.fence) == (None, True, 1)


def test_releasing_a_claim_that_is_gone_touches_nothing(applied: Ledger) -> None:
    first, _ = claim_run(applied)
    applied.release(first)
    second, run = claim_run(applied)
    applied.release(first)
    assert applied.runs(P) == [run]
    state = applied.pipeline(P)
    assert state is not None
    assert state.owner == second.execution_arn


def test_closing_releases_records_and_answers_for_the_work_seen(applied: Ledger) -> None:
    claim, run = claim_run(applied)
    applied.record_object(P, samples.upload(1))
    applied.accept(P, samples.verdict(1))
    closed = ended(run, RunOutcome.DEPLOYED)
    applied.begin_deployment(claim, samples.deployment())
    applied.close(claim, closed, samples.champion())
    state = applied.pipeline(P)
    assert state is not None
    assert (state.owner, state.claimed_at, state.done_seq, state.work_seq) == (None, None, 1, 2)
    assert state.champion == samples.champion()
    assert applied.run(P, run.run_id) == closed
    assert applied.deployment(P) is None
    assert applied.final_run(P, "5" * 64, "6" * 64) == run.run_id


@pytest.mark.parametrize("outcome", [RunOutcome.FAILED, RunOutcome.NOTHING_TO_DO])
def test_only_deployed_and_refused_are_remembered_by_run_key(applied: Ledger, outcome: RunOutcome) -> None:
    claim, run = claim_run(applied)
    applied.close(claim, ended(run, outcome))
    assert applied.final_run(P, "5" * 64, "6" * 64) is None


def test_a_refusal_keeps_the_champion(applied: Ledger) -> None:
    claim, run = claim_run(applied)
    applied.close(claim, ended(run, RunOutcome.DEPLOYED), samples.champion())
    claim, run = claim_run(applied, forced=True)
    applied.close(claim, ended(run, RunOutcome.REFUSED))
    state = applied.pipeline(P)
    assert state is not None
    assert state.champion == samples.champion()


def test_failures_in_a_row_are_counted_until_another_outcome(applied: Ledger) -> None:
    counts = []
    for outcome in (RunOutcome.FAILED, RunOutcome.FAILED, RunOutcome.REFUSED, RunOutcome.FAILED):
        claim, run = claim_run(applied, forced=True)
        applied.close(claim, ended(run, outcome))
        state = applied.pipeline(P)
        assert state is not None
        counts.append(state.failures)
    assert counts == [1, 2, 0, 1]


def test_a_run_that_lost_its_pipeline_can_write_nothing(applied: Ledger) -> None:
    stale, run = claim_run(applied)
    applied.release(stale)
    current, _ = claim_run(applied)
    writes: tuple[Callable[[], object], ...] = (
        lambda: applied.close(stale, ended(run, RunOutcome.DEPLOYED), samples.champion()),
        lambda: applied.put_run(stale, run),
        lambda: applied.begin_deployment(stale, samples.deployment()),
    )
    for write in writes:
        with pytest.raises(StaleRunError, match="traffic-g1 does not own pipeline traffic"):
            write()
    state = applied.pipeline(P)
    assert state is not None
    assert (state.champion, state.owner, state.done_seq) == (None, current.execution_arn, 0)
    assert applied.deployment(P) is None


def test_an_open_run_takes_what_it_found_out(applied: Ledger) -> None:
    claim, run = claim_run(applied)
    known = run.model_copy(update={"because": "two new uploads", "timings": {"preprocess": 1.5}})
    applied.put_run(claim, known)
    assert applied.run(P, run.run_id) == known


def test_runs_come_oldest_first_past_nine(applied: Ledger) -> None:
    for _ in range(11):
        claim, run = claim_run(applied, forced=True)
        applied.close(claim, ended(run, RunOutcome.REFUSED))
    assert [run.fence for run in applied.runs(P)] == list(range(1, 12))


@pytest.mark.parametrize("other", [{"fence": 0}, {"task_token": "of an earlier step of the run"}])
def test_a_deployment_is_ended_by_its_own_fence_and_token_only(applied: Ledger, other: dict[str, object]) -> None:
    claim, _ = claim_run(applied)
    deployment = samples.deployment()
    applied.begin_deployment(claim, deployment)
    applied.end_deployment(deployment.model_copy(update=other))
    assert applied.deployment(P) == deployment
    applied.end_deployment(deployment)
    applied.end_deployment(deployment)
    assert applied.deployment(P) is None


def test_snapshots_steps_and_models_are_kept(applied: Ledger) -> None:
    snapshot = Snapshot(snapshot_id="7" * 64, manifest_uri="s3://a/s.json", uploads=2, created_at=samples.NOW)
    step = Step(
        key="a" * 64,
        kind="train",
        run_id="traffic-g1",
        output_uri="s3://a/steps/",
        made_at=samples.NOW + timedelta(microseconds=1),
        candidate=samples.candidate(),
    )
    model = Model(
        model_name="m",
        run_id="traffic-g1",
        model_uri="s3://a/m",
        image_uri="image",
        snapshot_id="7" * 64,
        definition_id="6" * 64,
        preprocess_key="8" * 64,
        train_key="a" * 64,
        decision_uri="s3://a/d",
        outcome="PROMOTE",
        judged_at=samples.NOW,
    )
    assert applied.snapshot(P, snapshot.snapshot_id) is None
    assert applied.step(P, step.key) is None
    assert applied.model(P, model.model_name) is None
    applied.put_snapshot(P, snapshot)
    applied.put_step(P, step)
    applied.put_model(P, model)
    assert applied.snapshot(P, snapshot.snapshot_id) == snapshot
    assert applied.step(P, step.key) == step
    assert applied.model(P, model.model_name) == model


def test_a_large_validation_is_kept_by_object_version(ledger: Ledger) -> None:
    large = LargeValidation(
        key="incoming/traffic/" + "x" * 1000,
        version_id="v1",
        data_hash="d" * 64,
        attempt=1,
        execution_arn=samples.execution_arn(1),
        started_at=samples.NOW,
    )
    assert ledger.large(P, large.key, "v1") is None
    ledger.put_large(P, large)
    again = large.model_copy(update={"attempt": 2})
    ledger.put_large(P, again)
    other = large.model_copy(update={"version_id": "v2"})
    ledger.put_large(P, other)
    assert ledger.large(P, large.key, "v1") == again
    assert {found.version_id: found for found in ledger.larges(P)} == {"v1": again, "v2": other}
    assert ledger.larges("weather") == []


def test_an_object_version_is_known_by_its_upload_whose_oldest_version_may_be_another(applied: Ledger) -> None:
    newer = samples.upload(1)
    older = newer.model_copy(update={"key": "incoming/traffic/older.csv", "modified": samples.NOW - timedelta(days=9)})
    assert applied.upload_of(P, newer.key, newer.version_id) is None
    applied.record_object(P, newer)
    applied.record_object(P, older)
    assert applied.upload_of(P, newer.key, newer.version_id) == older
