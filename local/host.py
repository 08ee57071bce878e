"""What an engine needs of the cloud around it; the SageMaker and Glue engines know nothing else of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Scope:
    """The account and region a resource lives in."""

    account: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        """`arn:aws:<service>:<region>:<account>:<resource>`."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True)
class Metric:
    """What was measured of one metric since the last time: each value, and how often it came."""

    name: str
    unit: str
    dimensions: Mapping[str, str]
    values: Mapping[float, int]


class Host(Protocol):
    """Identity, storage, events, logs and metrics, as a cloud gives them to a managed service."""

    def environment(self, scope: Scope, role_arn: str) -> Mapping[str, str]:
        """The AWS_* variables of a process that runs as the role (endpoint, region, session credentials)."""

    def client(self, scope: Scope, service: str, role_arn: str) -> Any:
        """A boto3 client that acts as the role: what the role may not do fails with AccessDenied."""

    def emit(
        self, scope: Scope, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]
    ) -> None:
        """Puts an event of an AWS service on the account's default event bus."""

    def log(self, scope: Scope, group: str, stream: str, lines: Sequence[str]) -> None:
        """Writes lines to a log stream; group and stream are made when absent."""

    def measure(self, scope: Scope, namespace: str, metrics: Sequence[Metric]) -> None:
        """Publishes metrics, as of now."""
