"""Records a person's decision under the identity that signed the request, and answers the waiting run."""

from ratchet.adapters.clock import utc_now
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.step_functions import StepFunctions
from ratchet.contracts.http import HttpAnswer, HttpRequest
from ratchet.domain.approving import RecordApproval, answer_from
from ratchet.http_door import http_door, json_body
from ratchet.observability import logger
from ratchet.settings import RecordApprovalSettings


def build() -> RecordApproval:
    """The use case over AWS."""
    settings = RecordApprovalSettings.load()
    return RecordApproval(DynamoDbLedger(settings.ledger_table_name), StepFunctions(), utc_now)


@http_door(build)
def handler(request: HttpRequest, record_approval: RecordApproval) -> HttpAnswer:
    """The decision as it stands, with whose it is."""
    answer = answer_from(json_body(request), by=request.caller)
    receipt = record_approval(request.path_parameters["run"], answer)
    logger.info("decided", decision=receipt.decision, by=receipt.by)
    return HttpAnswer(status=200, body=receipt.model_dump(mode="json"))
