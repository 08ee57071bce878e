"""The one exception that callers of the engine see."""

from typing import Any


class SageMakerError(Exception):
    """An error answer of the API: its code, message and HTTP status as AWS gives them."""

    def __init__(self, code: str, message: str, status: int = 400, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.details = details


def invalid(message: str) -> SageMakerError:
    """A ValidationException, SageMaker's answer to most mistakes."""
    return SageMakerError("ValidationException", message)
