"""Approval requests over both ledgers: one decision, the first, under the claim that asked for it."""

from datetime import timedelta

import pytest

from ratchet.contracts.run import ApprovalAnswer, Decision
from ratchet.domain.errors import ApprovalUnknownError, StaleRunError
from ratchet.domain.ledger import Approval, Claim, Ledger
from tests.unit import samples

P = "traffic"


@pytest.fixture
def applied(ledger: Ledger) -> Ledger:
    ledger.apply_definition(P, samples.definition_ref())
    return ledger


def claimed(ledger: Ledger) -> Claim:
    run = ledger.claim(P, "upload", False, samples.execution_arn, samples.NOW)
    assert run is not None
    return Claim(pipeline=P, fence=run.fence, execution_arn=run.execution_arn)


def asked(work_seq: int = 1) -> Approval:
    return Approval(
        pipeline=P,
        run_id="traffic-g1",
        fence=1,
        work_seq=work_seq,
        task_token="token",
        requested_at=samples.NOW,
        expires_at=samples.NOW + timedelta(hours=72),
    )


def test_the_first_decision_stands(applied: Ledger) -> None:
    claim = claimed(applied)
    assert applied.approval(P, "traffic-g1") is None
    applied.request_approval(claim, asked())
    assert applied.approval(P, "traffic-g1") == asked()
    yes = ApprovalAnswer(outcome=Decision.APPROVED, by="arn:one", reason="good")
    no = ApprovalAnswer(outcome=Decision.REJECTED, by="arn:other", reason="bad")
    decided = {"decision": "APPROVED", "by": "arn:one", "reason": "good", "decided_at": samples.NOW}
    expected = Approval.model_validate({**asked().model_dump(), **decided})
    assert applied.decide_approval(P, "traffic-g1", yes, samples.NOW) == expected
    assert applied.decide_approval(P, "traffic-g1", no, samples.NOW + timedelta(hours=1)) == expected
    assert not applied.supersede_approval(P, "traffic-g1", samples.NOW)


def test_a_request_is_superseded_once_and_can_still_be_decided(applied: Ledger) -> None:
    claim = claimed(applied)
    assert not applied.supersede_approval(P, "traffic-g1", samples.NOW)
    applied.request_approval(claim, asked())
    assert applied.supersede_approval(P, "traffic-g1", samples.NOW)
    assert not applied.supersede_approval(P, "traffic-g1", samples.NOW + timedelta(hours=1))
    answer = ApprovalAnswer(outcome=Decision.APPROVED, by="arn:one", reason="good")
    approval = applied.decide_approval(P, "traffic-g1", answer, samples.NOW)
    assert (approval.superseded_at, approval.decision) == (samples.NOW, Decision.APPROVED)


def test_nobody_decides_what_nobody_was_asked(applied: Ledger) -> None:
    answer = ApprovalAnswer(outcome=Decision.APPROVED, by="arn:one", reason="good")
    with pytest.raises(ApprovalUnknownError, match="traffic-g7"):
        applied.decide_approval(P, "traffic-g7", answer, samples.NOW)


def test_only_the_owner_asks_for_approval(applied: Ledger) -> None:
    claim = claimed(applied)
    applied.release(claim)
    with pytest.raises(StaleRunError):
        applied.request_approval(claim, asked())
