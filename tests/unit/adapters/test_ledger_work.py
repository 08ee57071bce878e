"""What a pipeline owes beyond its uploads: withdrawals, retries, single runs, and the champion history."""

from datetime import timedelta

import pytest

from ratchet.contracts.run import RunOutcome
from ratchet.domain.errors import StaleRunError, UploadUnknownError
from ratchet.domain.ledger import Claim, Ledger, Model, PipelineState, RunRecord, Withdrawal
from tests.unit import samples

P = "traffic"
CONTRACT = samples.definition_ref().data_hash
OTHER = samples.definition_ref(samples.compiled(train={"hyperparameters": {"max_depth": 6}}))


@pytest.fixture
def applied(ledger: Ledger) -> Ledger:
    ledger.apply_definition(P, samples.definition_ref())
    return ledger


def state_of(ledger: Ledger) -> PipelineState:
    state = ledger.pipeline(P)
    assert state is not None
    return state


def claimed(ledger: Ledger, retry_of: int | None = None, forced: bool = False) -> tuple[Claim, RunRecord] | None:
    run = ledger.claim(P, "upload", forced, samples.execution_arn, samples.NOW, retry_of=retry_of)
    return (Claim(pipeline=P, fence=run.fence, execution_arn=run.execution_arn), run) if run else None


def end(ledger: Ledger, taken: tuple[Claim, RunRecord] | None, outcome: RunOutcome) -> PipelineState:
    assert taken is not None
    claim, run = taken
    champion = samples.champion(run.fence) if outcome in (RunOutcome.DEPLOYED, RunOutcome.ROLLED_BACK) else None
    because = {"because": f"{run.run_id} ended {outcome}"}
    left = ledger.close(
        claim, run.model_copy(update={"outcome": outcome, "ended_at": samples.NOW, **because}), champion
    )
    assert left == ledger.pipeline(P)
    return left


def seen(ledger: Ledger, *numbers: int) -> None:
    for number in numbers:
        ledger.record_object(P, samples.upload(number))
        ledger.accept(P, samples.verdict(number))


def withdrawal(number: int) -> Withdrawal:
    upload_id = samples.upload(number).upload_id
    return Withdrawal(upload_id=upload_id, reason="a wrong file", by="arn:aws:iam::1:user/ada", at=samples.NOW)


def test_a_withdrawn_upload_is_in_no_snapshot_and_its_absence_is_work(applied: Ledger) -> None:
    seen(applied, 1, 2)
    end(applied, claimed(applied), RunOutcome.REFUSED)
    assert not state_of(applied).behind
    assert applied.withdraw(P, withdrawal(1))
    assert state_of(applied).behind
    assert [verdict.rows for verdict in applied.accepted(P, CONTRACT)] == [20]
    assert applied.withdrawals(P) == [withdrawal(1)]


def test_withdrawing_twice_is_one_withdrawal_and_one_piece_of_work(applied: Ledger) -> None:
    seen(applied, 1)
    assert applied.withdraw(P, withdrawal(1))
    before = state_of(applied)
    assert not applied.withdraw(P, withdrawal(1))
    assert state_of(applied) == before


def test_an_upload_nobody_saw_cannot_be_withdrawn(applied: Ledger) -> None:
    with pytest.raises(UploadUnknownError, match="never saw"):
        applied.withdraw(P, withdrawal(1))
    assert state_of(applied).work_seq == 1
    assert applied.uploads(P) == []


def test_uploads_are_found_by_how_their_id_begins(applied: Ledger) -> None:
    seen(applied, 1, 2, 16)
    assert applied.uploads(P, f"{0:062x}") == [samples.upload(number) for number in (1, 2, 16)]
    assert applied.uploads(P, f"{0:062x}1") == [samples.upload(16)]
    assert applied.uploads(P, "f") == []


def test_a_withdrawn_upload_stays_out_under_another_contract(applied: Ledger) -> None:
    seen(applied, 1)
    applied.withdraw(P, withdrawal(1))
    applied.accept(P, samples.verdict(1, data_hash="corrected"))
    assert applied.accepted(P, "corrected") == []


def test_failed_work_is_due_twice_and_then_waits(applied: Ledger) -> None:
    first = end(applied, claimed(applied), RunOutcome.FAILED)
    assert first.retry is not None
    assert (first.failures, first.retry.after, first.retry.at) == (1, 1, samples.NOW + timedelta(minutes=5))
    assert claimed(applied) is None  # the work is answered for: only the retry takes it up again
    second = end(applied, claimed(applied, retry_of=1), RunOutcome.FAILED)
    assert second.retry is not None
    assert (second.failures, second.retry.after, second.retry.at) == (2, 2, samples.NOW + timedelta(minutes=30))
    third = end(applied, claimed(applied, retry_of=2), RunOutcome.FAILED)
    assert (third.failures, third.retry) == (3, None)
    assert claimed(applied, retry_of=3) is None
    assert claimed(applied, forced=True) is not None


