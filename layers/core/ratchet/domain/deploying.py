"""The endpoint: its change is recorded before SageMaker is called, and answered by whoever sees it end."""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any

from ratchet.contracts.run import (
    Champion,
    DeployEndpointRequest,
    DeploymentResult,
    Verification,
    VerifyEndpointRequest,
)
from ratchet.domain import identity
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.errors import (
    DependencyBusyError,
    EndpointFailedError,
    EndpointRolledBackError,
    PredictionMismatchError,
    StaleRunError,
)
from ratchet.domain.ledger import Deployment, Ledger, claim_of
from ratchet.domain.ports import Clock, EndpointDescription, Endpoints, ObjectStore, Workflow
from ratchet.domain.scores import HoldoutRow, holdout_size, holdout_stream, predictions
from ratchet.domain.selection import steps_of

GOLDEN_ROWS = 20
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-6

# DescribeEndpoint may not know an endpoint for a moment after it was made.
_VISIBLE_AFTER = timedelta(minutes=5)

# SageMaker leaves none of these by itself. One that failed to roll back still serves, on a mix of two configurations.
_GONE_WRONG = frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"})


class Action(StrEnum):
    """What brings an endpoint to the wanted configuration next."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"  # what serves nobody is made anew: SageMaker updates no failed endpoint
    WAIT = "wait"
    NONE = "none"


def next_action(live: EndpointDescription | None, wanted_config: str) -> Action:
    """Decides from what DescribeEndpoint says alone."""
    if live is None:
        return Action.CREATE
    if live.status == "UpdateRollbackFailed":
        return Action.UPDATE
    if live.status in _GONE_WRONG:
        return Action.DELETE
    if live.status != "InService":
        return Action.WAIT
    return Action.NONE if live.config_name == wanted_config else Action.UPDATE


@dataclass(frozen=True)
class Failure:
    """A deployment that ended without the wanted configuration in service."""

    error: str  # the class name that Catch matches
    cause: str


def ending(
    deployment: Deployment, live: EndpointDescription | None, now: datetime
) -> DeploymentResult | Failure | None:
    """How a deployment ended, or None while it goes on.

    InService alone proves nothing: an endpoint is so before its update begins, and again on the old configuration
    after a rollback.
    """
    elapsed = now - deployment.started_at
    if live is None:
        gone = Failure(EndpointFailedError.__name__, f"endpoint {deployment.endpoint_name} is not there")
        return gone if elapsed > _VISIBLE_AFTER else None
    if live.status == "Failed":
        return Failure(EndpointFailedError.__name__, f"endpoint {live.name} failed: {live.failure_reason}")
    if live.status in _GONE_WRONG and live.modified > deployment.started_at:
        reason = live.failure_reason or "SageMaker gave no reason"
        return Failure(EndpointFailedError.__name__, f"endpoint {live.name} is {live.status}: {reason}")
    if live.status == "InService" and live.config_name == deployment.wanted_config:
        return DeploymentResult(
            endpoint_name=live.name, endpoint_config_name=live.config_name, seconds=elapsed.total_seconds()
        )
    if live.status == "InService" and live.modified > deployment.started_at:
        reason = live.failure_reason or "SageMaker gave no reason"
        cause = f"endpoint {live.name} is back on {live.config_name}: {reason}"
        return Failure(EndpointRolledBackError.__name__, cause)
    return None


def answer(ledger: Ledger, workflow: Workflow, deployment: Deployment, end: DeploymentResult | Failure) -> None:
    """Answers the task token, then forgets the deployment: a crash between the two repeats a harmless answer."""
    if isinstance(end, Failure):
        workflow.task_failed(deployment.task_token, end.error, end.cause)
    else:
        workflow.task_succeeded(deployment.task_token, end)
    ledger.end_deployment(deployment.pipeline, deployment.fence)


def put_back(endpoints: Endpoints, name: str, champion: Champion | None, tags: dict[str, str]) -> None:
    """Returns once the endpoint is the champion's, or gone when there is none; DependencyBusyError until then."""
    live = endpoints.describe(name)
    if champion is None:
        if live is not None and live.status in ("InService", *_GONE_WRONG):
            endpoints.delete(name)
        elif live is not None and live.status != "Deleting":
            raise DependencyBusyError(f"endpoint {name} is {live.status}; it is deleted once that has ended")
        return
    action = next_action(live, champion.endpoint_config_name)
    if action is Action.CREATE:
        endpoints.create(name, champion.endpoint_config_name, tags)
    elif action is Action.UPDATE:
        endpoints.update(name, champion.endpoint_config_name)
    elif action is Action.DELETE:
        endpoints.delete(name)
    if action is not Action.NONE:
        raise DependencyBusyError(f"endpoint {name} is on its way back to {champion.endpoint_config_name}")


