"""The ledger in memory: what the default tests and the protocol's model run on."""

from collections.abc import Callable
from datetime import datetime
from threading import RLock

from ratchet.adapters.clock import utc_now
from ratchet.contracts.run import ApprovalAnswer, Champion, DefinitionRef, RunOutcome
from ratchet.domain.errors import ApprovalUnknownError, PipelineUnknownError, StaleRunError, UploadUnknownError
from ratchet.domain.identity import run_key
from ratchet.domain.ledger import (
    Approval,
    ChampionChange,
    Claim,
    Deployment,
    LargeValidation,
    Model,
    PipelineState,
    RunRecord,
    Snapshot,
    Step,
    Upload,
    Verdict,
    Withdrawal,
    after_close,
    can_claim,
    champion_change,
    in_precedence,
    new_run,
)


class MemoryLedger:
    """The Ledger port over dictionaries; a lock makes every method atomic, as a conditional write is."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._states: dict[str, PipelineState] = {}
        self._objects: dict[str, dict[tuple[str, str], str]] = {}
        self._larges: dict[str, dict[tuple[str, str], LargeValidation]] = {}
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._verdicts: dict[str, dict[str, Verdict]] = {}
        self._snapshots: dict[tuple[str, str], Snapshot] = {}
        self._runs: dict[str, dict[str, RunRecord]] = {}
        self._final: dict[tuple[str, str], str] = {}
        self._steps: dict[tuple[str, str], Step] = {}
        self._models: dict[tuple[str, str], Model] = {}
        self._deployments: dict[str, Deployment] = {}
        self._withdrawals: dict[str, dict[str, Withdrawal]] = {}
        self._champions: dict[str, list[ChampionChange]] = {}
        self._approvals: dict[tuple[str, str], Approval] = {}

    def pipeline(self, name: str) -> PipelineState | None:
        return self._states.get(name)

    def pipelines(self) -> list[PipelineState]:
        with self._lock:
            return [self._states[name] for name in sorted(self._states)]

    def apply_definition(self, name: str, definition: DefinitionRef) -> bool:
        with self._lock:
            state = self._states.get(name) or PipelineState(pipeline=name)
            if state.definition and state.definition.definition_id == definition.definition_id:
                return False
            self._change(state, definition=definition, applied_at=utc_now(), work_seq=state.work_seq + 1)
            return True

    def record_object(self, pipeline: str, seen: Upload) -> Upload:
        with self._lock:
            self._objects.setdefault(pipeline, {})[seen.key, seen.version_id] = seen.upload_id
            stored = self._uploads.setdefault((pipeline, seen.upload_id), seen)
            if seen.age >= stored.age:
                return stored
            self._uploads[pipeline, seen.upload_id] = seen
            if any(v.upload_id == seen.upload_id and v.outcome == "ACCEPTED" for v in self.verdicts(pipeline)):
                state = self._known(pipeline)
                self._change(state, work_seq=state.work_seq + 1)
            return seen

    def objects(self, pipeline: str) -> dict[tuple[str, str], str]:
        with self._lock:
            return dict(self._objects.get(pipeline, {}))

    def upload_of(self, pipeline: str, key: str, version_id: str) -> Upload | None:
        return self._uploads.get((pipeline, self.objects(pipeline).get((key, version_id), "")))

    def put_large(self, pipeline: str, large: LargeValidation) -> None:
        with self._lock:
            self._larges.setdefault(pipeline, {})[large.key, large.version_id] = large

    def large(self, pipeline: str, key: str, version_id: str) -> LargeValidation | None:
        return self._larges.get(pipeline, {}).get((key, version_id))

    def larges(self, pipeline: str) -> list[LargeValidation]:
        with self._lock:
            return list(self._larges.get(pipeline, {}).values())

    def uploads(self, pipeline: str, prefix: str = "") -> list[Upload]:
        with self._lock:
            found = [upload for (owner, _), upload in self._uploads.items() if owner == pipeline]
        return sorted((u for u in found if u.upload_id.startswith(prefix)), key=lambda upload: upload.upload_id)

    def withdraw(self, pipeline: str, withdrawal: Withdrawal) -> bool:
        with self._lock:
            state = self._known(pipeline)
            if (pipeline, withdrawal.upload_id) not in self._uploads:
                raise UploadUnknownError(f"pipeline {pipeline} never saw upload {withdrawal.upload_id}")
            known = self._withdrawals.setdefault(pipeline, {})
            if withdrawal.upload_id in known:
                return False
            known[withdrawal.upload_id] = withdrawal
            self._change(state, work_seq=state.work_seq + 1)
            return True

    def withdrawals(self, pipeline: str) -> list[Withdrawal]:
        with self._lock:
            return sorted(self._withdrawals.get(pipeline, {}).values(), key=lambda withdrawal: withdrawal.at)

    def verdict(self, pipeline: str, verdict_id: str) -> Verdict | None:
        return self._verdicts.get(pipeline, {}).get(verdict_id)

    def verdicts(self, pipeline: str) -> list[Verdict]:
        with self._lock:
            return list(self._verdicts.get(pipeline, {}).values())

    def accept(self, pipeline: str, verdict: Verdict) -> bool:
        with self._lock:
            state = self._known(pipeline)
            if (pipeline, verdict.upload_id) not in self._uploads:
                raise UploadUnknownError(f"pipeline {pipeline} never saw upload {verdict.upload_id}")
            if not self.reject(pipeline, verdict):
                return False
            self._change(state, work_seq=state.work_seq + 1)
            return True

    def reject(self, pipeline: str, verdict: Verdict) -> bool:
        with self._lock:
            known = self._verdicts.setdefault(pipeline, {})
            new = verdict.verdict_id not in known
            known.setdefault(verdict.verdict_id, verdict)
            return new

    def accepted(self, pipeline: str, data_hash: str) -> list[Verdict]:
        with self._lock:
            withdrawn = self._withdrawals.get(pipeline, {})
            fitting = [v for v in self.verdicts(pipeline) if v.outcome == "ACCEPTED" and v.data_hash == data_hash]
            kept = [v for v in fitting if v.upload_id not in withdrawn]
            return in_precedence(kept, self.uploads(pipeline))

    def claim(
        self,
        pipeline: str,
        reason: str,
        forced: bool,
        execution_arn_for: Callable[[int], str],
        now: datetime,
        *,
        definition: DefinitionRef | None = None,
        retry_of: int | None = None,
    ) -> RunRecord | None:
        with self._lock:
            state = self._known(pipeline)
            if not can_claim(state, forced, definition, retry_of):
                return None
            run = new_run(state, reason, forced, execution_arn_for, now, definition=definition)
            self._change(state, fence=run.fence, owner=run.execution_arn, claimed_at=now)
            self._runs.setdefault(pipeline, {})[run.run_id] = run
            return run

    def renew(self, claim: Claim, now: datetime) -> None:
        with self._lock:
            self._change(self._owned(claim), claimed_at=now)

    def release(self, claim: Claim) -> None:
        with self._lock:
            state = self._known(claim.pipeline)
            if _owns(claim, state):
                self._change(state, owner=None, claimed_at=None)
                del self._runs[claim.pipeline][claim.run_id]

    def put_to_sleep(self, pipeline: str, model_name: str, now: datetime) -> bool:
        with self._lock:
            state = self._known(pipeline)
            if state.owner is not None or state.champion is None or state.champion.model_name != model_name:
                return False
            self._change(state, asleep_since=now)
            return True

    def wake(self, pipeline: str) -> None:
        with self._lock:
            self._change(self._known(pipeline), asleep_since=None)

    def put_snapshot(self, pipeline: str, snapshot: Snapshot) -> None:
        self._snapshots[pipeline, snapshot.snapshot_id] = snapshot

    def snapshot(self, pipeline: str, snapshot_id: str) -> Snapshot | None:
        return self._snapshots.get((pipeline, snapshot_id))

    def run(self, pipeline: str, run_id: str) -> RunRecord | None:
        return self._runs.get(pipeline, {}).get(run_id)

    def runs(self, pipeline: str) -> list[RunRecord]:
        with self._lock:
            return sorted(self._runs.get(pipeline, {}).values(), key=lambda run: run.fence)

    def put_run(self, claim: Claim, run: RunRecord) -> None:
        with self._lock:
            self._owned(claim)
            self._runs[claim.pipeline][run.run_id] = run

    def final_run(self, pipeline: str, snapshot_id: str, definition_id: str) -> str | None:
        return self._final.get((pipeline, run_key(snapshot_id, definition_id)))

    def step(self, pipeline: str, key: str) -> Step | None:
        return self._steps.get((pipeline, key))

    def put_step(self, pipeline: str, step: Step) -> None:
        self._steps[pipeline, step.key] = step

    def put_model(self, pipeline: str, model: Model) -> None:
        self._models[pipeline, model.model_name] = model

    def model(self, pipeline: str, model_name: str) -> Model | None:
        return self._models.get((pipeline, model_name))

    def models(self, pipeline: str) -> list[Model]:
        with self._lock:
            found = [model for (owner, _), model in self._models.items() if owner == pipeline]
        return sorted(found, key=lambda model: model.judged_at)

    def mark_model(self, pipeline: str, model_name: str, withdrawn: str) -> None:
        with self._lock:
            model = self._models.get((pipeline, model_name))
            if model is not None and withdrawn not in model.saw_withdrawn:
                marks = tuple(sorted((*model.saw_withdrawn, withdrawn)))
                self._models[pipeline, model_name] = model.model_copy(update={"saw_withdrawn": marks})

    def champions(self, pipeline: str) -> list[ChampionChange]:
        with self._lock:
            return list(self._champions.get(pipeline, []))

    def begin_deployment(self, claim: Claim, deployment: Deployment) -> None:
        with self._lock:
            self._owned(claim)
            self._deployments[claim.pipeline] = deployment

    def deployment(self, pipeline: str) -> Deployment | None:
        return self._deployments.get(pipeline)

    def end_deployment(self, deployment: Deployment) -> None:
        with self._lock:
            stored = self._deployments.get(deployment.pipeline)
            if stored and (stored.fence, stored.task_token) == (deployment.fence, deployment.task_token):
                del self._deployments[deployment.pipeline]

    def request_approval(self, claim: Claim, approval: Approval) -> None:
        with self._lock:
            self._owned(claim)
            self._approvals[claim.pipeline, approval.run_id] = approval

    def approval(self, pipeline: str, run_id: str) -> Approval | None:
        return self._approvals.get((pipeline, run_id))

    def decide_approval(self, pipeline: str, run_id: str, answer: ApprovalAnswer, now: datetime) -> Approval:
        with self._lock:
            approval = self.approval(pipeline, run_id)
            if approval is None:
                raise ApprovalUnknownError(f"nobody was asked to approve {run_id}")
            if approval.decision is None:
                found = {"decision": answer.outcome, "by": answer.by, "reason": answer.reason, "decided_at": now}
                self._approvals[pipeline, run_id] = approval.model_copy(update=found)
            return self._approvals[pipeline, run_id]

    def supersede_approval(self, pipeline: str, run_id: str, now: datetime) -> bool:
        with self._lock:
            approval = self.approval(pipeline, run_id)
            if approval is None or approval.decision is not None or approval.superseded_at is not None:
                return False
            self._approvals[pipeline, run_id] = approval.model_copy(update={"superseded_at": now})
            return True

    def close(self, claim: Claim, run: RunRecord, champion: Champion | None = None) -> PipelineState:
        with self._lock:
            state = self._owned(claim)
            self._runs[claim.pipeline][run.run_id] = run
            if run.key and run.outcome in (RunOutcome.DEPLOYED, RunOutcome.REFUSED):
                self._final[claim.pipeline, run_key(*run.key)] = run.run_id
            if champion is not None:
                self._champions.setdefault(claim.pipeline, []).append(champion_change(state, run, champion))
            left = after_close(state, run, champion)
            self._states[claim.pipeline] = left
            self._deployments.pop(claim.pipeline, None)
            return left

    def _known(self, pipeline: str) -> PipelineState:
        state = self._states.get(pipeline)
        if state is None or state.definition is None:
            raise PipelineUnknownError(f"no definition was applied for pipeline {pipeline!r}; run `ratchet apply`")
        return state

    def _owned(self, claim: Claim) -> PipelineState:
        state = self._known(claim.pipeline)
        if not _owns(claim, state):
            raise StaleRunError(f"{claim.run_id} does not own pipeline {claim.pipeline}; its owner is {state.owner}")
        return state

    def _change(self, state: PipelineState, **changes: object) -> None:
        self._states[state.pipeline] = state.model_copy(update=changes)


def _owns(claim: Claim, state: PipelineState) -> bool:
    return state.owner == claim.execution_arn and state.fence == claim.fence
