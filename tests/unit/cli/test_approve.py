"""Approving and rejecting: what the API is sent, and what people read of its answer."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.api import Answer
from cli.main import app
from cli.stack import Stack

BY = "arn:aws:sts::123456789012:assumed-role/analysts/ada"


class FakeApi:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[tuple[tuple[str, ...], Any]] = []

    def post(self, *path: str, body: object) -> Answer:
        self.sent.append((path, body))
        return self.answer


def api(stack: Stack, status: int, body: Any) -> FakeApi:
    stack.api = FakeApi(Answer(status, body))  # type: ignore[assignment]
    return stack.api  # type: ignore[return-value]


@pytest.mark.parametrize(("command", "decision"), [("approve", "APPROVED"), ("reject", "REJECTED")])
@pytest.mark.parametrize("superseded", [False, True])
def test_a_decision_is_sent_with_its_reason(
    stack: Stack, runner: CliRunner, command: str, decision: str, superseded: bool
) -> None:
    receipt = {"run": "traffic-g7", "decision": decision, "by": BY, "reason": "good", "superseded": superseded}
    asked = api(stack, 200, receipt)
    result = runner.invoke(app, [command, "traffic-g7", "--reason", "good"])
    assert result.exit_code == 0, result.output
    assert asked.sent == [(("runs", "traffic-g7", "approval"), {"decision": decision, "reason": "good"})]
    said = "".join(result.stdout.split())
    assert BY in said
    assert ("Newerwork" in said) is superseded
    assert json.loads(runner.invoke(app, [command, "traffic-g7", "--reason", "good", "--json"]).stdout) == receipt


def test_a_refusal_says_why(stack: Stack, runner: CliRunner) -> None:
    api(stack, 409, {"message": "traffic-g7 was approved before", "error": "ApprovalClosedError"})
    result = runner.invoke(app, ["reject", "traffic-g7", "--reason", "late"])
    assert result.exit_code == 1
    assert "approvedbefore" in "".join(result.output.split())
