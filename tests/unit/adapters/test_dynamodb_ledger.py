"""What only DynamoDB does: pages, conflicts, throttling."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.domain.errors import DependencyBusyError
from tests.unit import samples
from tests.unit.adapters.conftest import TABLE

P = "traffic"


@pytest.fixture
def stubbed(aws: None) -> tuple[DynamoDbLedger, Stubber]:
    client = boto3.client("dynamodb")
    stubber = Stubber(client)
    stubber.activate()
    return DynamoDbLedger(TABLE, client), stubber


def cancelled(stubber: Stubber, *codes: str) -> None:
    reasons = {"CancellationReasons": [{"Code": code} for code in codes]}
    stubber.add_client_error("transact_write_items", "TransactionCanceledException", modeled_fields=reasons)


def test_more_verdicts_than_fit_a_page_are_all_read(dynamodb_ledger: DynamoDbLedger) -> None:
    dynamodb_ledger.apply_definition(P, samples.definition_ref())
    padding = "s3://bucket/" + "x" * 40_000
    for number in range(1, 41):  # 1.6 MB: a page ends at 1 MB
        dynamodb_ledger.record_object(P, samples.upload(number))
        dynamodb_ledger.accept(P, samples.verdict(number).model_copy(update={"report_uri": padding}))
    accepted = dynamodb_ledger.accepted(P, samples.definition_ref().data_hash)
    assert [verdict.rows for verdict in accepted] == [10 * number for number in range(1, 41)]


def test_more_pipelines_than_fit_a_batch_are_all_read(dynamodb_ledger: DynamoDbLedger) -> None:
    for number in range(105):
        dynamodb_ledger.apply_definition(f"p{number:03}", samples.definition_ref())
    assert len(dynamodb_ledger.pipelines()) == 105


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_cancelled_transaction_that_may_succeed_later_is_busy(
    stubbed: tuple[DynamoDbLedger, Stubber], code: str
) -> None:
    ledger, stubber = stubbed
    cancelled(stubber, "None", code)
    with pytest.raises(DependencyBusyError, match=code):
        ledger.accept(P, samples.verdict(1))


def test_a_cancelled_transaction_for_any_other_reason_stays_what_it_is(
    stubbed: tuple[DynamoDbLedger, Stubber],
) -> None:
    ledger, stubber = stubbed
    cancelled(stubber, "None", "ValidationError")
    with pytest.raises(ClientError, match="TransactionCanceled"):
        ledger.accept(P, samples.verdict(1))


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("get_item", lambda ledger: ledger.pipeline(P)),
        ("query", lambda ledger: ledger.verdicts(P)),
        ("put_item", lambda ledger: ledger.reject(P, samples.verdict(1, "REJECTED"))),
        ("delete_item", lambda ledger: ledger.end_deployment(samples.deployment())),
        ("transact_write_items", lambda ledger: ledger.apply_definition(P, samples.definition_ref())),
    ],
)
def test_throttling_is_busy(stubbed: tuple[DynamoDbLedger, Stubber], operation: str, call: Any) -> None:
    ledger, stubber = stubbed
    stubber.add_client_error(operation, "ThrottlingException", "Rate exceeded", http_status_code=400)
    with pytest.raises(DependencyBusyError, match="Rate exceeded"):
        call(ledger)


def test_a_batch_left_half_read_is_busy(stubbed: tuple[DynamoDbLedger, Stubber]) -> None:
    ledger, stubber = stubbed
    key = {"PK": {"S": "PIPELINE#traffic"}, "SK": {"S": "STATE"}}
    stubber.add_response("query", {"Items": [{"PK": {"S": "PIPELINES"}, "SK": {"S": P}}]})
    stubber.add_response("batch_get_item", {"Responses": {}, "UnprocessedKeys": {TABLE: {"Keys": [key]}}})
    with pytest.raises(DependencyBusyError, match="unread"):
        ledger.pipelines()


def test_a_claim_that_always_comes_second_gives_up_as_busy(stubbed: tuple[DynamoDbLedger, Stubber]) -> None:
    ledger, stubber = stubbed
    state = {"pipeline": {"S": P}, "work_seq": {"N": "1"}}
    for _ in range(3):
        stubber.add_response("get_item", {"Item": state})
        cancelled(stubber, "ConditionalCheckFailed", "None")
    with pytest.raises(DependencyBusyError, match="claimed and released"):
        ledger.claim(P, "upload", False, samples.execution_arn, samples.NOW)


def test_access_denied_is_not_called_busy(stubbed: tuple[DynamoDbLedger, Stubber]) -> None:
    ledger, stubber = stubbed
    stubber.add_client_error("get_item", "AccessDeniedException", http_status_code=400)
    with pytest.raises(ClientError, match="AccessDenied"):
        ledger.pipeline(P)


def test_a_lost_connection_is_busy(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("dynamodb")

    def lose(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    monkeypatch.setattr(client, "_make_api_call", lose)
    with pytest.raises(DependencyBusyError, match="dynamodb"):
        DynamoDbLedger(TABLE, client).pipeline(P)
