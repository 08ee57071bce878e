"""Jobs that ended while nobody looked."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ratchet.adapters.sagemaker_jobs import SageMakerJobs
from ratchet.domain.errors import DependencyBusyError
from ratchet.domain.ports import ScoringJob
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


SCORING: dict[str, Any] = {
    "TransformJobName": NAME,
    "TransformJobArn": f"arn:aws:sagemaker:eu-west-1:123456789012:transform-job/{NAME}",
    "TransformJobStatus": "Completed",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://artifacts/holdout/"}}},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    "CreationTime": samples.NOW,
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


def test_a_scoring_job_says_what_it_is_billed_by(stubbed: tuple[SageMakerJobs, Stubber]) -> None:
    jobs, stubber = stubbed
    times = {"TransformStartTime": samples.NOW, "TransformEndTime": samples.NOW + timedelta(seconds=75)}
    stubber.add_response("describe_transform_job", {**SCORING, **times}, {"TransformJobName": NAME})
    with stubber:
        assert jobs.scoring(NAME) == ScoringJob(75, "ml.m5.large")


def test_a_scoring_job_that_never_began_costs_nothing(stubbed: tuple[SageMakerJobs, Stubber]) -> None:
    jobs, stubber = stubbed
    stubber.add_response("describe_transform_job", SCORING)
    stubber.add_client_error("describe_transform_job", "ValidationException", "Could not find requested job.")
    stubber.add_client_error("describe_transform_job", "ThrottlingException", "Rate exceeded")
    with stubber:
        assert jobs.scoring(NAME) is None
        assert jobs.scoring(NAME) is None
        with pytest.raises(DependencyBusyError):
            jobs.scoring(NAME)
