"""Training jobs that ended while nobody looked."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ratchet.adapters.sagemaker_jobs import SageMakerJobs
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.selection import validation_score
from tests.unit import samples

NAME = "ratchet-dev-traffic-g1-c1-0"
URI = "s3://artifacts/steps/traffic/train/a/job/output/model.tar.gz"
JOB: dict[str, Any] = {
    "TrainingJobName": NAME,
    "TrainingJobArn": f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{NAME}",
    "ModelArtifacts": {"S3ModelArtifacts": URI},
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "CreationTime": samples.NOW,
    "FinalMetricDataList": [{"MetricName": "validation_score", "Value": 0.5, "Timestamp": samples.NOW}],
    "BillableTimeInSeconds": 61,
}


@pytest.fixture
def stubbed(aws: None) -> tuple[SageMakerJobs, Stubber]:
    client = boto3.client("sagemaker")
    return SageMakerJobs(client), Stubber(client)


def test_a_completed_job_says_what_it_left(stubbed: tuple[SageMakerJobs, Stubber]) -> None:
    jobs, stubber = stubbed
    stubber.add_response("describe_training_job", JOB, {"TrainingJobName": NAME})
    with stubber:
        result = jobs.completed(NAME)
    assert result is not None
    assert (result.model_uri, result.billable_seconds, result.instance_type) == (URI, 61, "ml.m5.large")
    assert validation_score(result) == 0.5


@pytest.mark.parametrize("status", ["InProgress", "Failed", "Stopped"])
def test_another_job_left_nothing(stubbed: tuple[SageMakerJobs, Stubber], status: str) -> None:
    jobs, stubber = stubbed
    stubber.add_response("describe_training_job", {**JOB, "TrainingJobStatus": status})
    with stubber:
        assert jobs.completed(NAME) is None


def test_a_job_that_sagemaker_does_not_know_left_nothing(stubbed: tuple[SageMakerJobs, Stubber]) -> None:
    jobs, stubber = stubbed
    stubber.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.")
    with stubber:
        assert jobs.completed(NAME) is None


def test_throttling_is_the_worlds(stubbed: tuple[SageMakerJobs, Stubber]) -> None:
    jobs, stubber = stubbed
    stubber.add_client_error("describe_training_job", "ThrottlingException", "slow down")
    with stubber, pytest.raises(DependencyBusyError):
        jobs.completed(NAME)