def test_a_retry_is_claimed_once(applied: Ledger) -> None:
    end(applied, claimed(applied), RunOutcome.FAILED)
    taken = claimed(applied, retry_of=1)
    assert taken is not None
    assert claimed(applied, retry_of=1) is None
    end(applied, taken, RunOutcome.REFUSED)
    assert claimed(applied, retry_of=1) is None
    assert state_of(applied).retry is None


def test_a_retry_whose_execution_never_started_is_still_due(applied: Ledger) -> None:
    end(applied, claimed(applied), RunOutcome.FAILED)
    taken = claimed(applied, retry_of=1)
    assert taken is not None
    applied.release(taken[0])
    assert claimed(applied, retry_of=1) is not None


def test_new_work_begins_its_own_count_of_failures(applied: Ledger) -> None:
    end(applied, claimed(applied), RunOutcome.FAILED)
    seen(applied, 1)
    left = end(applied, claimed(applied), RunOutcome.FAILED)
    assert left.retry is not None
    assert (left.failures, left.retry.after) == (1, 2)
    assert claimed(applied, retry_of=1) is None


def test_a_definition_for_one_run_is_work_that_answers_for_nothing_else(applied: Ledger) -> None:
    seen(applied, 1)
    run = applied.claim(P, "manual", False, samples.execution_arn, samples.NOW, definition=OTHER)
    assert run is not None
    assert (run.definition, run.work_seq) == (OTHER, 0)
    claim = Claim(pipeline=P, fence=run.fence, execution_arn=run.execution_arn)
    left = end(applied, (claim, run), RunOutcome.REFUSED)
    assert left.behind
    assert left.definition == samples.definition_ref()
    assert applied.run(P, run.run_id) is not None


def test_a_claim_is_dated_anew_by_its_owner_only(applied: Ledger) -> None:
    taken = claimed(applied)
    assert taken is not None
    later = samples.NOW + timedelta(minutes=4)
    applied.renew(taken[0], later)
    assert state_of(applied).claimed_at == later
    applied.release(taken[0])
    with pytest.raises(StaleRunError):
        applied.renew(taken[0], later)


def test_the_champion_history_only_grows(applied: Ledger) -> None:
    end(applied, claimed(applied), RunOutcome.DEPLOYED)
    end(applied, claimed(applied, forced=True), RunOutcome.REFUSED)
    end(applied, claimed(applied, forced=True), RunOutcome.DEPLOYED)
    end(applied, claimed(applied, forced=True), RunOutcome.ROLLED_BACK)
    told = [(change.fence, change.cause, change.previous) for change in applied.champions(P)]
    names = {fence: samples.champion(fence).model_name for fence in (1, 3)}
    assert told == [(1, "promoted", None), (3, "promoted", names[1]), (4, "rolled back", names[3])]
    assert applied.champions(P)[0].reason == "traffic-g1 ended DEPLOYED"


def test_a_rollback_leaves_the_failed_work_due(applied: Ledger) -> None:
    end(applied, claimed(applied), RunOutcome.FAILED)
    run = applied.claim(P, "rollback", True, samples.execution_arn, samples.NOW)
    assert run is not None
    claim = Claim(pipeline=P, fence=run.fence, execution_arn=run.execution_arn)
    left = end(applied, (claim, run), RunOutcome.ROLLED_BACK)
    assert left.failures == 1
    assert claimed(applied, retry_of=1) is not None


def test_models_are_listed_and_marked_once(applied: Ledger) -> None:
    models = [
        Model(
            model_name=name,
            run_id="traffic-g1",
            model_uri="s3://a/m",
            image_uri="image",
            snapshot_id="7" * 64,
            definition_id="6" * 64,
            preprocess_key="8" * 64,
            train_key="a" * 64,
            decision_uri="s3://a/d",
            outcome="PROMOTE",
            judged_at=samples.NOW + timedelta(minutes=minutes),
        )
        for name, minutes in (("late", 2), ("early", 1))
    ]
    for model in models:
        applied.put_model(P, model)
    assert [model.model_name for model in applied.models(P)] == ["early", "late"]
    for upload in ("b", "a", "b"):
        applied.mark_model(P, "late", upload)
    applied.mark_model(P, "nobody", "a")
    assert [model.saw_withdrawn for model in applied.models(P)] == [(), ("a", "b")]
