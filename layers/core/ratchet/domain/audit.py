"""Audit: what is unaccounted for, found by reading alone; reconcile finds by the same questions and then acts."""

from collections.abc import Iterator
from dataclasses import dataclass

from ratchet.contracts.base import Contract
from ratchet.contracts.run import RunOutcome
from ratchet.domain import identity
from ratchet.domain.deploying import Action, ending, next_action
from ratchet.domain.ledger import Ledger, PipelineState, RunRecord
from ratchet.domain.ports import (
    Clock,
    EndpointDescription,
    Endpoints,
    ExecutionStatus,
    ObjectStore,
    ObjectVersion,
    Workflow,
)
from ratchet.domain.snapshots import uploads_in


class Discrepancy(Contract):
    """One thing that is not as the ledger says, or that nobody answers for."""

    pipeline: str
    kind: str  # object | work | retry | owner | deployment | endpoint | upload
    what: str
    subject: str  # what it is about: an object version, an execution, an endpoint


class AuditReport(Contract):
    """No findings is the healthy answer."""

    pipelines: int
    findings: tuple[Discrepancy, ...] = ()


def unjudged(
    ledger: Ledger, store: ObjectStore, bucket: str, state: PipelineState
) -> Iterator[tuple[ObjectVersion, bool]]:
    """Object versions that the present data contract has not judged, each with whether its bytes were seen before."""
    if state.definition is None:
        return
    known = ledger.objects(state.pipeline)
    judged = {verdict.verdict_id for verdict in ledger.verdicts(state.pipeline)}
    withdrawn = {withdrawal.upload_id for withdrawal in ledger.withdrawals(state.pipeline)}
    for version in store.versions(bucket, f"incoming/{state.pipeline}/"):
        upload_id = known.get((version.key, version.version_id))
        if upload_id in withdrawn or version.key.endswith("/"):
            continue
        if upload_id is None or identity.verdict_id(upload_id, state.definition.data_hash) not in judged:
            yield version, upload_id is not None


def serves_champion(state: PipelineState, live: EndpointDescription | None) -> bool:
    """Whether the endpoint is in service on the champion's configuration; true while there is no champion."""
    return state.champion is None or next_action(live, state.champion.endpoint_config_name) is Action.NONE


@dataclass(frozen=True)
class Audit:
    """Asks every question of reconcile, and whether each accepted upload is in the last snapshot; changes nothing."""

    ledger: Ledger
    store: ObjectStore
    workflow: Workflow
    endpoints: Endpoints
    clock: Clock
    data_bucket: str

    def __call__(self, pipeline: str | None = None) -> AuditReport:
        states = [state for state in self.ledger.pipelines() if pipeline in (None, state.pipeline)]
        findings = tuple(found for state in states for found in self._of(state))
        return AuditReport(pipelines=len(states), findings=findings)

    def _of(self, state: PipelineState) -> Iterator[Discrepancy]:
        for question in (self._objects, self._work, self._owner, self._deployment, self._endpoint, self._uploads):
            for kind, subject, what in question(state):
                yield Discrepancy(pipeline=state.pipeline, kind=kind, subject=subject, what=what)

    def _objects(self, state: PipelineState) -> Iterator[tuple[str, str, str]]:
        for version, seen in unjudged(self.ledger, self.store, self.data_bucket, state):
            subject = f"s3://{self.data_bucket}/{version.key}?versionId={version.version_id}"
            yield "object", subject, "not judged under the present data contract" if seen else "has no verdict"

    def _work(self, state: PipelineState) -> Iterator[tuple[str, str, str]]:
        if state.owner is not None:
            return
        if state.behind:
            owed = f"work {state.work_seq} is accepted, {state.done_seq} is answered for, and no run owns the pipeline"
            yield "work", state.pipeline, owed
        elif state.retry is not None and self.clock() > state.retry.at:
            yield (
                "retry",
                state.pipeline,
                f"the retry of fence {state.retry.after} is due since {state.retry.at:%H:%M:%S}",
            )

    def _owner(self, state: PipelineState) -> Iterator[tuple[str, str, str]]:
        if state.owner is None:
            return
        status = self.workflow.status(state.owner)
        if status is not ExecutionStatus.RUNNING:
            says = "ended without closing its run" if status is ExecutionStatus.ENDED else "was never started"
            yield "owner", state.owner, f"owns the pipeline, but {says}"

    def _deployment(self, state: PipelineState) -> Iterator[tuple[str, str, str]]:
        deployment = self.ledger.deployment(state.pipeline)
        if deployment is None:
            return
        name = deployment.endpoint_name
        if state.owner is None or deployment.fence != state.fence:
            yield "deployment", name, f"the deployment of {deployment.run_id} is recorded, but its run is over"
        elif ending(deployment, self.endpoints.describe(name), self.clock()) is not None:
            yield "deployment", name, f"the deployment of {deployment.run_id} has ended, but its run was not told"

    def _endpoint(self, state: PipelineState) -> Iterator[tuple[str, str, str]]:
        """A run that owns the pipeline may be changing the endpoint."""
        if state.champion is None or state.owner is not None:
            return
        name = state.champion.endpoint_name
        live = self.endpoints.describe(name)
        if not serves_champion(state, live):
            now = f"{live.status} on {live.config_name}" if live else "not there"
            yield "endpoint", name, f"is {now}; the champion is {state.champion.endpoint_config_name}"

    def _uploads(self, state: PipelineState) -> Iterator[tuple[str, str, str]]:
        """Accepted work that is neither waiting, nor under way, nor in what was judged last."""
        if state.definition is None or state.owner is not None or state.behind:
            return
        verdicts = self.ledger.accepted(state.pipeline, state.definition.data_hash)
        last = _last_judged(self.ledger.runs(state.pipeline))
        if last == identity.snapshot_id([verdict.verdict_id for verdict in verdicts]):
            return
        held = (
            {held.verdict_id for held in uploads_in(self.ledger, self.store, state.pipeline, last)} if last else set()
        )
        for verdict in verdicts:
            if verdict.verdict_id not in held:
                yield "upload", verdict.upload_id, f"{verdict.key} is accepted, but in no snapshot that was judged last"


def _last_judged(runs: list[RunRecord]) -> str | None:
    ended = (RunOutcome.DEPLOYED, RunOutcome.REFUSED, RunOutcome.NOTHING_TO_DO)
    own = (run for run in reversed(runs) if run.outcome in ended and run.definition is None and run.plan)
    return next((run.plan.snapshot_id for run in own if run.plan and run.plan.snapshot_id), None)
