"""Reconcile: events are hints and may be lost; what the ledger says is compared with what is."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ratchet.contracts.base import Finding
from ratchet.contracts.ingest import StartRunRequest
from ratchet.contracts.reconcile import ReconcileReport
from ratchet.contracts.run import Announcement, CloseRunRequest, CloseRunResult, Run, RunOutcome, TaskError
from ratchet.domain import identity
from ratchet.domain.audit import unjudged
from ratchet.domain.closing import CloseRun
from ratchet.domain.deploying import ResumeDeployment, put_back
from ratchet.domain.errors import BusyError, ReconcileIncompleteError, StaleRunError
from ratchet.domain.ledger import Claim, Ledger, PipelineState
from ratchet.domain.ports import (
    Clock,
    Endpoints,
    ExecutionStatus,
    ObjectStore,
    ObjectVersion,
    Publisher,
    Workflow,
)
from ratchet.domain.starting import StartRun

PERIOD = timedelta(minutes=5)  # of the schedule; younger things may still be on their way
MOST_INGESTED = 100  # a pipeline and call

Found = tuple[str, str]  # the report's field, and what was found


@dataclass(frozen=True)
class Reconcile:
    """Looks after every pipeline, or the one whose execution has just ended; what fails for one stops no other."""

    ledger: Ledger
    store: ObjectStore
    workflow: Workflow
    endpoints: Endpoints
    publisher: Publisher
    start_run: StartRun
    close_run: CloseRun
    resume_deployment: ResumeDeployment
    clock: Clock
    data_bucket: str

    def __call__(self, pipeline: str | None = None) -> ReconcileReport:
        """ReconcileIncompleteError names what failed for another reason than being busy."""
        states = [state for state in self.ledger.pipelines() if pipeline in (None, state.pipeline)]
        found: dict[str, list[str]] = defaultdict(list)
        failed = []
        for state in states:
            for case in (self._owner, self._deployment, self._endpoint, self._objects, self._work):
                try:
                    for kind, what in case(self.ledger.pipeline(state.pipeline) or state):
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
        """A run whose execution is not running any more closes as failed; one that never started gives way."""
        if state.owner is None or state.claimed_at is None:
            return
        status = self.workflow.status(state.owner)
        overdue = self.clock() - state.claimed_at > PERIOD
        if status is ExecutionStatus.ENDED or (status is ExecutionStatus.UNKNOWN and overdue and self._planned(state)):
            result = self._close_failed(state, state.owner)
            yield "closed", identity.run_id(state.pipeline, state.fence)
            if result.stalled:
                yield "stalled", identity.run_id(state.pipeline, state.fence)
        elif status is ExecutionStatus.UNKNOWN and overdue:
            claim = Claim(pipeline=state.pipeline, fence=state.fence, execution_arn=state.owner)
            self.ledger.release(claim)
            self.publisher.announce("Work Stalled", _stalled(claim))
            yield "released", claim.run_id

    def _planned(self, state: PipelineState) -> bool:
        """Whether the owner's execution ran once, and was deleted with its state machine."""
        record = self.ledger.run(state.pipeline, identity.run_id(state.pipeline, state.fence))
        return record is not None and record.plan is not None

    def _close_failed(self, state: PipelineState, execution_arn: str) -> CloseRunResult:
        record = self.ledger.run(state.pipeline, identity.run_id(state.pipeline, state.fence))
        run = Run(
            pipeline=state.pipeline,
            run_id=identity.run_id(state.pipeline, state.fence),
            fence=state.fence,
            reason=record.reason if record else "reconcile",
        )
        cause = "the execution ended without closing its run: it was stopped, timed out, or could not close it"
        result = self.close_run(
            CloseRunRequest(
                run=run,
                execution_arn=execution_arn,
                outcome=RunOutcome.FAILED,
                error=TaskError(error="ExecutionStopped", cause=cause),
            )
        )
        self.publisher.announce(result.kind, result.announcement)
        return result

    def _deployment(self, state: PipelineState) -> Iterator[Found]:
        """The event of an endpoint's change may be lost."""
        deployment = self.ledger.deployment(state.pipeline)
        if deployment is not None:
            yield "resumed", self.resume_deployment(deployment.endpoint_name)

    def _endpoint(self, state: PipelineState) -> Iterator[Found]:
        """Between runs, what serves is the champion, unless nobody asked it for so long that it was put to sleep."""
        if state.champion is None or state.owner is not None or state.asleep_since is not None:
            return
        name = state.champion.endpoint_name
        tags = {"ratchet:pipeline": state.pipeline}
        try:
            put_back(self.endpoints, name, state.champion, tags)
        except BusyError as error:
            yield "restored", str(error)

    def _objects(self, state: PipelineState) -> Iterator[Found]:
        """Object versions no event announced, and those the present data contract has not judged."""
        ingested = 0
        for version, seen in unjudged(self.ledger, self.store, self.data_bucket, state):
            since = max(version.modified, state.applied_at or version.modified)
            if not is_due(self.clock() - since, seen=seen):
                continue
            self.workflow.start_ingest(object_created(self.data_bucket, version))
            yield "ingested", f"s3://{self.data_bucket}/{version.key}?versionId={version.version_id}"
            ingested += 1
            if ingested == MOST_INGESTED:
                return

    def _work(self, state: PipelineState) -> Iterator[Found]:
        """Behind and unowned: whoever accepted the work could not start a run for it. A retry may be overdue too."""
        if state.owner is not None:
            return
        if state.behind:
            request = StartRunRequest(pipeline=state.pipeline, reason="reconcile")
        elif state.retry is not None and self.clock() - state.retry.at > PERIOD:
            request = StartRunRequest(pipeline=state.pipeline, reason="retry", retry_of=state.retry.after)
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


def object_created(bucket: str, version: ObjectVersion) -> dict[str, Any]:
    """The event S3 would have sent, as far as Ratchet reads it."""
    return {
        "version": "0",
        "id": identity.content_hash([bucket, version.key, version.version_id])[:32],
        "detail-type": "Object Created",
        "source": "ratchet.reconcile",
        "time": version.modified.isoformat(),
        "detail": {
            "bucket": {"name": bucket},
            "object": {"key": version.key, "size": version.size, "version-id": version.version_id},
            "reason": "reconcile",
        },
    }


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
