"""SageMaker jobs that ended while nobody looked."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.contracts.run import TrainingResult
from ratchet.domain.ports import ScoringJob

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_UNKNOWN = ("ResourceNotFound", "ValidationException")

Described = TypeVar("Described")


class SageMakerJobs:
    """The TrainingJobs and ScoringJobs ports over SageMaker."""

    def __init__(self, client: "SageMakerClient | None" = None) -> None:
        self._client = client

    def completed(self, name: str) -> TrainingResult | None:
        job = _unless_unknown(lambda: self._sagemaker.describe_training_job(TrainingJobName=name))
        if job is None or job["TrainingJobStatus"] != "Completed":
            return None
        return TrainingResult(
            training_job_name=name,
            model_uri=job["ModelArtifacts"]["S3ModelArtifacts"],
            metrics=tuple({**metric} for metric in job.get("FinalMetricDataList", [])),
            billable_seconds=job.get("BillableTimeInSeconds", 0),
            instance_type=job["ResourceConfig"].get("InstanceType"),
        )

    def scoring(self, name: str) -> ScoringJob | None:
        job = _unless_unknown(lambda: self._sagemaker.describe_transform_job(TransformJobName=name))
        if job is None or "TransformStartTime" not in job or "TransformEndTime" not in job:
            return None
        seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
        return ScoringJob(seconds, job["TransformResources"]["InstanceType"])

    @property
    def _sagemaker(self) -> "SageMakerClient":
        if self._client is None:
            self._client = boto3.client("sagemaker", config=CLIENT_CONFIG)
        return self._client


def _unless_unknown(describe: Callable[[], Described]) -> Described | None:
    """What SageMaker says of a job; None for a name that it does not know."""
    try:
        with busy_errors():
            return describe()
    except ClientError as error:
        if error_code(error) in _UNKNOWN:
            return None
        raise
