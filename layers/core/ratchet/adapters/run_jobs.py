"""The jobs of runs in SageMaker and Glue, when nobody waits for them any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.domain.ports import StartedJobs

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_glue.type_defs import JobRunTypeDef
    from mypy_boto3_sagemaker import SageMakerClient

_AT_WORK = frozenset({"STARTING", "RUNNING", "STOPPING", "WAITING"})
_STOPS = 25  # BatchStopJobRun's limit


class RunJobs:
    """The Jobs port over SageMaker and Glue; SageMaker's jobs are looked for among those of `resource_prefix`."""

    def __init__(
        self,
        resource_prefix: str,
        preprocess_job_name: str,
        sagemaker: "SageMakerClient | None" = None,
        glue: "GlueClient | None" = None,
    ) -> None:
        self._prefix = resource_prefix
        self._job = preprocess_job_name
        self._sagemaker_client = sagemaker
        self._glue_client = glue

    @property
    def _sagemaker(self) -> "SageMakerClient":
        if self._sagemaker_client is None:
            self._sagemaker_client = boto3.client("sagemaker", config=CLIENT_CONFIG)
        return self._sagemaker_client

    @property
    def _glue(self) -> "GlueClient":
        if self._glue_client is None:
            self._glue_client = boto3.client("glue", config=CLIENT_CONFIG)
        return self._glue_client

    def stop(self, started: StartedJobs) -> list[str]:
        with busy_errors():
            for name in _tries(started.training, self._training()):
                with _ended_is_fine():
                    self._sagemaker.stop_training_job(TrainingJobName=name)
            for name in _tries(started.transform, self._transform()):
                with _ended_is_fine():
                    self._sagemaker.stop_transform_job(TransformJobName=name)
            return self._stop_preprocessing(started) if started.preprocess_output else []

    def _training(self) -> Iterator[str]:
        pages = self._sagemaker.get_paginator("list_training_jobs")
        for page in pages.paginate(NameContains=self._prefix, StatusEquals="InProgress"):
            yield from (job["TrainingJobName"] for job in page["TrainingJobSummaries"])

    def _transform(self) -> Iterator[str]:
        pages = self._sagemaker.get_paginator("list_transform_jobs")
        for page in pages.paginate(NameContains=self._prefix, StatusEquals="InProgress"):
            yield from (job["TransformJobName"] for job in page["TransformJobSummaries"])

    def _stop_preprocessing(self, started: StartedJobs) -> list[str]:
        """A run that has ended in between answers with an error of its own, and is gone at the next look."""
        writing = [run for run in self._runs_since(started) if run["JobRunState"] in _AT_WORK]
        stopping = [run["Id"] for run in writing if run["JobRunState"] != "STOPPING"]
        for first in range(0, len(stopping), _STOPS):
            self._glue.batch_stop_job_run(JobName=self._job, JobRunIds=stopping[first : first + _STOPS])
        return [run["Id"] for run in writing]

    def _runs_since(self, started: StartedJobs) -> "Iterator[JobRunTypeDef]":
        """Glue lists every pipeline's runs of the last 90 days, the newest first."""
        for page in self._glue.get_paginator("get_job_runs").paginate(JobName=self._job):
            for run in page["JobRuns"]:
                if run["StartedOn"] < started.since:
                    return
                if run.get("Arguments", {}).get("--output") == started.preprocess_output:
                    yield run


@contextmanager
def _ended_is_fine() -> Iterator[None]:
    """A job may end before it is told to stop: SageMaker calls that an invalid request."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in ("ValidationException", "ResourceNotFound"):
            raise


def _tries(job_names: frozenset[str], found: Iterator[str]) -> Iterator[str]:
    """The names of found jobs that are one of the given ones, tried for the n-th time."""
    if job_names:
        yield from (name for name in found if name.rpartition("-")[0] in job_names)
