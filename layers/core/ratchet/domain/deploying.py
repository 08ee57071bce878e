"""The endpoint: its change is recorded before SageMaker is called, and answered by whoever sees it end."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ratchet.contracts.run import Champion, DeployEndpointRequest, DeploymentResult, Purpose, Run, RunPlan
from ratchet.domain import identity
from ratchet.domain.definition import CompiledDefinition
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.errors import (
    DependencyBusyError,
    EndpointFailedError,
    EndpointRolledBackError,
    StaleRunError,
)
from ratchet.domain.ledger import Deployment, Ledger, RunRecord, claim_of, note
from ratchet.domain.ports import Clock, EndpointConfig, EndpointDescription, Endpoints, ObjectStore, Workflow
from ratchet.domain.selection import steps_of
from ratchet.domain.settling import GONE_WRONG, Action, next_action, remove, unscaled

# DescribeEndpoint may not know an endpoint for a moment after it was made.
_VISIBLE_AFTER = timedelta(minutes=5)
_SPARE = timedelta(minutes=15)  # SageMaker may be late in ending what it limits itself


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
class _Change:
    """One endpoint change of a run, as its purpose and its definition have it."""

    endpoint: str
    config: str
    model: str  # that serves
    shadow: str | None  # model that gets copies
    deploy: DeploySection
    watched: bool


def change_of(request: DeployEndpointRequest, deploy: DeploySection, champion: Champion | None, prefix: str) -> _Change:
    """What the run wants of which endpoint."""
    pipeline, model = request.run.pipeline, request.selection.model_name
    change = _Change(
        endpoint=identity.endpoint_name(prefix, pipeline, deploy.mode),
        config=model,  # a run's model and configuration share a name
        model=model,
        shadow=None,
        deploy=deploy,
        watched=True,
    )
    if request.purpose is Purpose.TRIAL:
        return replace(change, endpoint=identity.trial_name(prefix, pipeline), watched=False)
    if request.purpose is Purpose.SHADOW:
        if champion is None:
            raise StaleRunError(f"{request.run.run_id}: there is no champion whose requests could be copied")
        config = identity.shadow_config_name(model)
        return replace(change, config=config, model=champion.model_name, shadow=model)
    return change


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
    artifacts_bucket: str

    def __call__(self, request: DeployEndpointRequest) -> None:
        run = request.run
        record, plan = self._planned(run)
        change = change_of(request, self._deploy_section(plan), plan.champion, self.resource_prefix)
        if request.purpose is Purpose.SERVE:
            remove(self.endpoints, identity.trial_name(self.resource_prefix, run.pipeline))
        live = self.endpoints.describe(change.endpoint)
        earlier = self.ledger.deployment(run.pipeline)
        ours = earlier if earlier is not None and _same(earlier, run, change) else None
        action = next_action(live, change.config)
        if live is not None and live.status == "Deleting":
            raise DependencyBusyError(f"endpoint {live.name} is being deleted; it is made anew once it is gone")
        if action is Action.WAIT and ours is None:
            raise DependencyBusyError(f"endpoint {live.name if live else ''} is in somebody else's update")
        deployment = self._deployment(request, change, live, ours if action in (Action.WAIT, Action.NONE) else None)
        self.ledger.begin_deployment(claim_of(run, record.execution_arn), deployment)
        self._advance(action, change, deployment, plan)
        if action is Action.NONE and (end := ending(deployment, live, self.clock())) is not None:
            answer(self.ledger, self.workflow, deployment, end)

    def _planned(self, run: Run) -> tuple[RunRecord, RunPlan]:
        record = self.ledger.run(run.pipeline, run.run_id)
        if record is None or record.plan is None:
            raise StaleRunError(f"the ledger knows no plan of {run.run_id}; its claim was released")
        return record, record.plan

    def _deploy_section(self, plan: RunPlan) -> DeploySection:
        document = self.store.read_json(steps_of(plan)[1].definition_uri)
        return CompiledDefinition.model_validate(document).definition.deploy

    def _deployment(
        self,
        request: DeployEndpointRequest,
        change: _Change,
        live: EndpointDescription | None,
        ours: Deployment | None,
    ) -> Deployment:
        """A retry of the task waits with its new token for the change that it asked for before."""
        if ours is not None:
            return ours.model_copy(update={"task_token": request.task_token})
        now = self.clock()
        return Deployment(
            pipeline=request.run.pipeline,
            run_id=request.run.run_id,
            fence=request.run.fence,
            endpoint_name=change.endpoint,
            wanted_config=change.config,
            previous_config=live.config_name if live else None,
            task_token=request.task_token,
            started_at=now,
            ends_by=now + change.deploy.longest_change + _SPARE,
            purpose=request.purpose,
        )

    def _advance(self, action: Action, change: _Change, deployment: Deployment, plan: RunPlan) -> None:
        name = change.endpoint
        if action is Action.DELETE:
            self.endpoints.delete(name)
            raise DependencyBusyError(f"endpoint {name} had failed; it is deleted before it is made anew")
        if action not in (Action.CREATE, Action.UPDATE):
            return
        tags = {
            "ratchet:pipeline": deployment.pipeline,
            "ratchet:run": deployment.run_id,
            "ratchet:stage": self.stage,
        }
        captures = identity.captures_uri(self.artifacts_bucket)
        self.endpoints.ensure_config(
            EndpointConfig(change.config, change.model, change.deploy, tags, change.shadow, captures)
        )
        if change.watched and plan.rollout is not None:
            # Before the change: its rollback looks at these alarms, and they at its instances alone.
            self.endpoints.watch(name, change.config, plan.rollout.watch)
        if action is Action.CREATE:
            self.endpoints.create(name, change.config, tags)
        else:
            self.endpoints.update(name, change.config, change.deploy)


def _same(deployment: Deployment, run: Run, change: _Change) -> bool:
    found = deployment.fence, deployment.endpoint_name, deployment.wanted_config
    return found == (run.fence, change.endpoint, change.config)


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
        return replace(end, cause="; ".join((end.cause, *(f"alarm {alarm}" for alarm in tripped))))
