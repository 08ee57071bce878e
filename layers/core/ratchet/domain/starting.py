"""Starting a run: claim the pipeline first, then start its execution."""

from collections.abc import Callable
from dataclasses import dataclass

from ratchet.contracts.run import DefinitionRef, Run
from ratchet.contracts.starting import StartRunRequest, StartRunResult
from ratchet.domain.approving import supersede
from ratchet.domain.errors import PipelineUnknownError
from ratchet.domain.identity import run_id
from ratchet.domain.ledger import Ledger, PipelineState, RunRecord, claim_of
from ratchet.domain.ports import Clock, Workflow

# Triggers that only mean "there may be data": a pipeline with on_upload off does not answer them.
_DATA_REASONS = frozenset({"upload", "reconcile"})


@dataclass(frozen=True)
class StartRun:
    """Whoever finds a pipeline behind and unowned calls this; it is safe to call at any time."""

    ledger: Ledger
    workflow: Workflow
    clock: Clock

    def __call__(self, request: StartRunRequest) -> StartRunResult:
        state = self.ledger.pipeline(request.pipeline)
        if state is None or state.definition is None:
            raise PipelineUnknownError(
                f"no definition was applied for pipeline {request.pipeline!r}; run `ratchet apply`"
            )
        if request.reason in _DATA_REASONS and not (state.definition.on_upload or request.forced):
            return StartRunResult(
                started=False, because="retrain.on_upload is off; its schedule or `ratchet run` starts it"
            )
        record = self._claim(request, state)
        if record is None:
            now = self.ledger.pipeline(request.pipeline) or state
            supersede(self.ledger, now, self.clock)
            return StartRunResult(started=False, because=_why_not(now))
        self._start(record, state.definition)
        return StartRunResult(started=True, run_id=record.run_id, because=f"{request.reason}: claimed {record.run_id}")

    def _claim(self, request: StartRunRequest, state: PipelineState) -> RunRecord | None:
        """A retry runs as the failed run did, whatever its request says of it."""
        retry = state.retry if request.retry_of is not None else None
        return self.ledger.claim(
            request.pipeline,
            request.reason,
            retry.forced if retry else request.forced,
            self._execution_arn(request.pipeline),
            self.clock(),
            definition=retry.definition if retry else request.definition,
            retry_of=request.retry_of,
        )

    def _execution_arn(self, pipeline: str) -> Callable[[int], str]:
        return lambda fence: self.workflow.retrain_execution_arn(run_id(pipeline, fence))

    def _start(self, record: RunRecord, definition: DefinitionRef) -> None:
        run = Run(
            pipeline=record.pipeline,
            run_id=record.run_id,
            fence=record.fence,
            reason=record.reason,
            forced=record.forced,
            settle_seconds=settle_seconds(record, definition),
        )
        try:
            self.workflow.start_retrain(run)
        except Exception:
            self.ledger.release(claim_of(run, record.execution_arn))
            raise


def settle_seconds(record: RunRecord, definition: DefinitionRef) -> int:
    """How long the run waits for more uploads: a person who asked for it does not wait, a retry has waited."""
    return 0 if record.forced or record.reason in ("manual", "retry") else definition.settle_seconds


def _why_not(state: PipelineState | None) -> str:
    if state is not None and state.owner is not None:
        return f"{state.owner.rpartition(':')[2]} runs; it will find the new work when it closes"
    if state is not None and state.retry is not None:
        return f"the last run failed; its work is tried again at {state.retry.at:%Y-%m-%d %H:%M:%S} UTC"
    return "everything accepted so far is answered for"
