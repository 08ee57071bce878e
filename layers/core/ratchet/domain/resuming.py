"""How an endpoint's change ended, and who tells the run that waits for it."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from ratchet.contracts.run import DeploymentResult, Purpose, Run
from ratchet.domain import identity
from ratchet.domain.errors import EndpointFailedError, EndpointRolledBackError, StaleRunError
from ratchet.domain.ledger import Deployment, Ledger, note
from ratchet.domain.ports import Clock, EndpointDescription, Endpoints, Workflow
from ratchet.domain.settling import GONE_WRONG, unscaled

# DescribeEndpoint may not know an endpoint for a moment after it was made.
_VISIBLE_AFTER = timedelta(minutes=5)


class Failure(NamedTuple):
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
    if live.status == "InService" and live.config_name == deployment.wanted_config and live.full_weight:
        return DeploymentResult(
            endpoint_name=live.name,
            endpoint_config_name=live.config_name,
            seconds=elapsed.total_seconds(),
            started_at=deployment.started_at,
        )
    return _failure(deployment, live, now)


def _failure(deployment: Deployment, live: EndpointDescription, now: datetime) -> Failure | None:
    """How an endpoint that does not serve the wanted configuration failed, or None while it may still come to."""
    reason = live.failure_reason or "SageMaker gave no reason"
    changed = live.modified > deployment.started_at
    if live.status == "Failed":
        return Failure(EndpointFailedError.__name__, f"endpoint {live.name} failed: {live.failure_reason}")
    if live.status in GONE_WRONG and changed:
        return Failure(EndpointFailedError.__name__, f"endpoint {live.name} is {live.status}: {reason}")
    if live.status == "InService" and live.config_name != deployment.wanted_config and changed:
        return Failure(
            EndpointRolledBackError.__name__, f"endpoint {live.name} is back on {live.config_name}: {reason}"
        )
    if deployment.ends_by is not None and now > deployment.ends_by:
        elapsed = now - deployment.started_at
        cause = f"endpoint {live.name} is {live.status} after {elapsed}, longer than its change may take"
        return Failure(EndpointFailedError.__name__, cause)
    return None


def answer(ledger: Ledger, workflow: Workflow, deployment: Deployment, end: DeploymentResult | Failure) -> None:
    """Answers the task token, then forgets the deployment: a crash between the two repeats a harmless answer."""
    if isinstance(end, Failure):
        workflow.task_failed(deployment.task_token, end.error, end.cause)
    else:
        _note(ledger, deployment, end)
        workflow.task_succeeded(deployment.task_token, end)
    ledger.end_deployment(deployment)


def _note(ledger: Ledger, deployment: Deployment, end: DeploymentResult) -> None:
    """Should the run fail from here on, its record says since when its candidate may have answered."""
    if deployment.purpose is not Purpose.SERVE:
        return
    run = Run(pipeline=deployment.pipeline, run_id=deployment.run_id, fence=deployment.fence, reason="deployment")
    with suppress(StaleRunError):  # a late copy of the event: the run has ended
        note(ledger, run, deployment=end)


@dataclass(frozen=True)
class ResumeDeployment:
    """Any event of any endpoint comes here: it looks at the pipeline's deployment and decides."""

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
            state = self.ledger.pipeline(pipeline) if pipeline else None
            champion = unscaled(self.endpoints, state) if state else None
            if champion is None or champion.scaling is None or champion.endpoint_name != endpoint_name:
                return f"no deployment of {endpoint_name} is under way"
            self.endpoints.scale(endpoint_name, champion.scaling)
            return f"{endpoint_name} scales again"
        end = ending(deployment, self.endpoints.describe(deployment.endpoint_name), self.clock())
        if end is None:
            return f"{deployment.endpoint_name} is still on its way to {deployment.wanted_config}"
        if isinstance(end, Failure) and end.error == EndpointRolledBackError.__name__:
            end = self._with_alarms(deployment, end)
        answer(self.ledger, self.workflow, deployment, end)
        return f"{deployment.run_id}: {end.cause if isinstance(end, Failure) else 'in service'}"

    def _with_alarms(self, deployment: Deployment, end: Failure) -> Failure:
        """Names the alarms that went off during the change."""
        tripped = self.endpoints.tripped(deployment.endpoint_name, deployment.started_at)
        return end._replace(cause="; ".join((end.cause, *(f"alarm {alarm}" for alarm in tripped))))
