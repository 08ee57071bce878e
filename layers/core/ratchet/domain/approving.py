"""Approval: a person decides whether a judged candidate is deployed, and the ledger keeps who it was."""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from ratchet.contracts.approval import ApprovalOrder, ApprovalReceipt, RequestApprovalRequest
from ratchet.contracts.base import Finding
from ratchet.contracts.run import Announcement, ApprovalAnswer, Decision
from ratchet.domain.announcements import report_links
from ratchet.domain.errors import ApprovalClosedError, ApprovalUnknownError, RequestInvalidError, StaleRunError
from ratchet.domain.identity import run_id
from ratchet.domain.ledger import Approval, Ledger, PipelineState, RunRecord, claim_of
from ratchet.domain.ports import Clock, Publisher, Workflow

WAIT = timedelta(hours=72)  # as long as the state waits: no answer is a refusal


@dataclass(frozen=True)
class RequestApproval:
    """Keeps the task token and tells people; asked again with another token, it asks nobody twice."""

    ledger: Ledger
    workflow: Workflow
    publisher: Publisher
    clock: Clock

    def __call__(self, request: RequestApprovalRequest) -> None:
        run = request.run
        record = self.ledger.run(run.pipeline, run.run_id)
        if record is None:
            raise StaleRunError(f"the ledger does not know {run.run_id}; its claim was released")
        earlier = self.ledger.approval(run.pipeline, run.run_id)
        approval = self._approval(request, record, earlier)
        self.ledger.request_approval(claim_of(run, record.execution_arn), approval)
        if earlier is None:
            self.publisher.announce("Approval Requested", _announcement(request, record, approval))
        elif (answer := answer_of(approval)) is not None:
            self.workflow.task_succeeded(approval.task_token, answer)

    def _approval(self, request: RequestApprovalRequest, record: RunRecord, earlier: Approval | None) -> Approval:
        if earlier is not None:
            return earlier.model_copy(update={"task_token": request.task_token})
        now = self.clock()
        return Approval(
            pipeline=request.run.pipeline,
            run_id=request.run.run_id,
            fence=request.run.fence,
            work_seq=record.work_seq,
            task_token=request.task_token,
            requested_at=now,
            expires_at=now + WAIT,
        )


@dataclass(frozen=True)
class RecordApproval:
    """Records the first decision under the caller's identity and answers the run; the same decision again is fine."""

    ledger: Ledger
    workflow: Workflow
    clock: Clock

    def __call__(self, run: str, answer: ApprovalAnswer) -> ApprovalReceipt:
        """ApprovalUnknownError when nobody was asked, ApprovalClosedError when it is too late or decided otherwise."""
        pipeline = run.rpartition("-g")[0]
        found = self.ledger.approval(pipeline, run) if pipeline else None
        record = self.ledger.run(pipeline, run) if found else None
        if found is None or record is None:
            raise ApprovalUnknownError(f"nobody was asked to approve {run}")
        if found.decision is None and (record.outcome is not None or self.clock() > found.expires_at):
            raise ApprovalClosedError(f"{run} waits no more: nobody decided within {WAIT.total_seconds() / 3600:.0f} h")
        approval = self.ledger.decide_approval(pipeline, run, answer, self.clock())
        if approval.decision is not answer.outcome:
            raise ApprovalClosedError(f"{run} was {str(approval.decision).lower()} before, by {approval.by}")
        if (first := answer_of(approval)) is not None:
            self.workflow.task_succeeded(approval.task_token, first)
        return ApprovalReceipt(
            run=run,
            decision=approval.decision,
            by=approval.by or "",
            reason=approval.reason or "",
            superseded=approval.superseded_at is not None,
        )


def answer_from(document: object, by: str) -> ApprovalAnswer:
    """The body of the caller's request under the caller's identity; RequestInvalidError names the field."""
    try:
        order = ApprovalOrder.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the body"
        raise RequestInvalidError(f"{field}: {first['msg']}") from error
    return ApprovalAnswer(outcome=order.decision, by=by, reason=order.reason)


def supersede(ledger: Ledger, state: PipelineState, clock: Clock) -> bool:
    """Marks the open request of the pipeline's owner when newer work has arrived since its candidate was trained."""
    if state.owner is None:
        return False
    run = run_id(state.pipeline, state.fence)
    approval = ledger.approval(state.pipeline, run)
    if approval is None or approval.work_seq >= state.work_seq:
        return False
    return ledger.supersede_approval(state.pipeline, run, clock())


def answer_of(approval: Approval | None) -> ApprovalAnswer | None:
    """The person's answer, once there is one."""
    if approval is None or approval.decision is None:
        return None
    return ApprovalAnswer(outcome=approval.decision, by=approval.by or "", reason=approval.reason or "")


def unapproved(record: RunRecord) -> Finding:
    """Why a candidate that passed the gate was not deployed."""
    answer = record.approval
    rejected = answer is not None and answer.outcome is Decision.REJECTED
    why = f"{answer.by} rejected it: {answer.reason}" if answer and rejected else "Nobody answered within 72 hours."
    return Finding(
        what=f"{record.run_id} passed the gate, but was not approved; the champion stays.",
        where=f"deploy.approval of pipeline {record.pipeline}",
        why=why,
        fix=f"New data is judged and asked for anew; for the same, `ratchet run {record.pipeline} --force`.",
    )


def _announcement(request: RequestApprovalRequest, record: RunRecord, approval: Approval) -> Announcement:
    run = request.run
    return Announcement(
        pipeline=run.pipeline,
        subject=f"{run.pipeline}: approval requested",
        sentence=f"{request.evaluation.sentence} It waits for approval until {approval.expires_at:%Y-%m-%d %H:%M} UTC.",
        run_id=run.run_id,
        links={
            "approve": f"ratchet approve {run.run_id} --reason '...'",
            "reject": f"ratchet reject {run.run_id} --reason '...'",
            "show": f"ratchet show {run.run_id}",
            **report_links(record),
            "decision": request.evaluation.decision_uri,
        },
    )
