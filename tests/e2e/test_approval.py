"""Approval, end to end: people are told, one of them decides under his own identity, and the run does as he said."""

import json
from collections.abc import Callable

import boto3
import pytest
import urllib3
from typer.testing import Result

from cli.api import Api
from cli.listen import Listener
from cli.stack import Stack
from ratchet.contracts.run import Decision, RunOutcome
from ratchet.domain.identity import report_uri
from ratchet.domain.ledger import Approval
from tests.e2e.conftest import shown
from tests.e2e.once import Tiny, files, until

REJECT = {"decision": "REJECTED", "reason": "a strange week"}
MAY_DECIDE = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*/POST/runs/*/approval"}],
}


def session_of(stack: Stack, name: str, policy: object = None) -> boto3.Session:
    """A user of the account, with a policy or none."""
    iam = stack.session.client("iam")
    iam.create_user(UserName=name)
    if policy is not None:
        iam.put_user_policy(UserName=name, PolicyName="Decide", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=stack.session.region_name)


def asked(pipeline: Tiny, number: int) -> Approval:
    """The open request of a run, once it waits for a person."""
    return until(lambda: pipeline.stack.ledger.approval(pipeline.name, f"{pipeline.name}-g{number}"))


def test_a_person_decides_and_the_run_does_so(
    stack: Stack,
    people: Listener,
    ratchet: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tiny = Tiny("approved", stack, tmp_path_factory.mktemp("approved"))
    first, second = "approved-g1", "approved-g2"
    tiny.apply("deploy.approval=required")
    tiny.put(files([300]))
    assert asked(tiny, 1).superseded_at is None
    report = stack.store.read(report_uri(stack.outputs.artifacts_bucket_name, tiny.name, first))
    assert b"Not ended yet" in report
    assert people.hear(first, "approval requested", f"ratchet report {first}", f"ratchet approve {first} --reason")
    assert shown(["waits for approval until", f"ratchet approve {first}"], ratchet("show", first).stdout)

    url, body = f"{stack.outputs.api_url}/runs/{first}/approval", json.dumps(REJECT).encode()
    for headers in (None, {"Authorization": "Bearer x"}, {"X-Amz-Security-Token": "x"}):
        assert urllib3.request("POST", url, body=body, headers=headers, retries=False).status == 403
    nosy = Api(stack.outputs.api_url, session_of(stack, "nosy"))
    assert nosy.send("POST", f"runs/{first}/approval", body).status == 403
    assert asked(tiny, 1).decision is None

    tiny.put(files([301]))
    until(lambda: asked(tiny, 1).superseded_at)
    ada = Api(stack.outputs.api_url, session_of(stack, "ada", MAY_DECIDE))
    assert ada.post("runs", first, "approval", body={**REJECT, "by": "bob"}).status == 400
    answer = ada.post("runs", first, "approval", body=REJECT)
    assert (answer.status, answer.body["superseded"]) == (200, True), answer
    assert answer.body["by"].endswith(":user/ada")
    refused = tiny.await_end(1)
    assert (refused.outcome, tiny.champion) == (RunOutcome.REFUSED, None)
    assert refused.approval is not None
    assert (refused.approval.by, refused.approval.reason) == (answer.body["by"], REJECT["reason"])
    assert people.hear(first, "candidate refused", "user/ada", "a strange week")
    assert shown(["rejected", "user/ada", "a strange week", "newer work"], ratchet("show", first).stdout)
    assert ada.post("runs", first, "approval", body={**REJECT, "decision": "APPROVED"}).status == 409

    asked(tiny, 2)  # the newer work, once the first run had ended
    said = ratchet("approve", second, "--reason", "as good as it gets")
    assert said.exit_code == 0, said.output
    deployed = tiny.await_end(2)
    assert (deployed.outcome, tiny.champion) == (RunOutcome.DEPLOYED, second), deployed.because
    assert deployed.approval is not None
    assert (deployed.approval.outcome, deployed.approval.by) == (Decision.APPROVED, stack.caller)
    assert tiny.settled()[-1].run_id == second
