"""The one exception that callers of the engine see."""

from local.errors import ServiceError


class SageMakerError(ServiceError):
    """An error answer of the SageMaker API."""


def invalid(message: str) -> SageMakerError:
    """A ValidationException, SageMaker's answer to most mistakes."""
    return SageMakerError("ValidationException", message)
