"""The world outside, as far as use cases see it: every fake keeps what it was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ratchet.contracts.base import Contract
from ratchet.contracts.run import Announcement, Run, Scaling, TrainingResult, VariantHealth, Watch
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.errors import DependencyBusyError, EndpointMissingError
from ratchet.domain.ports import (
    EndpointConfig,
    EndpointDescription,
    ExecutionStatus,
    Prediction,
    ScoringJob,
    StartedJobs,
)
from tests.unit import samples


@dataclass
class FakeClock:
    now: datetime = samples.NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@dataclass
class FakeWorkflow:
    started: list[Run] = field(default_factory=list)
    ingested: list[dict[str, Any]] = field(default_factory=list)
    statuses: dict[str, ExecutionStatus] = field(default_factory=dict)
    answers: list[tuple[str, Any]] = field(default_factory=list)
    start_error: Exception | None = None

    def retrain_execution_arn(self, run_id: str) -> str:
        return f"{samples.EXECUTION_ARN}:{run_id}"

    def validate_large_execution_arn(self, name: str) -> str:
        return f"{samples.EXECUTION_ARN.replace('-retrain', '-validate-large')}:{name}"

    def start_retrain(self, run: Run) -> None:
        if self.start_error is not None:
            raise self.start_error
        self.started.append(run)

    def start_ingest(self, event: dict[str, Any]) -> None:
        self.ingested.append(event)

    def status(self, execution_arn: str) -> ExecutionStatus:
        return self.statuses.get(execution_arn, ExecutionStatus.RUNNING)

    def task_succeeded(self, token: str, result: Contract) -> None:
        self.answers.append((token, result))

    def task_failed(self, token: str, error: str, cause: str) -> None:
        self.answers.append((token, (error, cause)))


@dataclass
class FakeEndpoints:
    """Changes begin here and end when a test says so by `finish`."""

    clock: FakeClock
    live: dict[str, EndpointDescription] = field(default_factory=dict)
    configs: dict[str, EndpointConfig] = field(default_factory=dict)
    strategies: dict[str, str] = field(default_factory=dict)  # endpoint -> of its last update
    watched: dict[str, Watch] = field(default_factory=dict)
    watched_configs: dict[str, str] = field(default_factory=dict)  # endpoint -> what its alarms look at
    scaled: dict[str, Scaling] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)  # that went off
    healths: dict[bool, VariantHealth] = field(default_factory=dict)  # of the shadow, or not
    measured: list[tuple[str, str]] = field(default_factory=list)  # endpoint, configuration
    wanted: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def describe(self, name: str) -> EndpointDescription | None:
        return self.live.get(name)

    def ensure_config(self, wanted: EndpointConfig) -> None:
        self.configs.setdefault(wanted.name, wanted)

    def create(self, name: str, config_name: str, tags: dict[str, str]) -> None:
        self.calls.append(f"create {name} {config_name}")
        self.wanted[name] = config_name
        self.live[name] = EndpointDescription(name, config_name, "Creating", self.clock())

    def update(self, name: str, config_name: str, deploy: DeploySection | None = None) -> None:
        if self.live[name].status != "InService":
            raise DependencyBusyError("Cannot update in-progress endpoint")
        self.calls.append(f"update {name} {config_name}")
        self.strategies[name] = deploy.strategy if deploy else "put back"
        self.wanted[name] = config_name
        self.live[name] = self.live[name]._replace(status="Updating", modified=self.clock())

    def delete(self, name: str) -> None:
        self.calls.append(f"delete {name}")
        del self.live[name]

    def watch(self, name: str, config_name: str, watch: Watch) -> None:
        self.watched[name] = watch
        self.watched_configs[name] = config_name

    def unwatch(self, name: str) -> None:
        self.watched.pop(name, None)

    def scale(self, name: str, scaling: Scaling) -> None:
        self.scaled[name] = scaling

    def unscale(self, name: str) -> None:
        self.scaled.pop(name, None)

    def scales(self, name: str) -> bool:
        return name in self.scaled

    def tripped(self, name: str, since: datetime) -> list[str]:
        return self.alarms

    def health(self, name: str, config_name: str, since: datetime, until: datetime, *, shadow: bool) -> VariantHealth:
        self.measured.append((name, config_name))
        return self.healths[shadow]

    def predict(self, name: str, record: dict[str, Any]) -> Prediction:
        self.asked.append(record)
        return self.predictions.pop(0)

    def serve(self, name: str, config_name: str) -> None:
        """An endpoint that has been in service for long."""
        self.live[name] = EndpointDescription(name, config_name, "InService", samples.NOW - timedelta(days=1))

    def finish(self, name: str) -> None:
        self.clock.advance(seconds=90)
        self.live[name] = EndpointDescription(name, self.wanted[name], "InService", self.clock())

    def roll_back(self, name: str, reason: str) -> None:
        self.clock.advance(seconds=90)
        self.live[name] = self.live[name]._replace(status="InService", modified=self.clock(), failure_reason=reason)


@dataclass
class FakePredictions:
    """Every endpoint that is told of answers 1, 2, 3 …; another one is missing."""

    endpoints: set[str] = field(default_factory=set)
    asked: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    error: Exception | None = None

    def predict(self, endpoint_name: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        if endpoint_name not in self.endpoints:
            raise EndpointMissingError(endpoint_name)
        self.asked.append((endpoint_name, list(records)))
        return [{"prediction": float(place)} for place, _ in enumerate(records, 1)]


@dataclass
class FakeCaptures:
    kept: list[tuple[str, int, int]] = field(default_factory=list)  # endpoint, records, percent

    def keep(
        self, endpoint_name: str, records: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], percent: int
    ) -> None:
        assert len(records) == len(answers)
        self.kept.append((endpoint_name, len(records), percent))


@dataclass
class FakePublisher:
    announced: list[tuple[str, Announcement]] = field(default_factory=list)

    def announce(self, detail_type: str, announcement: Announcement) -> None:
        self.announced.append((detail_type, announcement))


@dataclass
class FakeSchedule:
    planned: dict[str, tuple[datetime, StartRunRequest]] = field(default_factory=dict)
    error: Exception | None = None

    def start_run_at(self, name: str, when: datetime, request: StartRunRequest) -> None:
        if self.error is not None:
            raise self.error
        self.planned.setdefault(name, (when, request))


@dataclass
class FakeTrainingJobs:
    ended: dict[str, TrainingResult] = field(default_factory=dict)

    def completed(self, name: str) -> TrainingResult | None:
        return self.ended.get(name)


@dataclass
class FakeJobs:
    """Keeps what it was told to stop; `writing` are the answers, one for each time."""

    stopped: list[StartedJobs] = field(default_factory=list)
    writing: list[list[str]] = field(default_factory=list)

    def stop(self, started: StartedJobs) -> list[str]:
        self.stopped.append(started)
        return self.writing.pop(0) if self.writing else []


@dataclass
class FakeScoringJobs:
    ended: dict[str, ScoringJob] = field(default_factory=dict)

    def scoring(self, name: str) -> ScoringJob | None:
        return self.ended.get(name)


@dataclass
class FakeTopic:
    published: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def publish(self, subject: str, message: str, attributes: dict[str, str]) -> None:
        self.published.append((subject, message, attributes))
