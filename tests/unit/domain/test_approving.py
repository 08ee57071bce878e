"""Approval: one person decides once, under an identity that the request cannot choose."""

from datetime import timedelta

import pytest

from ratchet.contracts.approval import RequestApprovalRequest
from ratchet.contracts.run import ApprovalAnswer, Decision, RunOutcome
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.approving import WAIT, answer_from
from ratchet.domain.errors import ApprovalClosedError, ApprovalUnknownError, RequestInvalidError
from tests.unit.world import World

YES = ApprovalAnswer(outcome=Decision.APPROVED, by="arn:aws:sts::1:assumed-role/a/ada", reason="looks right")
NO = ApprovalAnswer(outcome=Decision.REJECTED, by="arn:aws:sts::1:assumed-role/a/bob", reason="a strange week")
RUN = "traffic-g1"


def ask(world: World) -> RequestApprovalRequest:
    run, plan, _, evaluation = world.judged()
    request = RequestApprovalRequest(run=run, plan=plan, evaluation=evaluation, task_token="approval-1")
    world.request_approval(request)
    return request


def test_people_are_told_where_to_read_and_how_to_answer(world: World) -> None:
    request = ask(world)
    kind, told = world.publisher.announced[-1]
    assert kind == "Approval Requested"
    assert request.evaluation.sentence in told.sentence
    assert told.links["decision"] == request.evaluation.decision_uri
    assert told.links["report"] == f"ratchet report {RUN}"
    assert f"prefix=reports/traffic/{RUN}/report.html" in told.links["report in S3"]
    assert told.links["approve"].startswith(f"ratchet approve {RUN} --reason")
    assert "approval-1" not in told.model_dump_json(), "who has the token could answer without an identity"


def test_the_answer_carries_who_gave_it(world: World) -> None:
    ask(world)
    receipt = world.record_approval(RUN, YES)
    assert (receipt.decision, receipt.by, receipt.superseded) == (Decision.APPROVED, YES.by, False)
    assert world.workflow.answers == [("approval-1", YES)]


def test_the_first_answer_stands_and_the_same_one_again_is_harmless(world: World) -> None:
    ask(world)
    world.record_approval(RUN, YES)
    again = YES.model_copy(update={"by": NO.by})
    assert world.record_approval(RUN, again).by == YES.by
    with pytest.raises(ApprovalClosedError, match=f"approved before, by {YES.by}"):
        world.record_approval(RUN, NO)
    assert {answer for _, answer in world.workflow.answers} == {YES}


def test_a_retry_of_the_state_asks_nobody_twice_and_gets_the_answer_that_was_given(world: World) -> None:
    request = ask(world)
    told = len(world.publisher.announced)
    world.record_approval(RUN, NO)
    world.request_approval(request.model_copy(update={"task_token": "approval-2"}))
    assert len(world.publisher.announced) == told
    assert world.workflow.answers[-1] == ("approval-2", NO)


@pytest.mark.parametrize("run", ["traffic-g9", "nothing-g1", "traffic", ""])
def test_nobody_approves_what_does_not_wait(world: World, run: str) -> None:
    ask(world)
    with pytest.raises(ApprovalUnknownError):
        world.record_approval(run, YES)
    assert world.workflow.answers == []


def test_after_the_wait_it_is_too_late(world: World) -> None:
    ask(world)
    world.clock.now += WAIT + timedelta(seconds=1)
    with pytest.raises(ApprovalClosedError, match="72 h"):
        world.record_approval(RUN, YES)


def test_newer_work_marks_the_request_and_leaves_the_decision_to_the_person(world: World) -> None:
    ask(world)
    world.accept()
    world.start_run(StartRunRequest(pipeline="traffic", reason="upload"))
    approval = world.ledger.approval("traffic", RUN)
    assert approval is not None
    assert approval.superseded_at is not None
    assert world.record_approval(RUN, YES).superseded


def test_a_lost_answer_is_given_again_by_reconcile(world: World) -> None:
    ask(world)
    world.ledger.decide_approval("traffic", RUN, YES, world.clock())
    world.reconcile()
    assert world.workflow.answers == [("approval-1", YES)]


@pytest.mark.parametrize(("answer", "why"), [(NO, "bob rejected it: a strange week"), (None, "Nobody answered")])
def test_what_is_not_approved_is_refused_with_the_reason(world: World, answer: ApprovalAnswer | None, why: str) -> None:
    request = ask(world)
    if answer is not None:
        world.record_approval(RUN, answer)
    result = world.close(request.run, RunOutcome.REFUSED, plan=request.plan, evaluation=request.evaluation)
    assert result.kind == "Candidate Refused"
    record = world.ledger.run("traffic", RUN)
    assert record is not None
    assert record.finding is not None
    assert why in record.finding.why
    assert why in result.announcement.sentence
    assert record.approval == answer


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"decision": "MAYBE", "reason": "x"}, "decision"),
        ({"decision": "APPROVED"}, "reason"),
        ({"decision": "APPROVED", "reason": ""}, "reason"),
        ({"decision": "APPROVED", "reason": "x", "by": "arn:somebody:else"}, "by"),
        ([], "the body"),
        (None, "the body"),
    ],
)
def test_a_wrong_body_is_named_by_its_field(document: object, field: str) -> None:
    with pytest.raises(RequestInvalidError, match=f"^{field}: "):
        answer_from(document, by="arn:caller")
