"""Every failure is told with its state, its reason and a fix."""

import inspect
import json
from typing import Any

import pytest

from ratchet.contracts.run import RunOutcome, TaskError
from ratchet.domain import errors
from ratchet.domain.announcements import announcement_of, cause_of, failed_state, failure_finding, sentence_of
from ratchet.domain.ledger import RunRecord
from tests.unit import samples
from tests.unit.world import World

NAMES = [name for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.RatchetError)]


def failed(error: str, cause: str = "it broke", **found: Any) -> RunRecord:
    record = RunRecord(
        pipeline="traffic",
        run_id="traffic-g1",
        fence=1,
        execution_arn=samples.execution_arn(1),
        reason="upload",
        started_at=samples.NOW,
        work_seq=1,
        outcome=RunOutcome.FAILED,
        error=TaskError(error=error, cause=cause),
    )
    return record.model_copy(update=found)


@pytest.mark.parametrize("name", [*NAMES, "States.Timeout", "States.TaskFailed", "Lambda.Unknown", "ExecutionStopped"])
@pytest.mark.parametrize(
    "cause", ["", "plain text", json.dumps({"errorMessage": "why"}), "[1, 2]", '{"FailureReason":""}']
)
def test_every_error_makes_a_finding_with_four_answers(name: str, cause: str) -> None:
    finding = failure_finding(failed(name, cause))
    assert all(value.strip() for value in finding.model_dump().values())
    assert name in finding.what
    assert "traffic-g1" in finding.where


def test_a_failure_without_an_error_is_told_too() -> None:
    assert failure_finding(failed("x").model_copy(update={"error": None})).why


def test_the_reason_is_taken_out_of_what_aws_wraps_it_in() -> None:
    for document in (
        {"errorMessage": "no row", "errorType": "ValueError", "stackTrace": ["…"]},
        {"TrainingJobName": "j", "FailureReason": "no row"},
        {"JobName": "j", "ErrorMessage": "no row"},
    ):
        assert cause_of(TaskError(error="E", cause=json.dumps(document))) == "no row"
    assert cause_of(TaskError(error="E", cause="no row")) == "no row"
    assert cause_of(TaskError(error="E", cause="")) == "E without a cause"
    assert len(cause_of(TaskError(error="E", cause="x" * 30_000))) == 1_000


def test_the_state_is_told_by_the_error_or_by_how_far_the_run_came() -> None:
    world = World()
    world.apply()
    world.accept()
    _, plan, selection, evaluation = world.judged()
    training, glue, transform = (
        json.dumps({name: "job"}) for name in ("TrainingJobName", "JobName", "TransformJobName")
    )
    judged: dict[str, Any] = {"plan": plan, "selection": selection, "evaluation": evaluation}
    deployment = world.endpoints  # any value: only its presence counts
    for record, state in (
        (failed("Lambda.Unknown"), "Check Idempotency"),
        (failed("States.TaskFailed", glue, plan=plan), "Preprocess Data"),
        (failed("States.TaskFailed", training, plan=plan), "Train Candidate"),
        (failed("StepOutputMissingError", plan=plan), "Select Candidate"),
        (failed("States.TaskFailed", transform, plan=plan, selection=selection), "Score Model"),
        (failed("ScoringIncompleteError", plan=plan, selection=selection), "Evaluate Model"),
        (failed("EndpointFailedError", **judged), "Deploy Endpoint"),
        (failed("States.Timeout", **judged), "Deploy Endpoint"),
        (failed("PredictionMismatchError", **judged), "Verify Endpoint"),
        (failed("Lambda.Unknown", **judged, deployment=deployment), "Promote Champion"),
    ):
        assert failed_state(record) == state


@pytest.mark.parametrize(
    ("job", "log"),
    [
        ({"TrainingJobName": "j-0"}, "log group /aws/sagemaker/TrainingJobs, stream j-0"),
        ({"TransformJobName": "j-0"}, "log group /aws/sagemaker/TransformJobs, stream j-0"),
        ({"JobName": "preprocess", "Id": "jr_1"}, "log group /aws-glue/jobs/error, stream jr_1"),
    ],
)
def test_a_failed_jobs_log_is_named(job: dict[str, str], log: str) -> None:
    assert failure_finding(failed("States.TaskFailed", json.dumps(job))).where.endswith(f"; {log}")


def test_a_failure_is_announced_with_what_is_known() -> None:
    record = failed("States.TaskFailed", json.dumps({"TrainingJobName": "j", "FailureReason": "exit code 1"}))
    record = record.model_copy(update={"finding": failure_finding(record), "because": sentence_of(record)})
    announcement = announcement_of(record)
    assert announcement.subject == "traffic: run failed"
    assert announcement.sentence == "traffic-g1 failed in Check Idempotency: exit code 1"
    assert announcement.finding == record.finding
    assert announcement.links == {"show": "ratchet show traffic-g1", "report": "ratchet report traffic-g1"}


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_a_report_is_also_linked_where_people_can_log_in(partition: str, region: str, console: str) -> None:
    world = World()
    world.apply()
    world.accept()
    _, plan, _, _ = world.judged()
    arn = f"arn:{partition}:states:{region}:123456789012:execution:ratchet-dev-retrain:traffic-g1"
    link = announcement_of(failed("States.Timeout", plan=plan, execution_arn=arn)).links["report in S3"]
    assert link == (
        f"https://{console}/s3/object/{samples.ARTIFACTS}?region={region}&prefix=reports/traffic/traffic-g1/report.html"
    )


@pytest.mark.parametrize("outcome", [RunOutcome.NOTHING_TO_DO, RunOutcome.ROLLED_BACK])
def test_no_report_is_promised_where_none_is_written(outcome: RunOutcome) -> None:
    assert announcement_of(failed("x").model_copy(update={"outcome": outcome})).links == {
        "show": "ratchet show traffic-g1"
    }
