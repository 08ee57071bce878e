"""How a person is asked, and answers."""

from typing import Annotated

from pydantic import Field

from ratchet.contracts.base import Contract
from ratchet.contracts.run import Decision, Evaluation, Run, RunPlan


class RequestApprovalRequest(Contract):
    """Asks people; the task token is answered by record_approval."""

    run: Run
    plan: RunPlan
    evaluation: Evaluation
    task_token: str


class ApprovalOrder(Contract):
    """The body of POST /runs/{run}/approval; who sends it, the signature says."""

    decision: Decision
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class ApprovalReceipt(Contract):
    """What POST /runs/{run}/approval answers."""

    run: str
    decision: Decision
    by: str  # the caller's ARN
    reason: str
    superseded: bool  # newer work has arrived since the candidate was trained
