"""Audit: what is unaccounted for, found by reading alone; reconcile asks the same questions and then acts."""

from collections.abc import Iterator
from dataclasses import dataclass

from ratchet.contracts.base import Contract
from ratchet.contracts.run import RunOutcome
from ratchet.domain import identity
from ratchet.domain.ledger import PipelineState, RunRecord
from ratchet.domain.questions import Questions
from ratchet.domain.snapshots import uploads_in

Found = tuple[str, str, str]  # kind, subject, what


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


@dataclass(frozen=True)
class Audit:
    """Tells every answer, and whether each accepted upload is in the snapshot judged last; changes nothing."""

    ask: Questions

    def __call__(self, pipeline: str | None = None) -> AuditReport:
        states = [state for state in self.ask.ledger.pipelines() if pipeline in (None, state.pipeline)]
        findings = tuple(found for state in states for found in self._of(state))
        return AuditReport(pipelines=len(states), findings=findings)

    def _of(self, state: PipelineState) -> Iterator[Discrepancy]:
        for told in (self._objects, self._work, self._owner, self._deployment, self._endpoint, self._uploads):
            for kind, subject, what in told(state):
                yield Discrepancy(pipeline=state.pipeline, kind=kind, subject=subject, what=what)

    def _objects(self, state: PipelineState) -> Iterator[Found]:
        for found in self.ask.unjudged(state):
            what = "not judged under the present data contract" if found.seen else "has no verdict"
            if found.died is not None:
                what += f"; its validation {found.died.execution_arn} is not running"
            yield "object", found.version.uri(self.ask.data_bucket), what

    def _work(self, state: PipelineState) -> Iterator[Found]:
        if self.ask.is_idle(state):
            owed = f"work {state.work_seq} is accepted, {state.done_seq} is answered for, and no run owns the pipeline"
            yield "work", state.pipeline, owed
        if retry := self.ask.overdue_retry(state):
            yield "retry", state.pipeline, f"the retry of fence {retry.after} is due since {retry.at:%H:%M:%S}"

    def _owner(self, state: PipelineState) -> Iterator[Found]:
        if lost := self.ask.lost_owner(state):
            says = "ended without closing its run" if lost.began else "was never started"
            yield "owner", lost.execution_arn, f"owns the pipeline, but {says}"

    def _deployment(self, state: PipelineState) -> Iterator[Found]:
        if left := self.ask.left_deployment(state):
            run_id = left.deployment.run_id
            told = "is recorded, but its run is over" if left.end is None else "has ended, but its run was not told"
            yield "deployment", left.deployment.endpoint_name, f"the deployment of {run_id} {told}"

    def _endpoint(self, state: PipelineState) -> Iterator[Found]:
        for name in self.ask.leftover_endpoints(state):
            yield "endpoint", name, "is left of a run that is over"
        if unscaled := self.ask.unscaled_endpoint(state):
            yield "endpoint", unscaled.endpoint_name, "serves without the bounds it is to scale in"
        if stray := self.ask.stray_endpoint(state):
            now = f"{stray.live.status} on {stray.live.config_name}" if stray.live else "not there"
            what = f"is {now}; the champion is {stray.champion.endpoint_config_name}"
            yield "endpoint", stray.champion.endpoint_name, what

    def _uploads(self, state: PipelineState) -> Iterator[Found]:
        """Accepted work that is neither waiting, nor under way, nor in what was judged last."""
        if state.definition is None or state.owner is not None or state.behind:
            return
        ledger = self.ask.ledger
        verdicts = ledger.accepted(state.pipeline, state.definition.data_hash)
        last = _last_judged(ledger.runs(state.pipeline))
        if last == identity.snapshot_id([verdict.verdict_id for verdict in verdicts]):
            return
        held = (
            {upload.verdict_id for upload in uploads_in(ledger, self.ask.store, state.pipeline, last)} if last else ()
        )
        for verdict in verdicts:
            if verdict.verdict_id not in held:
                yield "upload", verdict.upload_id, f"{verdict.key} is accepted, but in no snapshot that was judged last"


def _last_judged(runs: list[RunRecord]) -> str | None:
    ended = (RunOutcome.DEPLOYED, RunOutcome.REFUSED, RunOutcome.NOTHING_TO_DO)
    own = (run for run in reversed(runs) if run.outcome in ended and run.definition is None and run.plan)
    return next((run.plan.snapshot_id for run in own if run.plan and run.plan.snapshot_id), None)
