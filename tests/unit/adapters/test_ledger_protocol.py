"""The protocol under any order of claims, accepts and closes: one owner at a time, and no accepted upload is lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.contracts.run import RunOutcome
from ratchet.domain.errors import StaleRunError
from ratchet.domain.ledger import Claim, PipelineState, RunRecord
from tests.unit import samples

P = "traffic"
ENDINGS = st.sampled_from([RunOutcome.DEPLOYED, RunOutcome.REFUSED, RunOutcome.NOTHING_TO_DO, RunOutcome.FAILED])


class Protocol(RuleBasedStateMachine):
    """Claimants, uploads and late writers in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = MemoryLedger()
        self.ledger.apply_definition(P, samples.definition_ref())
        self.accepted = 0
        self.answered: set[int] = set()  # uploads in the last snapshot, which holds all before it
        self.counter: int | None = None  # the open run's, once it has its snapshot
        self.open: tuple[Claim, RunRecord] | None = None
        self.lost: list[tuple[Claim, RunRecord]] = []

    @property
    def state(self) -> PipelineState:
        state = self.ledger.pipeline(P)
        assert state is not None
        return state

    @rule(again=st.booleans())
    def accept(self, again: bool) -> None:
        if again and self.accepted:
            assert not self.ledger.accept(P, samples.verdict(self.accepted))
            return
        self.accepted += 1
        self.ledger.record_object(P, samples.upload(self.accepted))
        assert self.ledger.accept(P, samples.verdict(self.accepted))

    @rule(forced=st.booleans())
    def claim(self, forced: bool) -> None:
        behind = self.state.behind
        run = self.ledger.claim(P, "upload", forced, samples.execution_arn, samples.NOW)
        if self.open is not None or not (behind or forced):
            assert run is None
            return
        assert run is not None
        self.open = Claim(pipeline=P, fence=run.fence, execution_arn=run.execution_arn), run

    @precondition(lambda self: self.open is not None)
    @rule()
    def release(self) -> None:
        assert self.open is not None
        self.ledger.release(self.open[0])
        self.lost.append(self.open)
        self.open, self.counter = None, None

    @precondition(lambda self: self.open is not None and self.counter is None)
    @rule(late=st.booleans())
    def snapshot(self, late: bool) -> None:
        """Reads the counter first and the verdicts second; an upload may come between the two."""
        self.counter = self.state.work_seq
        if late:
            self.accept(again=False)
        self.answered = {v.rows // 10 for v in self.ledger.accepted(P, samples.definition_ref().data_hash)}

    @precondition(lambda self: self.counter is not None)
    @rule(outcome=ENDINGS)
    def close(self, outcome: RunOutcome) -> None:
        assert self.open is not None
        claim, run = self.open
        self.ledger.close(claim, run.model_copy(update={"outcome": outcome, "work_seq": self.counter}))
        self.lost.append(self.open)
        self.open, self.counter = None, None

    @precondition(lambda self: bool(self.lost))
    @rule(data=st.data())
    def a_lost_run_writes(self, data: st.DataObject) -> None:
        claim, run = data.draw(st.sampled_from(self.lost))
        before = self.state
        with pytest.raises(StaleRunError):
            self.ledger.close(claim, run, samples.champion())
        with pytest.raises(StaleRunError):
            self.ledger.put_run(claim, run)
        with pytest.raises(StaleRunError):
            self.ledger.begin_deployment(claim, samples.deployment())
        self.ledger.release(claim)
        assert self.state == before

    @invariant()
    def there_is_one_owner_or_none(self) -> None:
        assert self.state.owner == (self.open[0].execution_arn if self.open else None)

    @invariant()
    def an_upload_no_run_answered_for_keeps_the_pipeline_behind(self) -> None:
        unanswered = set(range(1, self.accepted + 1)) - self.answered
        assert not unanswered or self.state.behind or self.open is not None


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(max_examples=60, stateful_step_count=30)