@dataclass(frozen=True)
class DeployEndpoint:
    """Puts the candidate on the endpoint; the task token waits for the endpoint's event."""

    ledger: Ledger
    store: ObjectStore
    endpoints: Endpoints
    workflow: Workflow
    clock: Clock
    resource_prefix: str
    stage: str

    def __call__(self, request: DeployEndpointRequest) -> None:
        run = request.run
        record = self.ledger.run(run.pipeline, run.run_id)
        if record is None or record.plan is None:
            raise StaleRunError(f"the ledger knows no plan of {run.run_id}; its claim was released")
        live = self.endpoints.describe(identity.endpoint_name(self.resource_prefix, run.pipeline))
        earlier = self.ledger.deployment(run.pipeline)
        ours = earlier if earlier is not None and earlier.fence == run.fence else None
        action = next_action(live, request.selection.model_name)
        if live is not None and live.status == "Deleting":
            raise DependencyBusyError(f"endpoint {live.name} is being deleted; it is made anew once it is gone")
        if action is Action.WAIT and ours is None:
            raise DependencyBusyError(f"endpoint {live.name if live else ''} is in somebody else's update")
        deployment = self._deployment(request, live, ours, action)
        self.ledger.begin_deployment(claim_of(run, record.execution_arn), deployment)
        self._advance(action, deployment, steps_of(record.plan)[1].definition_uri)
        if action is Action.NONE and (end := ending(deployment, live, self.clock())) is not None:
            answer(self.ledger, self.workflow, deployment, end)

    def _deployment(
        self,
        request: DeployEndpointRequest,
        live: EndpointDescription | None,
        ours: Deployment | None,
        action: Action,
    ) -> Deployment:
        """A retry of the task waits with its new token for the change that it asked for before."""
        if ours is not None and action in (Action.WAIT, Action.NONE):
            return ours.model_copy(update={"task_token": request.task_token})
        return Deployment(
            pipeline=request.run.pipeline,
            run_id=request.run.run_id,
            fence=request.run.fence,
            endpoint_name=identity.endpoint_name(self.resource_prefix, request.run.pipeline),
            wanted_config=request.selection.model_name,
            previous_config=live.config_name if live else None,
            task_token=request.task_token,
            started_at=self.clock(),
        )

    def _advance(self, action: Action, deployment: Deployment, definition_uri: str) -> None:
        name, config = deployment.endpoint_name, deployment.wanted_config
        if action is Action.DELETE:
            self.endpoints.delete(name)
            raise DependencyBusyError(f"endpoint {name} had failed; it is deleted before it is made anew")
        if action in (Action.CREATE, Action.UPDATE):
            deploy = CompiledDefinition.model_validate(self.store.read_json(definition_uri)).definition.deploy
            tags = {
                "ratchet:pipeline": deployment.pipeline,
                "ratchet:run": deployment.run_id,
                "ratchet:stage": self.stage,
            }
            self.endpoints.ensure_config(config, config, deploy, tags)  # a run's model and configuration share a name
            if action is Action.CREATE:
                self.endpoints.create(name, config, tags)
            else:
                self.endpoints.update(name, config)


@dataclass(frozen=True)
class ResumeDeployment:
    """Any event of any endpoint comes here: it looks at the endpoint and decides."""

    ledger: Ledger
    endpoints: Endpoints
    workflow: Workflow
    clock: Clock
    resource_prefix: str

    def __call__(self, endpoint_name: str) -> str:
        """Returns what was done, for the log."""
        pipeline = identity.pipeline_of_endpoint(self.resource_prefix, endpoint_name)
        deployment = self.ledger.deployment(pipeline) if pipeline else None
        if deployment is None:
            return f"no deployment of {endpoint_name} is under way"
        end = ending(deployment, self.endpoints.describe(endpoint_name), self.clock())
        if end is None:
            return f"{endpoint_name} is still on its way to {deployment.wanted_config}"
        answer(self.ledger, self.workflow, deployment, end)
        return f"{deployment.run_id}: {end.cause if isinstance(end, Failure) else 'in service'}"


@dataclass(frozen=True)
class VerifyEndpoint:
    """Asks the endpoint for golden rows: it must answer what the judge saw."""

    store: ObjectStore
    endpoints: Endpoints

    def __call__(self, request: VerifyEndpointRequest) -> Verification:
        golden = self._golden_rows(request)
        differences, latencies = [], []
        for row, expected in golden:
            prediction = self.endpoints.predict(request.deployment.endpoint_name, row.record)
            differences.append(difference(row.row, expected, prediction.body))
            latencies.append(prediction.milliseconds)
        return Verification(
            rows=len(golden),
            largest_difference=max(differences),
            latency_p50_ms=statistics.median(latencies),
            latency_max_ms=max(latencies),
        )

    def _golden_rows(self, request: VerifyEndpointRequest) -> list[tuple[HoldoutRow, dict[str, Any]]]:
        """Rows spread evenly over the holdout, each with the judge's answer."""
        selection = request.selection
        step = max(1, holdout_size(self.store, selection.holdout_uri) // GOLDEN_ROWS)
        golden = list(islice(holdout_stream(self.store, selection.holdout_uri), 0, step * GOLDEN_ROWS, step))
        output = next(model.output_uri for model in selection.models_to_score if model.role == "candidate")
        seen = predictions(self.store, output, (row.row for row in golden))
        return [(row, seen[row.row]) for row in golden]


def difference(row: int, expected: dict[str, Any], answered: Any) -> float:
    """The largest difference of any number in two predictions; PredictionMismatchError beyond the tolerance."""
    ours, theirs = dict(_leaves(expected)), dict(_leaves(answered))
    largest = 0.0
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(name), theirs.get(name)
        if not _close(a, b):
            raise PredictionMismatchError(f"holdout row {row}: the endpoint answers {name} {b!r}, the judge saw {a!r}")
        if isinstance(a, float) and isinstance(b, float):
            largest = max(largest, abs(a - b))
    return largest


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        yield name or "the whole answer", float(value) if number else value


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(a == b)
