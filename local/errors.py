"""How a request to a service is refused."""

from typing import Any


class ServiceError(Exception):
    """An error answer of an API: its code, message and HTTP status as AWS gives them."""

    def __init__(self, code: str, message: str, status: int = 400, **details: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details
