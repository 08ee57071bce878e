"""Taking one permission away makes the system fail with AWS's own error; giving it back makes it whole again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cli import samples
from cli.run import start_run
from cli.stack import Stack
from cli.upload import await_verdict, put
from ratchet.contracts.run import RunOutcome
from tests.e2e.conftest import VERDICT_TIMEOUT, Pipeline, errors_of, received


@contextmanager
def without(stack: Stack, role: str, action: str) -> Iterator[None]:
    """Takes an action out of every inline policy of a role, by its logical id; puts it back at the end."""
    iam: Any = stack.session.client("iam")
    formation = stack.session.client("cloudformation")
    described = formation.describe_stack_resource(StackName=stack.name, LogicalResourceId=role)
    name = described["StackResourceDetail"]["PhysicalResourceId"]
    before = {
        policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    }
    after = {policy: reduced(document, action) for policy, document in before.items()}
    assert after != before, f"{role} never had {action}"
    try:
        for policy, document in after.items():
            if document["Statement"]:
                iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
            else:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
        yield
    finally:
        for policy, document in before.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


def reduced(document: dict[str, Any], action: str) -> dict[str, Any]:
    """A policy without an action; statements that allowed nothing else are gone."""
    statements = []
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if kept := [one for one in actions if one != action]:
            statements.append({**statement, "Action": kept})
    return {**document, "Statement": statements}


def kept_event(stack: Stack, key: str) -> dict[str, Any]:
    """The message about an upload in ingest's dead-letter queue, which other tests may have used before."""
    while messages := received(stack, stack.outputs.ingest_dead_letter_queue_url):
        for message in messages:
            if message["body"]["detail"]["object"]["key"] == key:
                return message
    raise AssertionError(f"nothing about {key} reached the dead-letter queue")


def deliver_again(stack: Stack, event: dict[str, Any]) -> None:
    """What an operator does with an event from the dead-letter queue."""
    stack.executions.start_execution(stateMachineArn=stack.outputs.ingest_state_machine_arn, input=json.dumps(event))


def test_validation_may_not_read(served: Pipeline, stack: Stack) -> None:
    file = served.file("2017-04.csv", samples.traffic_months()["2017-04"])
    with without(stack, "ValidateDataFunctionRole", "s3:GetObject"):
        made = put(stack, stack.pipeline(served.name), file)
        kept = kept_event(stack, made.key)
    assert "AccessDenied" in kept["attributes"]["ERROR_MESSAGE"]
    assert "GetObject" in kept["attributes"]["ERROR_MESSAGE"]
    deliver_again(stack, kept["body"])
    assert await_verdict(stack, made, VERDICT_TIMEOUT).outcome == "ACCEPTED"
    served.settled()


def test_the_rule_may_not_start_ingest(served: Pipeline, stack: Stack) -> None:
    file = served.file("2017-05.csv", samples.traffic_months()["2017-05"])
    with without(stack, "IngestRuleRole", "states:StartExecution"):
        made = put(stack, stack.pipeline(served.name), file)
        kept = kept_event(stack, made.key)
    assert kept["attributes"]["ERROR_CODE"] == "NO_PERMISSIONS"
    assert "states:StartExecution" in kept["attributes"]["ERROR_MESSAGE"]
    deliver_again(stack, kept["body"])
    assert await_verdict(stack, made, VERDICT_TIMEOUT).outcome == "ACCEPTED"
    served.settled()


def test_retrain_may_not_invoke_functions(served: Pipeline, stack: Stack) -> None:
    served.settled()
    with without(stack, "RetrainStateMachineRole", "lambda:InvokeFunction"):
        started = start_run(stack, served.name, reason="manual", forced=True)
        assert started.run_id
        run = stack.ledger.run(served.name, started.run_id)
        assert run
        (error, *_) = failures(stack, run.execution_arn)
    assert "AccessDenied" in error or "is not authorized to perform: lambda:InvokeFunction" in error
    assert served.last().outcome in (RunOutcome.REFUSED, RunOutcome.DEPLOYED)


def failures(stack: Stack, execution_arn: str, timeout: float = 30) -> list[str]:
    """The first errors of a running execution, waited for."""
    deadline = time.monotonic() + timeout
    while not (found := errors_of(stack, execution_arn)):
        assert time.monotonic() < deadline, "the execution met no error"
        time.sleep(stack.poll_seconds)
    return found
