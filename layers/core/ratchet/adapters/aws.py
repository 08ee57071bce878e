"""How every AWS client is made, and which of AWS's errors mean that the world is busy."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError

from ratchet.domain.errors import DependencyBusyError

# Long retries live in the state machines; these only ride out a lost packet or a short throttle.
CLIENT_CONFIG = Config(
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="ratchet",
)

_BUSY = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


def error_code(error: ClientError) -> str:
    """The AWS error code, empty when the service sent none."""
    return error.response.get("Error", {}).get("Code", "")


def error_message(error: ClientError) -> str:
    """The AWS error message."""
    return error.response.get("Error", {}).get("Message", "")


@contextmanager
def busy_errors() -> Iterator[None]:
    """Throttling, service faults and lost connections become DependencyBusyError; every other error passes."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if error_code(error) in _BUSY or status >= 500 or status == 429:
            raise DependencyBusyError(f"{error.operation_name}: {error_message(error)}") from error
        raise
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise DependencyBusyError(str(error)) from error
