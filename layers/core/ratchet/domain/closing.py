"""Close Run: the run is recorded, the pipeline released, and what serves is what the ledger says serves."""

import logging
from dataclasses import dataclass

from ratchet.contracts.closing import CloseRunRequest, CloseRunResult
from ratchet.contracts.run import Champion, RunOutcome
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.announcements import (
    announcement_of,
    failure_finding,
    kind_of,
    passed_gate,
    sentence_of,
    stalled,
)
from ratchet.domain.approving import answer_of, unapproved
from ratchet.domain.errors import EventInvalidError, StaleRunError
from ratchet.domain.ledger import Claim, Ledger, PipelineState, RunRecord, after_close, claim_of
from ratchet.domain.leftovers import stop_leftovers
from ratchet.domain.ports import Clock, Endpoints, Jobs, Schedule
from ratchet.domain.settling import settle
from ratchet.domain.starting import StartRun

_log = logging.getLogger(__name__)

_FOUND = ("plan", "selection", "evaluation", "deployment", "verification", "model_package_arn", "error")


@dataclass(frozen=True)
class CloseRun:
    """Ends a run in any of its four ways; called again, it answers the same."""

    ledger: Ledger
    endpoints: Endpoints
    start_run: StartRun
    clock: Clock
    resource_prefix: str
    jobs: Jobs | None = None  # None, as the schedule, where no run fails
    schedule: Schedule | None = None

    def __call__(self, request: CloseRunRequest) -> CloseRunResult:
        run = request.run
        record = self.ledger.run(run.pipeline, run.run_id)
        if record is None:
            raise StaleRunError(f"the ledger does not know {run.run_id}; its claim was released")
        if record.outcome is None:
            record = self._close(request, record)
        self._plan_retry(record)
        return CloseRunResult(
            outcome=record.outcome or request.outcome,
            kind=kind_of(record),
            stalled=stalled(record),
            announcement=announcement_of(record),
            next_run_id=self._start_next(run.pipeline),
        )

    def _close(self, request: CloseRunRequest, record: RunRecord) -> RunRecord:
        claim = claim_of(request.run, request.execution_arn)
        state = self._owned(claim)
        record = record.model_copy(update={"approval": answer_of(self.ledger.approval(claim.pipeline, claim.run_id))})
        if request.outcome is RunOutcome.FAILED:
            if self.jobs is not None:
                stop_leftovers(self.jobs, record)
            self._put_back(claim, state, record)
        closed = self._ended(request, record, state)
        champion = champion_of(closed) if closed.outcome is RunOutcome.DEPLOYED else None
        self.ledger.close(claim, closed, champion)
        if champion is not None:
            self._tidy(claim.pipeline, champion)
        return closed

    def _owned(self, claim: Claim) -> PipelineState:
        state = self.ledger.pipeline(claim.pipeline)
        if state is None or (state.owner, state.fence) != (claim.execution_arn, claim.fence):
            raise StaleRunError(f"{claim.run_id} does not own pipeline {claim.pipeline} any more")
        return state

    def _put_back(self, claim: Claim, state: PipelineState, record: RunRecord) -> None:
        """Only the owner may touch the endpoint; the next one may be deploying already.

        A champion that was asleep before the run, and that the run never came to replace, sleeps on.
        """
        replaced = self.ledger.deployment(claim.pipeline) is not None or record.deployment is not None
        if state.asleep_since is not None and replaced:
            self.ledger.wake(claim.pipeline)
        asleep = state.asleep_since is not None and not replaced
        settle(self.endpoints, self.resource_prefix, claim.pipeline, state.champion, asleep=asleep)

    def _tidy(self, pipeline: str, champion: Champion) -> None:
        """The new champion scales by its bounds, and an endpoint of the other mode goes; nobody fails for it."""
        try:
            if champion.scaling is not None:
                self.endpoints.scale(champion.endpoint_name, champion.scaling)
            settle(self.endpoints, self.resource_prefix, pipeline, champion)
        except Exception:  # noqa: BLE001  whatever it is, the run is closed
            _log.exception("the endpoints of %s were not tidied; reconcile will do it", pipeline)

    def _ended(self, request: CloseRunRequest, record: RunRecord, state: PipelineState) -> RunRecord:
        found = {name: value for name in _FOUND if (value := getattr(request, name)) is not None}
        now = self.clock()
        ended = record.model_copy(update={**found, "outcome": request.outcome, "ended_at": now})
        timings = {**ended.timings, "total": (now - ended.started_at).total_seconds()}
        if ended.deployment is not None:
            timings["deployment"] = ended.deployment.seconds
        finding = ended.evaluation.finding if ended.evaluation is not None else None
        if request.outcome is RunOutcome.REFUSED and passed_gate(ended):
            finding = unapproved(ended)
            ended = ended.model_copy(update={"finding": finding})
        if request.outcome is RunOutcome.FAILED:
            left = after_close(state, ended, None)
            retry_at = left.retry.at if left.retry else None
            served_at = ended.deployment.started_at if ended.deployment is not None else None
            ended = ended.model_copy(
                update={
                    "failures": left.failures,
                    "retry_at": retry_at,
                    "unverified_seconds": (now - served_at).total_seconds() if served_at is not None else None,
                }
            )
            finding = failure_finding(ended)
        return ended.model_copy(update={"timings": timings, "finding": finding, "because": sentence_of(ended)})

    def _plan_retry(self, record: RunRecord) -> None:
        """The ledger knows when the retry is due: when it cannot be scheduled, reconcile starts it."""
        if record.retry_at is None or self.schedule is None:
            return
        request = StartRunRequest(pipeline=record.pipeline, reason="retry", retry_of=record.fence)
        try:
            self.schedule.start_run_at(f"{record.run_id}-retry", record.retry_at, request)
        except Exception:  # noqa: BLE001  whatever it is, the run is closed
            _log.exception("the retry of %s was not scheduled; reconcile will start it", record.run_id)

    def _start_next(self, pipeline: str) -> str | None:
        """What arrived meanwhile is somebody's work now. The run itself is closed: what fails here, reconcile finds."""
        try:
            return self.start_run(StartRunRequest(pipeline=pipeline, reason="upload")).run_id
        except Exception:  # noqa: BLE001  whatever it is, the run is closed
            _log.exception("the next run of %s did not start; reconcile will start it", pipeline)
            return None


def champion_of(record: RunRecord) -> Champion:
    """The champion a deployed run leaves; EventInvalidError names what is missing for it."""
    selection, evaluation, deployment = record.selection, record.evaluation, record.deployment
    rollout = record.plan.rollout if record.plan else None
    if selection is None or selection.candidate.model_uri is None:
        raise EventInvalidError("selection.candidate.model_uri: a deployed run has one")
    if evaluation is None or deployment is None:
        raise EventInvalidError("evaluation and deployment: a deployed run has both")
    return Champion(
        run_id=record.run_id,
        model_name=selection.model_name,
        model_uri=selection.candidate.model_uri,
        image_uri=selection.image_uri,
        endpoint_name=deployment.endpoint_name,
        endpoint_config_name=deployment.endpoint_config_name,
        model_package_arn=record.model_package_arn,
        trained_until=evaluation.trained_until,
        score=evaluation.candidate,
        watch=rollout.watch if rollout else None,
        scaling=rollout.scaling if rollout else None,
    )
