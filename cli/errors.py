"""What a command says when it cannot go on: one paragraph of what was wrong, where, and what to do."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    TokenRetrievalError,
)

from local.cloud.process import CloudError
from ratchet.domain.errors import RatchetError


class CommandError(Exception):
    """A command cannot go on; the message is written for the person at the terminal."""


EXPECTED = (CommandError, CloudError, RatchetError, ClientError, BotoCoreError)


def explain(error: Exception) -> str:
    """The paragraph for an expected error."""
    match error:
        case ClientError():
            code = error.response["Error"].get("Code", "Unknown")
            message = error.response["Error"].get("Message", "no message").rstrip(".")
            return f"{error.operation_name} failed with {code}: {message}. {_client_fix(code)}"
        case NoCredentialsError() | NoRegionError() | TokenRetrievalError():
            return (
                f"{_sentence(error)} Log in to AWS and set a region (aws configure, AWS_PROFILE, AWS_REGION), "
                "or leave out --aws to use the embedded cloud."
            )
        case EndpointConnectionError():
            return f"{_sentence(error)} Check the network, or `ratchet local status` for the embedded cloud."
        case _:
            return str(error)


def _client_fix(code: str) -> str:
    if code.startswith("AccessDenied") or code in ("UnauthorizedOperation", "InvalidClientTokenId", "ExpiredToken"):
        return "Use credentials that may do this: the README lists what the ratchet command needs."
    return "`ratchet status` shows which stack and account the command talks to."


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text}."
