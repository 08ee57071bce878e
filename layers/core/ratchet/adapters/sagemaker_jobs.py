"""SageMaker training jobs that ended while nobody looked."""

from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.contracts.run import TrainingResult

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient


class SageMakerJobs:
    """The TrainingJobs port over SageMaker."""

    def __init__(self, client: "SageMakerClient | None" = None) -> None:
        self._client = client

    def completed(self, name: str) -> TrainingResult | None:
        if self._client is None:
            self._client = boto3.client("sagemaker", config=CLIENT_CONFIG)
        try:
            with busy_errors():
                job = self._client.describe_training_job(TrainingJobName=name)
        except ClientError as error:
            if error_code(error) in ("ResourceNotFound", "ValidationException"):
                return None
            raise
        if job["TrainingJobStatus"] != "Completed":
            return None
        return TrainingResult(
            training_job_name=name,
            model_uri=job["ModelArtifacts"]["S3ModelArtifacts"],
            metrics=tuple({**metric} for metric in job.get("FinalMetricDataList", [])),
            billable_seconds=job.get("BillableTimeInSeconds", 0),
            instance_type=job["ResourceConfig"].get("InstanceType"),
        )
