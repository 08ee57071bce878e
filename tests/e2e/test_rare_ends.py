"""Runs that end in a rare way, and what closes them needs grants that nothing else needs."""

from pathlib import Path
from typing import Any

import pytest

from cli.errors import CommandError
from cli.run import start_run
from cli.stack import Stack
from local.cloud.faults import Fault, Kind, injected, strikes
from local.cloud.process import Cloud
from ratchet.contracts.run import RunOutcome
from ratchet.domain import identity
from tests.e2e.once import Tiny, files, reconcile, until
from tests.e2e.removing import without

pytestmark = pytest.mark.permissions
ITS_DEPLOYMENT: dict[str, Any] = {
    "call": "lambda:InvokeFunction",
    "state": "Deploy Endpoint",
    "contains": (":overdue-g1 ",),
}
INSTANCE = ("deploy.mode=instance", "deploy.autoscaling={min: 1, max: 2}", "retrain.retry_after=[]")


def served(tiny: Tiny, *settings: str) -> Tiny:
    """The pipeline with its first champion."""
    tiny.apply(*settings)
    tiny.put(files([1]))
    assert tiny.await_end(1).outcome is RunOutcome.DEPLOYED
    tiny.settled()
    return tiny


def deployed_in_spite_of(*faults: Fault, cloud: Cloud, tiny: Tiny) -> None:
    """The pipeline's first run meets them all and deploys its candidate."""
    with injected(cloud.settings, *faults):
        tiny.put(files([1]))
        assert tiny.await_end(1).outcome is RunOutcome.DEPLOYED
        for fault in faults:
            assert strikes(cloud.settings, fault.name)


def test_a_claim_whose_execution_cannot_be_started_is_given_back(stack: Stack, tmp_path: Path) -> None:
    tiny = Tiny("unstarted", stack, tmp_path)
    tiny.apply("retrain.on_upload=false")
    with (
        without(stack, "StartRunFunctionRole", "states:StartExecution"),
        pytest.raises(CommandError, match="states:StartExecution"),
    ):
        start_run(stack, tiny.name, reason="manual", forced=True)
    assert stack.pipeline(tiny.name).owner is None
    assert stack.ledger.runs(tiny.name) == []


def test_a_run_with_nothing_to_do_starts_the_next_one_for_what_came_meanwhile(
    stack: Stack, cloud: Cloud, tmp_path: Path
) -> None:
    tiny = served(Tiny("meanwhile", stack, tmp_path))
    tiny.apply("gate.threshold=0.2")
    tiny.await_end(2)
    tiny.settled()
    slow = Fault(
        name="slow end",
        kind=Kind.SLOW,
        call="dynamodb:TransactWriteItems",
        caller="CheckIdempotencyFunctionRole",
        contains=("meanwhile-g3", "NOTHING_TO_DO"),
        seconds=15,
    )
    with injected(cloud.settings, slow):
        tiny.apply()  # what the first run judged
        until(lambda: strikes(cloud.settings, slow.name) or None)
        tiny.put(files([2]))
        assert tiny.await_end(3).outcome is RunOutcome.NOTHING_TO_DO
    assert tiny.await_end(4).reason == "upload"


def test_a_champion_that_leaves_its_instances_leaves_no_endpoint(stack: Stack, tmp_path: Path) -> None:
    """The run that closes removes it; where it may not, reconcile does."""
    tiny = served(Tiny("moving", stack, tmp_path), *INSTANCE)
    left = stack.endpoint_name(tiny.name)
    assert stack.endpoints.scales(left)
    with without(stack, "CloseRunFunctionRole", "sagemaker:DeleteEndpoint"):
        tiny.apply("deploy.mode=serverless")
        assert tiny.await_end(2).outcome is RunOutcome.DEPLOYED
        tiny.settled()
        assert not stack.endpoints.scales(left)
    assert stack.endpoint_name(tiny.name) != left
    until(lambda: (reconcile(stack) and stack.endpoints.describe(left) is None) or None)


def test_a_champion_whose_endpoint_is_lost_during_a_run_that_fails_is_put_back(stack: Stack, tmp_path: Path) -> None:
    tiny = served(Tiny("bereft", stack, tmp_path), *INSTANCE, "retrain.settle=3s")
    name = stack.endpoint_name(tiny.name)
    with without(stack, "SelectCandidateFunctionRole", "sagemaker:DescribeTrainingJob"):
        tiny.put(files([2]))
        tiny.await_run(2)
        stack.endpoints.delete(name)
        assert tiny.await_end(2).outcome is RunOutcome.FAILED
    assert tiny.serving_config == stack.pipeline(tiny.name).champion.endpoint_config_name  # type: ignore[union-attr]


def test_a_deployment_whose_request_was_lost_answers_for_itself(stack: Stack, cloud: Cloud, tmp_path: Path) -> None:
    """The retry comes when the endpoint serves already."""
    lost = Fault(name="request lost", kind=Kind.LOST, **ITS_DEPLOYMENT)
    late = Fault(name="retry late", kind=Kind.SLOW, seconds=8, **ITS_DEPLOYMENT)
    tiny = Tiny("overdue", stack, tmp_path)
    tiny.apply()
    deployed_in_spite_of(lost, late, cloud=cloud, tiny=tiny)


def test_a_trial_that_was_not_removed_goes_with_the_deployment(stack: Stack, cloud: Cloud, tmp_path: Path) -> None:
    unanswered = Fault(
        name="no removal",
        kind=Kind.TIMEOUT,
        call="sagemaker:DeleteEndpoint",
        state="Remove Trial Endpoint",
        contains=(":untried-g1 ",),
    )
    tiny = Tiny("untried", stack, tmp_path)
    tiny.apply("deploy.verify=before")
    deployed_in_spite_of(unanswered, cloud=cloud, tiny=tiny)
    trial = identity.trial_name(stack.outputs.resource_prefix, tiny.name)
    until(lambda: stack.endpoints.describe(trial) is None or None)


def test_a_model_that_was_made_before_is_found(stack: Stack, cloud: Cloud, tmp_path: Path) -> None:
    twice = Fault(
        name="model twice",
        kind=Kind.DUPLICATE,
        call="sagemaker:CreateModel",
        state="Create Model",
        contains=(":twice-made-g1 ",),
    )
    tiny = Tiny("twice-made", stack, tmp_path)
    tiny.apply()
    deployed_in_spite_of(twice, cloud=cloud, tiny=tiny)
