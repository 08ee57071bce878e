"""Requests and answers of the HTTP API (API Gateway's payload format 2.0)."""

import base64
import json
from typing import Any

from pydantic import Field

from ratchet.contracts.base import Contract, ForeignContract


class IamCaller(ForeignContract):
    """`requestContext.authorizer.iam`: who signed the request, as IAM resolved it."""

    user_arn: str = Field(alias="userArn")
    account_id: str = Field(alias="accountId")
    caller_id: str | None = Field(default=None, alias="callerId")


class Authorizer(ForeignContract):
    """`requestContext.authorizer` of a route with AWS_IAM."""

    iam: IamCaller


class RequestContext(ForeignContract):
    """What API Gateway knows of the request."""

    request_id: str = Field(alias="requestId")
    authorizer: Authorizer


class HttpRequest(ForeignContract):
    """A request that IAM let in."""

    path_parameters: dict[str, str] = Field(default={}, alias="pathParameters")
    request_context: RequestContext = Field(alias="requestContext")
    body: str | None = None
    encoded: bool = Field(default=False, alias="isBase64Encoded")

    @property
    def caller(self) -> str:
        """The ARN of whoever signed it."""
        return self.request_context.authorizer.iam.user_arn

    def raw(self) -> bytes:
        """The body's bytes, none when there is no body; ValueError when they cannot be read."""
        text = self.body or ""
        return base64.b64decode(text, validate=True) if self.encoded else text.encode()


class HttpAnswer(Contract):
    """What API Gateway sends back."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = {}

    def proxied(self) -> dict[str, Any]:
        """In the form that API Gateway reads."""
        headers = {"content-type": "application/json", **self.headers}
        return {"statusCode": self.status, "headers": headers, "body": json.dumps(self.body)}
