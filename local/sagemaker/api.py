"""The public definition of the SageMaker API."""

from local.sagemaker.errors import SageMakerError
from local.validation import Api

SAGEMAKER = Api("sagemaker", SageMakerError)
