"""The endpoint: its change is recorded before SageMaker is called; whoever sees it end answers (`resuming`)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from ratchet.contracts.run import Champion, DeploymentResult, Purpose, Run, RunPlan
from ratchet.contracts.states import DeployEndpointRequest
from ratchet.domain import identity
from ratchet.domain.deploy_section import CompiledDeploy, DeploySection
from ratchet.domain.errors import DependencyBusyError, StaleRunError
from ratchet.domain.ledger import Deployment, Ledger, RunRecord, claim_of
from ratchet.domain.ports import Clock, EndpointConfig, EndpointDescription, Endpoints, ObjectStore, Workflow
from ratchet.domain.resuming import answer, ending
from ratchet.domain.selection import steps_of
from ratchet.domain.settling import Action, next_action, remove

_SPARE = timedelta(minutes=15)  # SageMaker may be late in ending what it limits itself


class _Change(NamedTuple):
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
        return change._replace(endpoint=identity.trial_name(prefix, pipeline), watched=False)
    if request.purpose is Purpose.SHADOW:
        if champion is None:
            raise StaleRunError(f"{request.run.run_id}: there is no champion whose requests could be copied")
        config = identity.shadow_config_name(model)
        return change._replace(config=config, model=champion.model_name, shadow=model)
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
        if action is Action.NONE and isinstance(end := ending(deployment, live, self.clock()), DeploymentResult):
            answer(self.ledger, self.workflow, deployment, end)

    def _planned(self, run: Run) -> tuple[RunRecord, RunPlan]:
        record = self.ledger.run(run.pipeline, run.run_id)
        if record is None or record.plan is None:
            raise StaleRunError(f"the ledger knows no plan of {run.run_id}; its claim was released")
        return record, record.plan

    def _deploy_section(self, plan: RunPlan) -> DeploySection:
        document = self.store.read_json(steps_of(plan)[1].definition_uri)
        return CompiledDeploy.model_validate(document).deploy

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
