"""Reconcile: events are hints and may be lost; what the ledger says is compared with what is."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ratchet.contracts.base import Finding
from ratchet.contracts.closing import CloseRunRequest, CloseRunResult
from ratchet.contracts.reconcile import ReconcileReport
from ratchet.contracts.run import Announcement, Run, RunOutcome, TaskError
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain import identity
from ratchet.domain.approving import answer_of, supersede
from ratchet.domain.closing import CloseRun
from ratchet.domain.errors import BusyError, ReconcileIncompleteError, StaleRunError
from ratchet.domain.ledger import Claim, LargeValidation, PipelineState
from ratchet.domain.object_events import object_created
from ratchet.domain.ports import Publisher
from ratchet.domain.questions import PERIOD, LostOwner, Questions
from ratchet.domain.resuming import ResumeDeployment
from ratchet.domain.settling import put_back, remove
from ratchet.domain.starting import StartRun

MOST_INGESTED = 100  # a pipeline and call

Found = tuple[str, str]  # the report's field, and what was found


@dataclass(frozen=True)
class Reconcile:
    """Looks after every pipeline, or the one whose execution has just ended; what fails for one stops no other."""

    ask: Questions
    publisher: Publisher
    start_run: StartRun
    close_run: CloseRun
    resume_deployment: ResumeDeployment

    def __call__(self, pipeline: str | None = None) -> ReconcileReport:
        """ReconcileIncompleteError names what failed for another reason than being busy."""
        states = [state for state in self.ask.ledger.pipelines() if pipeline in (None, state.pipeline)]
        found: dict[str, list[str]] = defaultdict(list)
        failed = []
        for state in states:
            for case in (self._owner, self._deployment, self._approval, self._endpoint, self._objects, self._work):
                try:
                    for kind, what in case(self.ask.ledger.pipeline(state.pipeline) or state):
                        found[kind].append(what)
                except BusyError as error:
                    found["waiting"].append(f"{state.pipeline}: {error}")
                except StaleRunError:
                    continue  # the run closed itself meanwhile
                except Exception as error:  # noqa: BLE001  raised together at the end
                    failed.append(f"{state.pipeline}: {case.__name__.strip('_')}: {type(error).__name__}: {error}")
        if failed:
            raise ReconcileIncompleteError("; ".join(failed))
        return ReconcileReport(pipelines=len(states), **{kind: tuple(items) for kind, items in found.items()})

    def _owner(self, state: PipelineState) -> Iterator[Found]:
        """A run whose execution is over closes as failed; one that never began gives way."""
        lost = self.ask.lost_owner(state)
        if lost is None:
            return
        if lost.began:
            result = self._close_failed(state, lost)
            yield "closed", lost.run_id
            if result.stalled:
                yield "stalled", lost.run_id
        else:
            claim = Claim(pipeline=state.pipeline, fence=state.fence, execution_arn=lost.execution_arn)
            self.ask.ledger.release(claim)
            self.publisher.announce("Work Stalled", _stalled(claim))
            yield "released", lost.run_id

    def _close_failed(self, state: PipelineState, lost: LostOwner) -> CloseRunResult:
        record = self.ask.ledger.run(state.pipeline, lost.run_id)
        reason = record.reason if record else "reconcile"
        run = Run(pipeline=state.pipeline, run_id=lost.run_id, fence=state.fence, reason=reason)
        cause = "the execution ended without closing its run: it was stopped, timed out, or could not close it"
        result = self.close_run(
            CloseRunRequest(
                run=run,
                execution_arn=lost.execution_arn,
                outcome=RunOutcome.FAILED,
                error=TaskError(error="ExecutionStopped", cause=cause),
            )
        )
        self.publisher.announce(result.kind, result.announcement)
        return result

    def _deployment(self, state: PipelineState) -> Iterator[Found]:
        left = self.ask.left_deployment(state)
        if left is None:
            return
        if left.end is None:
            self.ask.ledger.end_deployment(left.deployment)
            yield "resumed", f"{left.deployment.run_id}: its run is over"
        else:
            yield "resumed", self.resume_deployment(left.deployment.endpoint_name)

    def _approval(self, state: PipelineState) -> Iterator[Found]:
        """A decision whose answer to the run was lost is given again; newer work marks what is undecided."""
        run = identity.run_id(state.pipeline, state.fence)
        approval = self.ask.ledger.approval(state.pipeline, run) if state.owner is not None else None
        if (answer := answer_of(approval)) is not None and approval is not None:
            self.ask.workflow.task_succeeded(approval.task_token, answer)
        elif supersede(self.ask.ledger, state, self.ask.clock):
            yield "superseded", run

    def _endpoint(self, state: PipelineState) -> Iterator[Found]:
        for name in self.ask.leftover_endpoints(state):
            remove(self.ask.endpoints, name)
            yield "removed", name
        unscaled = self.ask.unscaled_endpoint(state)
        if unscaled is not None and unscaled.scaling is not None:
            self.ask.endpoints.scale(unscaled.endpoint_name, unscaled.scaling)
            yield "scaled", unscaled.endpoint_name
        stray = self.ask.stray_endpoint(state)
        if stray is None:
            return
        tags = {"ratchet:pipeline": state.pipeline}
        try:
            put_back(self.ask.endpoints, stray.champion, tags)
        except BusyError as error:
            yield "restored", str(error)

    def _objects(self, state: PipelineState) -> Iterator[Found]:
        bucket, ingested = self.ask.data_bucket, 0
        for found in self.ask.unjudged(state):
            since = max(found.version.modified, state.applied_at or found.version.modified)
            due = is_due(self.ask.clock() - since, seen=found.seen)
            if found.died is not None:
                due = is_due_again(found.died, self.ask.clock())
            if not due:
                continue
            self.ask.workflow.start_ingest(object_created(bucket, found.version, by="reconcile"))
            yield "ingested", found.version.uri(bucket)
            ingested += 1
            if ingested == MOST_INGESTED:
                return

    def _work(self, state: PipelineState) -> Iterator[Found]:
        """Whoever accepted the work, or planned the retry, could not start a run for it."""
        if self.ask.is_idle(state):
            request = StartRunRequest(pipeline=state.pipeline, reason="reconcile")
        elif retry := self.ask.overdue_retry(state):
            request = StartRunRequest(pipeline=state.pipeline, reason="retry", retry_of=retry.after)
        else:
            return
        result = self.start_run(request)
        if result.run_id is not None:
            yield "started", result.run_id


def is_due(age: timedelta, seen: bool) -> bool:
    """After 1, 2, 4, 8 … periods, so that a file which breaks validation is not tried for ever at full speed.

    A version seen before lacks only a verdict under a new contract: no event for it is on its way.
    """
    periods = age // PERIOD
    if periods < 1:
        return seen
    return periods & (periods - 1) == 0


def is_due_again(died: LargeValidation, now: datetime) -> bool:
    """A large validation that died starts again 2, 4, 8 … periods after its start: the job itself may take hours."""
    return now >= died.started_at + timedelta(seconds=PERIOD.total_seconds() * 2**died.attempt)


def _stalled(claim: Claim) -> Announcement:
    return Announcement(
        pipeline=claim.pipeline,
        subject=f"{claim.pipeline}: a run did not start",
        sentence=f"{claim.run_id} claimed the pipeline, but its execution never started; a new run takes its work.",
        finding=Finding(
            what=f"{claim.run_id} never started.",
            where=f"execution {claim.execution_arn}",
            why="Whoever claimed the pipeline stopped before, or was refused by, StartExecution.",
            fix="Nothing, if it happens once. If it happens again, read start_run's log for the refusal.",
        ),
        run_id=claim.run_id,
    )
