"""What use cases need of the world outside; adapters implement it, and each has a fake."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ratchet.contracts.base import Contract
from ratchet.contracts.run import Announcement, Run, Scaling, TrainingResult, VariantHealth, Watch

if TYPE_CHECKING:  # no function needs all that ports speak of
    from ratchet.contracts.starting import StartRunRequest
    from ratchet.domain.data_contract import DataSection
    from ratchet.domain.deploy_section import DeploySection
    from ratchet.domain.idling import LiveEndpoint, Named


class ObjectVersion(NamedTuple):
    """One version of an object, as S3 lists it."""

    key: str
    version_id: str
    modified: datetime
    size: int

    def uri(self, bucket: str) -> str:
        """The version as people and the console name it."""
        return f"s3://{bucket}/{self.key}?versionId={self.version_id}"


class ObjectStore(Protocol):
    """S3 by URI. A missing object raises ObjectMissingError, throttling DependencyBusyError."""

    def read(self, uri: str) -> bytes: ...

    def read_json(self, uri: str) -> Any: ...

    def lines(self, uri: str) -> Iterator[str]:
        """The object's lines without their ends, streamed; empty ones are left out."""
        ...

    def write_json(self, uri: str, document: object) -> None:
        """Writes canonical JSON."""
        ...

    def write_page(self, uri: str, page: bytes) -> None:
        """Writes an HTML page in UTF-8, which a browser shows as such."""
        ...

    def exists(self, uri: str) -> bool: ...

    def list(self, prefix_uri: str) -> list[str]:
        """The URIs under a prefix, in order."""
        ...

    def versions(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        """Every object version under a prefix, delete markers left out."""
        ...

    def head(self, bucket: str, key: str, version_id: str) -> ObjectVersion: ...

    def download(self, bucket: str, key: str, version_id: str, path: Path) -> ObjectVersion: ...

    def upload(self, path: Path, uri: str) -> None: ...


class ExecutionStatus(StrEnum):
    """Of an execution; UNKNOWN when Step Functions never heard of it."""

    RUNNING = "RUNNING"
    ENDED = "ENDED"
    UNKNOWN = "UNKNOWN"


class Workflow(Protocol):
    """The state machines."""

    def retrain_execution_arn(self, run_id: str) -> str: ...

    def validate_large_execution_arn(self, name: str) -> str: ...

    def start_retrain(self, run: Run) -> None:
        """Starts the execution named after the run; one that exists already counts as started."""
        ...

    def start_ingest(self, event: dict[str, Any]) -> None: ...

    def status(self, execution_arn: str) -> ExecutionStatus: ...

    def task_succeeded(self, token: str, result: Contract) -> None:
        """A token already answered or timed out is no error."""
        ...

    def task_failed(self, token: str, error: str, cause: str) -> None:
        """A token already answered or timed out is no error."""
        ...


class TrainingJobs(Protocol):
    """SageMaker's training jobs."""

    def completed(self, name: str) -> TrainingResult | None:
        """What the job left; None unless it completed."""
        ...


class StartedJobs(NamedTuple):
    """The jobs that a run may have started: names without their retry suffix, and where preprocessing writes."""

    training: frozenset[str]
    transform: frozenset[str]
    preprocess_output: str | None  # None when it was done before
    since: datetime


class Jobs(Protocol):
    """The jobs of runs, when nobody waits for them any more."""

    def stop(self, started: StartedJobs) -> list[str]:
        """Tells all that still work to stop; the preprocess runs that have not ended yet."""
        ...


class ScoringJob(NamedTuple):
    """A batch transform job that ended: what it is billed by."""

    seconds: float
    instance_type: str


class ScoringJobs(Protocol):
    """SageMaker's batch transform jobs."""

    def scoring(self, name: str) -> ScoringJob | None:
        """The job's time; None unless it began and ended."""
        ...


class EndpointDescription(NamedTuple):
    """What DescribeEndpoint says; `config_name` is the live one."""

    name: str
    config_name: str
    status: str  # InService | Creating | Updating | RollingBack | Failed | …
    modified: datetime  # when its last change was asked for or ended
    failure_reason: str = ""
    full_weight: bool = True  # no change is pending, and every variant has the weight it is to have


class Prediction(NamedTuple):
    """One answer of the endpoint, with the time it took as seen from here."""

    body: Any
    milliseconds: float


class EndpointConfig(NamedTuple):
    """A configuration to make."""

    name: str
    model_name: str
    deploy: "DeploySection"
    tags: dict[str, str]
    shadow: str | None = None  # model that gets copies of the requests
    captures_uri: str | None = None  # where SageMaker keeps requests and answers of instances


class Endpoints(Protocol):
    """SageMaker's models in service. What is in progress or throttled raises DependencyBusyError."""

    def describe(self, name: str) -> EndpointDescription | None: ...

    def ensure_config(self, wanted: EndpointConfig) -> None:
        """Makes a configuration unless it stands."""
        ...

    def create(self, name: str, config_name: str, tags: dict[str, str]) -> None: ...

    def update(self, name: str, config_name: str, deploy: "DeploySection | None" = None) -> None:
        """Changes the configuration by the strategy of `deploy`, or at once without one."""
        ...

    def delete(self, name: str) -> None: ...

    def watch(self, name: str, config_name: str, watch: Watch) -> None:
        """Makes the endpoint's alarms, or corrects them: they look at what serves under this configuration."""
        ...

    def unwatch(self, name: str) -> None:
        """Removes the endpoint's alarms; it is fine when there are none."""
        ...

    def scale(self, name: str, scaling: Scaling) -> None:
        """Lets the instance count of an endpoint in service follow its requests."""
        ...

    def unscale(self, name: str) -> None:
        """Leaves the instance count alone; it is fine when it never followed anything."""
        ...

    def scales(self, name: str) -> bool:
        """Whether the instance count follows anything."""
        ...

    def tripped(self, name: str, since: datetime) -> list[str]:
        """The endpoint's alarms that went off since then, each with its reason."""
        ...

    def health(self, name: str, config_name: str, since: datetime, until: datetime, *, shadow: bool) -> VariantHealth:
        """The metrics of the serving variant, or of the shadow, under one configuration, over whole minutes."""
        ...

    def predict(self, name: str, record: dict[str, Any]) -> Prediction: ...


class Hosting(Protocol):
    """All that SageMaker hosts under a prefix, and CloudWatch measures of it. Throttling raises DependencyBusyError."""

    def endpoints(self, prefix: str) -> "list[LiveEndpoint]":
        """Every endpoint, without its invocations."""
        ...

    def invocations(self, endpoint_name: str, since: datetime, until: datetime) -> float:
        """Requests to any of the endpoint's variants."""
        ...

    def configs(self, prefix: str) -> "list[Named]": ...

    def models(self, prefix: str) -> "list[Named]": ...

    def delete_config(self, name: str) -> bool:
        """True; one that is gone is no error."""
        ...

    def delete_model(self, name: str) -> bool:
        """True; one that is gone is no error."""
        ...


class Predictions(Protocol):
    """What SageMaker's models in service answer."""

    def predict(self, endpoint_name: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One prediction for each record, in their order.

        EndpointMissingError when there is no such endpoint, ModelFailedError when the model raised,
        DependencyBusyError while it is throttled or not ready.
        """
        ...


class Scorer(Protocol):
    """Reads files under a contract and writes their predictions."""

    def __call__(
        self,
        file: Path,
        data: "DataSection",
        answers: Callable[[Sequence[dict[str, Any]]], Sequence[dict[str, Any]]],
        into: Path,
    ) -> int:
        """Writes a prediction for every row of `file`, in its format, to `into`; the number of rows.

        FileUnscorableError says what in the file breaks the contract, and where.
        """
        ...


class Scored(NamedTuple):
    """A file of predictions as it stands in S3."""

    etag: str
    version_id: str  # of the file that was scored


class ScoredFiles(Protocol):
    """Predictions in the data bucket, each with the version of the file it was made from."""

    def source_of(self, key: str) -> Scored | None:
        """What stands under the key; None when nothing does."""
        ...

    def latest_version(self, key: str) -> str | None:
        """The newest version of an uploaded file; None when it was deleted."""
        ...

    def put(self, path: Path, key: str, version_id: str, model: str, replaces: Scored | None) -> bool:
        """Writes predictions in place of what was seen before; False, and nothing written, when that has changed."""
        ...


class DeadLetters(Protocol):
    """The queue of files to score, and the one of those that cannot be."""

    def bury(self, body: str, code: str, message: str) -> None:
        """Keeps a message with the reason why it failed for good."""
        ...

    def postpone(self, receipt: str, seconds: int) -> None:
        """Hides a message that stays in the queue until it is tried again; harmless when it is gone."""
        ...


class Captures(Protocol):
    """The requests and answers that are kept for monitoring."""

    def keep(
        self, endpoint_name: str, records: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], percent: int
    ) -> None:
        """Keeps a share of the requests; never fails and never holds a caller up for long."""
        ...


class Publisher(Protocol):
    """The custom event bus."""

    def announce(self, detail_type: str, announcement: Announcement) -> None: ...


class Schedule(Protocol):
    """EventBridge Scheduler."""

    def start_run_at(self, name: str, when: datetime, request: "StartRunRequest") -> None:
        """Has start_run invoked once; a schedule of that name which stands already is left as it is."""
        ...


class Topic(Protocol):
    """People's mailbox."""

    def publish(self, subject: str, message: str, attributes: dict[str, str]) -> None: ...


class Clock(Protocol):
    """Now, with a zone."""

    def __call__(self) -> datetime: ...
