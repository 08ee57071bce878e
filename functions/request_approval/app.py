"""Asks people whether the candidate may be deployed; record_approval answers the task token."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.event_bus import EventBus
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.approval import RequestApprovalRequest
from ratchet.domain.approving import RequestApproval
from ratchet.observability import doorway, logger
from ratchet.settings import RequestApprovalSettings


def build() -> RequestApproval:
    """The use case over AWS."""
    settings = RequestApprovalSettings.load()
    return RequestApproval(
        ledger=DynamoDbLedger(settings.ledger_table_name),
        workflow=StepFunctions(),
        publisher=EventBus(settings.event_bus_name),
        clock=utc_now,
    )


@doorway(RequestApprovalRequest, build)
def handler(request: RequestApprovalRequest, request_approval: RequestApproval) -> None:
    """Keeps the token, then announces the request."""
    request_approval(request)
    logger.info("approval requested", score=request.evaluation.candidate)
