"""Requests to the stack's HTTP API, signed with the caller's own AWS identity."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from cli.errors import CommandError

_SERVICE = "execute-api"
_HTTP = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=35), retries=False)


@dataclass(frozen=True)
class Answer:
    """What the API said: the status, the parsed JSON body, and the headers by lower-case name."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def reason(self) -> str:
        """The body's `message`, or the body itself."""
        said = self.body.get("message") if isinstance(self.body, dict) else None
        return str(said or self.body or f"HTTP {self.status}")


@dataclass(frozen=True)
class Api:
    """The HTTP API of one stack, called as whom the session is."""

    url: str
    session: boto3.Session

    def post(self, *path: str, body: object) -> Answer:
        """POSTs JSON to the path's segments; CommandError when the API cannot be reached or there is no identity."""
        return self.send("POST", "/".join(quote(segment, safe="") for segment in path), json.dumps(body).encode())

    def send(self, method: str, path: str, body: bytes) -> Answer:
        """One signed request; `path` is encoded already and relative to the API."""
        headers = sign(self.session, method, f"{self.url.rstrip('/')}/{path}", body)
        try:
            response = _HTTP.request(method, f"{self.url.rstrip('/')}/{path}", body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise CommandError(f"The API at {self.url} cannot be reached: {error}. Is the stack deployed?") from error
        return Answer(response.status, _parsed(response.data), {k.lower(): v for k, v in response.headers.items()})


def sign(session: boto3.Session, method: str, url: str, body: bytes) -> dict[str, str]:
    """The headers of a JSON request signed for API Gateway."""
    credentials = session.get_credentials()
    if credentials is None:
        raise CommandError("There are no AWS credentials to sign the request with. Configure a profile or a role.")
    request = AWSRequest(method=method, url=url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials.get_frozen_credentials(), _SERVICE, session.region_name).add_auth(request)
    return {**request.headers}


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
