"""Taking one permission away makes the system fail with AWS's own error; giving it back makes it whole again."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cli import samples
from cli.errors import CommandError
from cli.history import timeline
from cli.run import start_run
from cli.stack import Stack
from cli.upload import await_verdict, put
from local.cloud.chaos import Chaos, disturbed
from local.cloud.process import Cloud
from ratchet.contracts.run import RunOutcome
from tests.e2e.conftest import VERDICT_TIMEOUT, Pipeline, errors_of, received
from tests.e2e.once import Tiny, await_state, files, later, reconcile, until
from tests.e2e.removing import without


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
    with without(stack, "ValidateDataFunctionRole", "ReadUploads"):
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


@pytest.fixture
def tiny(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest) -> Tiny:
    """A pipeline of that name with one upload on its way, whose failed work is tried again at once."""
    tiny = Tiny(request.param, stack, tmp_path)
    tiny.apply("retrain.retry_after=[1s]")
    return tiny


@pytest.mark.parametrize("tiny", ["unasked"], indirect=True)
def test_select_candidate_may_not_ask_and_close_run_may_not_plan(tiny: Tiny, stack: Stack) -> None:
    with (
        without(stack, "SelectCandidateFunctionRole", "sagemaker:DescribeTrainingJob"),
        without(stack, "CloseRunFunctionRole", "scheduler:CreateSchedule"),
    ):
        tiny.put(files([1]))
        failed = tiny.await_end(1)
        until(lambda: timeline(stack.executions, failed.execution_arn).ended)
    assert failed.outcome is RunOutcome.FAILED
    assert failed.error
    assert "sagemaker:DescribeTrainingJob" in failed.error.cause
    assert failed.retry_at, "the run is closed all the same, and the ledger knows when its work is due again"
    schedules = stack.scheduler.list_schedules(GroupName=stack.outputs.schedule_group_name, NamePrefix="unasked")
    assert schedules["Schedules"] == []
    assert later(stack)(tiny.name).started == ("unasked-g2",)
    assert tiny.await_end(2).outcome is RunOutcome.DEPLOYED
    assert tiny.jobs().training == ["Completed"], "what was trained was adopted"


@pytest.mark.parametrize("tiny", ["unstopped"], indirect=True)
def test_reconcile_may_not_look_for_what_a_dead_run_left(tiny: Tiny, stack: Stack, cloud: Cloud) -> None:
    tiny.put(files([1]))
    run = tiny.await_run(1)
    await_state(stack, run.execution_arn, "Train Candidates")
    with (
        without(stack, "ReconcileFunctionRole", "sagemaker:ListTrainingJobs"),
        disturbed(cloud.settings, Chaos(abandons=True, dropped=("aws.states",))),
    ):
        stack.executions.stop_execution(executionArn=run.execution_arn)
        with pytest.raises(CommandError, match="sagemaker:ListTrainingJobs"):
            reconcile(stack)
        assert stack.pipeline(tiny.name).owner == run.execution_arn, "it is not free while its jobs may be at work"

    def closed() -> RunOutcome | None:  # by this sweep, or by the scheduled one
        reconcile(stack)
        run = stack.ledger.run(tiny.name, f"{tiny.name}-g1")
        return run.outcome if run else None

    assert until(closed) is RunOutcome.FAILED
    assert tiny.await_end(2).outcome is RunOutcome.DEPLOYED
