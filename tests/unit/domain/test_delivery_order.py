"""Fifty uploads whose events come twice, late and out of order: the same ledger and the same champion as in order."""

import heapq
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from local.cloud.chaos import Chaos
from ratchet.contracts.ingest import ObjectCreatedEvent
from ratchet.contracts.starting import StartRunRequest
from ratchet.domain.data_contract import DataSection
from ratchet.domain.ingest import JudgeUpload
from ratchet.domain.validation import Judgement
from tests.unit import samples
from tests.unit.execution import Execution
from tests.unit.world import World

P = "traffic"
UPLOADS = 50
RESENT = 10  # the last ones are copies of earlier ones under other names
SETTLE = 3.0
SEEDS = range(20)


def accept_all(file: Path, data: DataSection, upload: str, received: datetime) -> Judgement:
    """A validator that finds every file good."""
    (file.parent / "accepted.parquet").write_bytes(file.read_bytes())
    return Judgement(rows=1)


class Cloud:
    """Uploads at one a second, their events whenever the chaos lets them through, and runs that settle first."""

    def __init__(self, chaos: Chaos, resent: int) -> None:
        self.world = World()
        self.world.apply()
        self.judge = JudgeUpload(self.world.ledger, self.world.store, accept_all, self.world.clock)
        self._chaos = chaos
        self._resent = resent
        self._executed = 0

    def play(self) -> None:
        """All deliveries in the order of their arrival; a run begins when its time to settle is over."""
        begins: list[float] = []
        for at, event in self._deliveries():
            while begins and begins[0] <= at:
                heapq.heappop(begins)
                self._execute()
            if self.judge(event).outcome == "ACCEPTED":
                self.world.start_run(StartRunRequest(pipeline=P, reason="upload"))
            waiting = len(self.world.workflow.started) - self._executed
            begins.extend([at + SETTLE] * (waiting - len(begins)))
        self._drain()
        assert not self.world.reconcile().started, "whatever was work asked for its run"

    def _drain(self) -> None:
        while self._executed < len(self.world.workflow.started):
            self._execute()

    def _deliveries(self) -> Iterator[tuple[float, ObjectCreatedEvent]]:
        fates = self._chaos.fates()
        arrivals = [
            (second + late, second, copy, event)
            for second, event in enumerate(self._uploads())
            for copy, late in enumerate(next(fates))
        ]
        for at, _, _, event in sorted(arrivals, key=lambda arrival: arrival[:3]):
            yield at, event

    def _uploads(self) -> Iterator[ObjectCreatedEvent]:
        for number in range(UPLOADS):
            copy = number >= UPLOADS - self._resent
            content = number - 20 if copy else number
            key = f"incoming/{P}/{number}.csv"
            version = self.world.store.write(f"s3://{samples.DATA}/{key}", f"content {content}".encode())
            detail = {"key": key, "size": version.size, "version-id": version.version_id}
            yield ObjectCreatedEvent.model_validate(
                {"id": key, "time": "2026-03-01", "detail": {"bucket": {"name": samples.DATA}, "object": detail}}
            )

    def _execute(self) -> None:
        run = self.world.workflow.started[self._executed]
        self._executed += 1
        Execution(self.world, run)()

    def ledger(self) -> dict[str, object]:
        """What must not depend on deliveries."""
        ledger = self.world.ledger
        contract = samples.definition_ref().data_hash
        state = ledger.pipeline(P)
        assert state is not None
        assert state.champion is not None
        champion = ledger.run(P, state.champion.run_id)
        assert champion is not None
        assert champion.plan is not None
        assert champion.selection is not None
        return {
            "objects": ledger.objects(P),
            "verdicts": {verdict.verdict_id: verdict.outcome for verdict in ledger.verdicts(P)},
            "uploads": ledger.uploads(P),
            "precedence": [(held.upload_id, held.key, held.version_id) for held in ledger.accepted(P, contract)],
            "owner": state.owner,
            "behind": state.behind,
            "snapshot": champion.plan.snapshot_id,
            "model": champion.selection.candidate.key,
        }


def played(chaos: Chaos, resent: int) -> dict[str, object]:
    cloud = Cloud(chaos, resent)
    cloud.play()
    return cloud.ledger()


@pytest.mark.parametrize("seed", SEEDS)
def test_disorder_changes_nothing(seed: int) -> None:
    assert played(Chaos(seed=seed, duplicates=0.5, delay=15), 0) == played(Chaos(), 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_disorder_of_copies_changes_nothing(seed: int) -> None:
    assert played(Chaos(seed=seed, duplicates=0.5, delay=40), RESENT) == played(Chaos(), RESENT)


def test_the_chaos_is_one() -> None:
    arrivals = [
        second + late for second, fate in enumerate(islice(Chaos(0, 0.5, 20).fates(), UPLOADS)) for late in fate
    ]
    assert len(arrivals) > UPLOADS
    assert arrivals != sorted(arrivals)
