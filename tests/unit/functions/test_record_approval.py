"""The approval route: who signed decides, and the answer is a status with a reason."""

import json
from typing import Any

import pytest

from ratchet.contracts.approval import RequestApprovalRequest
from ratchet.contracts.run import Decision
from ratchet.domain.errors import EventInvalidError
from tests.unit.functions.test_handlers import event, load
from tests.unit.lambda_context import Context
from tests.unit.world import World

ADA = "arn:aws:sts::111122223333:assumed-role/analysts/ada"


@pytest.fixture
def world() -> World:
    world = World()
    world.apply()
    world.accept()
    run, plan, _, evaluation = world.judged()
    world.request_approval(RequestApprovalRequest(run=run, plan=plan, evaluation=evaluation, task_token="token-1"))
    return world


def decide(world: World, case: str) -> tuple[int, Any]:
    answer = load("record_approval").handler(event("record_approval", case), Context(), use_case=world.record_approval)
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.parametrize(("case", "decision"), [("approved", Decision.APPROVED), ("rejected", Decision.REJECTED)])
def test_the_decision_stands_under_the_identity_that_signed(world: World, case: str, decision: Decision) -> None:
    status, body = decide(world, case)
    assert (status, body["decision"], body["by"]) == (200, decision, ADA)
    ((_, answer),) = world.workflow.answers
    assert (answer.outcome, answer.by) == (decision, ADA)


def test_what_is_wrong_with_a_request_is_a_status(world: World) -> None:
    assert decide(world, "no_reason")[0] == 400
    assert decide(world, "unknown_run")[0] == 404
    assert decide(world, "approved")[0] == 200
    status, body = decide(world, "rejected")
    assert (status, body["error"]) == (409, "ApprovalClosedError")
    assert ADA in body["message"]


def test_a_request_that_nobody_signed_does_not_come_in(world: World) -> None:
    with pytest.raises(EventInvalidError, match="authorizer"):
        decide(world, "invalid_unsigned")
    assert world.workflow.answers == []
