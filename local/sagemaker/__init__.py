"""SageMaker's API on one machine: jobs and endpoints are processes under the container contract."""

from local.sagemaker.engine import SageMakerEngine
from local.sagemaker.errors import SageMakerError

__all__ = ["SageMakerEngine", "SageMakerError"]
