"""What a dead run left at work in SageMaker and Glue is told to stop, and nothing else is."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ratchet.adapters.run_jobs import RunJobs
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ports import StartedJobs
from tests.unit import samples

PREFIX, JOB, OUTPUT = "ratchet-dev", "preprocess", "s3://artifacts/steps/traffic/preprocess/a/"
LISTED = {"NameContains": PREFIX, "StatusEquals": "InProgress"}
TRAINING = StartedJobs(frozenset({"ratchet-dev-traffic-g2-c1"}), frozenset(), None, samples.NOW)
TRANSFORM = StartedJobs(frozenset(), frozenset({"ratchet-dev-traffic-g2-score-candidate"}), None, samples.NOW)
PREPROCESS = StartedJobs(frozenset(), frozenset(), OUTPUT, samples.NOW)


class Stubbed:
    """The adapter between two stubbed clients."""

    def __init__(self) -> None:
        clients = boto3.client("sagemaker"), boto3.client("glue")
        self.sagemaker, self.glue = map(Stubber, clients)
        self.jobs = RunJobs(PREFIX, JOB, *clients)


@pytest.fixture
def stubbed(aws: None) -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with ExitStack() as stack:
        for stubber in (stubbed.sagemaker, stubbed.glue):
            stack.enter_context(stubber)
        yield stubbed
        stubbed.sagemaker.assert_no_pending_responses()
        stubbed.glue.assert_no_pending_responses()


def training(*names: str) -> dict[str, Any]:
    fields = {"TrainingJobArn": "arn", "CreationTime": samples.NOW, "TrainingJobStatus": "InProgress"}
    return {"TrainingJobSummaries": [{"TrainingJobName": name, **fields} for name in names]}


def transform(*names: str) -> dict[str, Any]:
    fields = {"TransformJobArn": "arn", "CreationTime": samples.NOW, "TransformJobStatus": "InProgress"}
    return {"TransformJobSummaries": [{"TransformJobName": name, **fields} for name in names]}


def preprocess(number: int, state: str, output: str = OUTPUT, minutes: float = 1) -> dict[str, Any]:
    began = samples.NOW + timedelta(minutes=minutes)
    return {"Id": f"jr_{number}", "JobRunState": state, "StartedOn": began, "Arguments": {"--output": output}}


def test_every_try_of_the_runs_training_is_stopped_and_no_other_jobs(stubbed: Stubbed) -> None:
    page = training("ratchet-dev-traffic-g2-c1-0", "ratchet-dev-traffic-g2-c10-0", "ratchet-dev-traffic-g20-c1-0")
    stubbed.sagemaker.add_response("list_training_jobs", {**page, "NextToken": "more"}, LISTED)
    stubbed.sagemaker.add_response("stop_training_job", {}, {"TrainingJobName": "ratchet-dev-traffic-g2-c1-0"})
    again = {**LISTED, "NextToken": "more"}
    stubbed.sagemaker.add_response("list_training_jobs", training("ratchet-dev-traffic-g2-c1-1"), again)
    stubbed.sagemaker.add_response("stop_training_job", {}, {"TrainingJobName": "ratchet-dev-traffic-g2-c1-1"})
    assert stubbed.jobs.stop(TRAINING) == []


def test_the_runs_scoring_is_stopped(stubbed: Stubbed) -> None:
    name = "ratchet-dev-traffic-g2-score-candidate-0"
    stubbed.sagemaker.add_response("list_transform_jobs", transform(name), LISTED)
    stubbed.sagemaker.add_response("stop_transform_job", {}, {"TransformJobName": name})
    assert stubbed.jobs.stop(TRANSFORM) == []


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFound"])
def test_a_job_that_ends_by_itself_meanwhile_is_no_error(stubbed: Stubbed, code: str) -> None:
    stubbed.sagemaker.add_response("list_training_jobs", training("ratchet-dev-traffic-g2-c1-0"), LISTED)
    stubbed.sagemaker.add_client_error("stop_training_job", code, "The job is in status Completed.")
    assert stubbed.jobs.stop(TRAINING) == []


def test_what_may_not_be_stopped_is_an_error(stubbed: Stubbed) -> None:
    stubbed.sagemaker.add_response("list_training_jobs", training("ratchet-dev-traffic-g2-c1-0"), LISTED)
    stubbed.sagemaker.add_client_error("stop_training_job", "AccessDeniedException", "not authorized")
    with pytest.raises(Exception, match="not authorized"):
        stubbed.jobs.stop(TRAINING)


def test_throttling_is_the_worlds(stubbed: Stubbed) -> None:
    stubbed.sagemaker.add_client_error("list_training_jobs", "ThrottlingException", "slow down")
    with pytest.raises(DependencyBusyError):
        stubbed.jobs.stop(TRAINING)


def test_preprocessing_of_the_same_output_is_stopped_and_reported_until_it_has_ended(stubbed: Stubbed) -> None:
    elsewhere = preprocess(3, "RUNNING", "s3://artifacts/steps/flights/preprocess/a/")
    runs = [preprocess(4, "RUNNING"), elsewhere, preprocess(2, "STOPPING"), preprocess(1, "SUCCEEDED")]
    stubbed.glue.add_response("get_job_runs", {"JobRuns": runs}, {"JobName": JOB})
    stopped: dict[str, Any] = {"SuccessfulSubmissions": [], "Errors": []}
    stubbed.glue.add_response("batch_stop_job_run", stopped, {"JobName": JOB, "JobRunIds": ["jr_4"]})
    assert stubbed.jobs.stop(PREPROCESS) == ["jr_4", "jr_2"]
    stubbed.glue.add_response("get_job_runs", {"JobRuns": [preprocess(4, "STOPPED")]}, {"JobName": JOB})
    assert stubbed.jobs.stop(PREPROCESS) == []


def test_job_runs_older_than_the_run_are_not_read(stubbed: Stubbed) -> None:
    page = {"JobRuns": [preprocess(9, "RUNNING", minutes=-1)], "NextToken": "ninety days of runs"}
    stubbed.glue.add_response("get_job_runs", page, {"JobName": JOB})
    assert stubbed.jobs.stop(PREPROCESS) == []
