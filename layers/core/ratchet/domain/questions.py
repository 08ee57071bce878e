"""What may be out of order with a pipeline: one set of questions; audit tells the answers, reconcile acts on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from ratchet.contracts.run import Champion, DeploymentResult
from ratchet.domain import identity
from ratchet.domain.ledger import Deployment, LargeValidation, Ledger, PipelineState, Retry
from ratchet.domain.ports import (
    Clock,
    EndpointDescription,
    Endpoints,
    ExecutionStatus,
    ObjectStore,
    ObjectVersion,
    Workflow,
)
from ratchet.domain.resuming import Failure, ending
from ratchet.domain.settling import Action, next_action, unscaled

PERIOD = timedelta(minutes=5)  # of reconcile's schedule; younger things may still be on their way


class Unjudged(NamedTuple):
    """An object version without a verdict under the present data contract."""

    version: ObjectVersion
    seen: bool  # its bytes were judged before, under another contract
    died: LargeValidation | None = None  # its large validation ended, or never started, and left no verdict


class LostOwner(NamedTuple):
    """A claim whose execution does not run."""

    execution_arn: str
    run_id: str
    began: bool  # the execution ran once; else the claim never came to it


class LeftDeployment(NamedTuple):
    """A deployment whose run was not told how it ended; `end` is None when that run is over."""

    deployment: Deployment
    end: DeploymentResult | Failure | None


class StrayEndpoint(NamedTuple):
    """Between runs, an endpoint that does not serve the champion."""

    champion: Champion
    live: EndpointDescription | None


@dataclass(frozen=True)
class Questions:
    """Each is asked of a pipeline's state, read from the ledger just before; the healthy answer is None, or nothing."""

    ledger: Ledger
    store: ObjectStore
    workflow: Workflow
    endpoints: Endpoints
    clock: Clock
    data_bucket: str
    resource_prefix: str

    def unjudged(self, state: PipelineState) -> Iterator[Unjudged]:
        """Which object versions did no event announce, or has the present data contract not judged? Not those that a
        large validation is judging."""
        if state.definition is None:
            return
        known, contract = self.ledger.objects(state.pipeline), state.definition.data_hash
        validations = (large for large in self.ledger.larges(state.pipeline) if large.data_hash == contract)
        larges = {(large.key, large.version_id): large for large in validations}
        judged = {verdict.verdict_id for verdict in self.ledger.verdicts(state.pipeline)}
        withdrawn = {withdrawal.upload_id for withdrawal in self.ledger.withdrawals(state.pipeline)}
        for version in self.store.versions(self.data_bucket, f"incoming/{state.pipeline}/"):
            upload_id = known.get((version.key, version.version_id))
            if upload_id in withdrawn or version.key.endswith("/"):
                continue
            if upload_id is not None and identity.verdict_id(upload_id, contract) in judged:
                continue
            large = larges.get((version.key, version.version_id))
            if large is None or self.workflow.status(large.execution_arn) is not ExecutionStatus.RUNNING:
                yield Unjudged(version, seen=upload_id is not None, died=large)

    def is_idle(self, state: PipelineState) -> bool:
        """Is the pipeline behind, and nobody runs it? One that uploads do not start is left to its schedule."""
        return state.owner is None and state.behind and state.definition is not None and state.definition.on_upload

    def overdue_retry(self, state: PipelineState) -> Retry | None:
        """Which retry should have begun, and nobody runs it?"""
        if state.owner is not None or state.behind or state.retry is None:
            return None
        return state.retry if self.clock() - state.retry.at > PERIOD else None

    def lost_owner(self, state: PipelineState) -> LostOwner | None:
        """Does somebody own the pipeline whose execution does not run? A claim is older than its execution."""
        if state.owner is None or state.claimed_at is None:
            return None
        run_id = identity.run_id(state.pipeline, state.fence)
        status = self.workflow.status(state.owner)
        if status is ExecutionStatus.ENDED:
            return LostOwner(state.owner, run_id, began=True)
        if status is ExecutionStatus.UNKNOWN and self.clock() - state.claimed_at > PERIOD:
            # A run with a plan began: its execution was deleted with its state machine.
            record = self.ledger.run(state.pipeline, run_id)
            return LostOwner(state.owner, run_id, began=record is not None and record.plan is not None)
        return None

    def left_deployment(self, state: PipelineState) -> LeftDeployment | None:
        """Has a deployment ended without its run being told? The event of an endpoint's change may be lost."""
        deployment = self.ledger.deployment(state.pipeline)
        if deployment is None:
            return None
        if state.owner is None or deployment.fence != state.fence:
            return LeftDeployment(deployment, None)
        end = ending(deployment, self.endpoints.describe(deployment.endpoint_name), self.clock())
        return LeftDeployment(deployment, end) if end is not None else None

    def leftover_endpoints(self, state: PipelineState) -> list[str]:
        """Which endpoints did a run leave, of a trial or of a mode that the champion does not serve in?"""
        if state.owner is not None:
            return []
        serving = state.champion.endpoint_name if state.champion else None
        others = [name for name in identity.endpoint_names(self.resource_prefix, state.pipeline) if name != serving]
        found = [live for name in others if (live := self.endpoints.describe(name)) is not None]
        return [live.name for live in found if live.status != "Deleting"]

    def stray_endpoint(self, state: PipelineState) -> StrayEndpoint | None:
        """Does another model than the champion serve? A run that owns the pipeline may be changing the endpoint, and
        one that nobody asked for so long that it was put to sleep is missed by nobody."""
        if state.champion is None or state.owner is not None or state.asleep_since is not None:
            return None
        live = self.endpoints.describe(state.champion.endpoint_name)
        if next_action(live, state.champion.endpoint_config_name) is Action.NONE:
            return None
        return StrayEndpoint(state.champion, live)

    def unscaled_endpoint(self, state: PipelineState) -> Champion | None:
        """Which champion ought to scale, and serves without bounds? The event of its endpoint's start may be lost."""
        return unscaled(self.endpoints, state)
