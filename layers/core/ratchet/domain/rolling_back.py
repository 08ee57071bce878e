"""Roll Back: the previous champion serves again, by a person's decision and under the pipeline's fence."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from ratchet.contracts.run import Champion, DeploymentResult, Run, RunOutcome, Verification
from ratchet.contracts.states import VerifyEndpointRequest
from ratchet.domain.errors import BusyError, EndpointRolledBackError, RollbackRefusedError
from ratchet.domain.ledger import ChampionChange, Claim, Deployment, Ledger, PipelineState, RunRecord
from ratchet.domain.ports import Clock, Endpoints, Workflow
from ratchet.domain.resuming import Failure, ending
from ratchet.domain.settling import put_back
from ratchet.domain.verifying import VerifyEndpoint

_RENEW_EVERY = timedelta(minutes=1)  # reconcile takes a claim without an execution away after five
_LONGEST = timedelta(minutes=30)


def previous_champion(history: Sequence[ChampionChange], current: Champion) -> Champion | None:
    """The champion that the current one replaced when it was promoted."""
    promotions = [c for c in history if c.cause == "promoted" and c.champion.model_name == current.model_name]
    wanted = promotions[-1].previous if promotions else None
    return next((change.champion for change in reversed(history) if change.champion.model_name == wanted), None)


@dataclass(frozen=True)
class RollBack:
    """Claims the pipeline, brings the endpoint back, asks it for golden rows, and only then changes the champion.

    Whoever stops in between leaves a claim that reconcile releases, and an endpoint that it puts on the champion.
    """

    ledger: Ledger
    endpoints: Endpoints
    workflow: Workflow
    verify: VerifyEndpoint
    clock: Clock
    sleep: Callable[[float], None]
    poll_seconds: float

    def __call__(self, pipeline: str, reason: str, by: str) -> RunRecord:
        """RollbackRefusedError when a run owns the pipeline, or there is nothing to go back to."""
        current, earlier = self._champions(pipeline)
        record = self.ledger.claim(pipeline, "rollback", True, lambda fence: self._arn(pipeline, fence), self.clock())
        if record is None:
            raise RollbackRefusedError(_owned(self.ledger.pipeline(pipeline)))
        claim = Claim(pipeline=pipeline, fence=record.fence, execution_arn=record.execution_arn)
        try:
            deployment = self._deploy(claim, earlier)
            verification = self._verified(pipeline, earlier, deployment)
        except BaseException:
            with suppress(BusyError):
                put_back(self.endpoints, current, {"ratchet:pipeline": pipeline})
            self.ledger.release(claim)
            raise
        closed = record.model_copy(
            update={
                "outcome": RunOutcome.ROLLED_BACK,
                "because": f"{earlier.run_id} serves again instead of {current.run_id}: {reason}",
                "by": by,
                "ended_at": self.clock(),
                "deployment": deployment,
                "verification": verification,
                "timings": {"deployment": deployment.seconds},
            }
        )
        self.ledger.close(claim, closed, earlier)
        return closed

    def _champions(self, pipeline: str) -> tuple[Champion, Champion]:
        state = self.ledger.pipeline(pipeline)
        if state is None or state.champion is None:
            raise RollbackRefusedError(f"{pipeline} has no champion yet")
        earlier = previous_champion(self.ledger.champions(pipeline), state.champion)
        if earlier is None:
            raise RollbackRefusedError(f"{state.champion.model_name} replaced no other champion of {pipeline}")
        if state.owner is not None:
            raise RollbackRefusedError(_owned(state))
        return state.champion, earlier

    def _arn(self, pipeline: str, fence: int) -> str:
        return self.workflow.retrain_execution_arn(f"{pipeline}-g{fence}")

    def _deploy(self, claim: Claim, champion: Champion) -> DeploymentResult:
        deployment = Deployment(
            pipeline=claim.pipeline,
            run_id=claim.run_id,
            fence=claim.fence,
            endpoint_name=champion.endpoint_name,
            wanted_config=champion.endpoint_config_name,
            task_token="",  # nobody waits for one
            started_at=self.clock(),
        )
        with suppress(BusyError):
            put_back(self.endpoints, champion, {"ratchet:pipeline": claim.pipeline})
        renewed = deployment.started_at
        while (now := self.clock()) - deployment.started_at < _LONGEST:
            end = ending(deployment, self.endpoints.describe(champion.endpoint_name), now)
            if isinstance(end, Failure):
                raise EndpointRolledBackError(end.cause)
            if end is not None:
                return end
            if now - renewed >= _RENEW_EVERY:
                self.ledger.renew(claim, now)
                renewed = now
            self.sleep(self.poll_seconds)
        raise EndpointRolledBackError(f"endpoint {champion.endpoint_name} did not change within {_LONGEST}")

    def _verified(self, pipeline: str, champion: Champion, deployment: DeploymentResult) -> Verification | None:
        """The endpoint must answer as it did when this champion was judged; None when that run is not known."""
        judged = self.ledger.run(pipeline, champion.run_id)
        if judged is None or judged.selection is None:
            return None
        run = Run(pipeline=pipeline, run_id=judged.run_id, fence=judged.fence, reason=judged.reason)
        return self.verify(VerifyEndpointRequest(run=run, selection=judged.selection, deployment=deployment))


def _owned(state: PipelineState | None) -> str:
    owner = state.owner if state else None
    name = owner.rpartition(":")[2] if owner else "another run"
    return f"{name} owns the pipeline; wait until it has ended (`ratchet watch`), or stop its execution"
