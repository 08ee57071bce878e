"""Two runs at the same instant, uploads, deaths and reconcile: the use cases at every interleaving of ledger calls.

The same rules play on the ledger in memory and on DynamoDB (moto). In memory an actor stops before each method of the
ledger, on DynamoDB before each request, so a method that reads and then writes is taken apart.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, cast
from unittest.mock import patch

import boto3
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from moto import mock_aws

from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.contracts.run import Run, RunOutcome
from ratchet.contracts.starting import StartRunRequest, StartRunResult
from ratchet.domain.identity import run_id, snapshot_id
from ratchet.domain.ledger import Ledger, PipelineState, RunRecord, Upload
from ratchet.domain.ports import ExecutionStatus
from tests.template.reading import template
from tests.unit import samples
from tests.unit.execution import Execution, busy, finish_endpoint
from tests.unit.interleaving import Actor, Gated, every_order
from tests.unit.world import ENDPOINT, World

P = "traffic"
READS = frozenset({"get_item", "get_paginator", "batch_get_item"})  # of DynamoDB


@contextmanager
def ledgers(kind: str) -> Iterator[Callable[[], tuple[Any, Ledger]]]:
    """Makes empty ledgers, each twice: as actors use it, and as the test looks at it."""
    if kind == "memory":

        def in_memory() -> tuple[Any, Ledger]:
            memory = MemoryLedger()
            return Gated(memory), memory

        yield in_memory
        return
    credentials = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    properties = template()["Resources"]["LedgerTable"]["Properties"]
    schema = {name: properties[name] for name in ("AttributeDefinitions", "KeySchema", "BillingMode")}
    with patch.dict(os.environ, credentials), mock_aws():
        client = boto3.client("dynamodb")
        gated: Any = Gated(client)

        def on_dynamodb() -> tuple[Any, Ledger]:
            for former in client.list_tables()["TableNames"]:  # moto copies every table in each transaction
                client.delete_table(TableName=former)
            client.create_table(TableName="ledger", **schema)
            return DynamoDbLedger("ledger", gated), DynamoDbLedger("ledger", client)

        yield on_dynamodb


class Stage:
    """A pipeline with everything around it, and the actors that work on it."""

    def __init__(self, ledger: Any, seen: Ledger) -> None:
        self.world = World(ledger=ledger)
        self.world.apply()
        self.seen = seen
        self.actors: list[Actor] = []
        self.executed = 0  # of world.workflow.started: those that have an actor
        self.accepted = 0
        self.copied: set[int] = set()
        self.before = self.state, self.runs

    @property
    def state(self) -> PipelineState:
        state = self.seen.pipeline(P)
        assert state is not None
        return state

    @property
    def runs(self) -> dict[str, RunRecord]:
        return {run.run_id: run for run in self.seen.runs(P)}

    @property
    def running(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.ended]

    def act(self, name: str, work: Callable[[], object]) -> Actor:
        self.actors.append(Actor(name, work))
        return self.actors[-1]

    def upload(self) -> Actor:
        """Ingest: the verdict, then the start of a run."""
        self.accepted += 1
        number = self.accepted

        def ingest() -> StartRunResult:
            self.judge(number)
            return self.ask("upload")

        return self.act(f"upload-{number}", ingest)

    def judge(self, number: int) -> None:
        contract = samples.definition_ref().data_hash
        busy(lambda: self.world.ledger.record_object(P, samples.upload(number)))
        busy(lambda: self.world.ledger.accept(P, samples.verdict(number, data_hash=contract)))

    def older_copy(self, number: int) -> Actor:
        """Ingest of an older version of the same bytes, whose event comes late: known already, so that nobody asks."""
        self.copied.add(number)
        return self.act(f"copy-{number}", lambda: busy(lambda: self.world.ledger.record_object(P, older(number))))

    @property
    def snapshot(self) -> str:
        return snapshot_id([v.verdict_id for v in self.seen.accepted(P, samples.definition_ref().data_hash)])

    def ask(self, reason: str, forced: bool = False) -> StartRunResult:
        request = StartRunRequest(pipeline=P, reason=reason, forced=forced)
        return busy(lambda: self.world.start_run(request))

    def execute(self) -> Actor:
        """The next execution that Step Functions started and nobody plays yet."""
        run = self.world.workflow.started[self.executed]
        self.executed += 1
        return self.act(run.run_id, Execution(self.world, run))

    def kill(self, run: Run) -> None:
        self.world.workflow.statuses[self.world.arn(run)] = ExecutionStatus.ENDED

    def step(self, actor: Actor) -> None:
        """One call of an actor, after which the ledger must not have changed in a way the protocol forbids."""
        if actor.step() not in READS:
            self.watch()

    def watch(self) -> None:
        (was, known), (now, runs) = self.before, (self.state, self.runs)
        self.before = now, runs
        assert now.work_seq >= was.work_seq
        if now.fence != was.fence:
            assert (was.owner, now.fence) == (None, was.fence + 1), "claimed while it was owned"
        if now.champion != was.champion:
            assert now.champion is not None
            promoted = now.champion.run_id
            assert promoted == run_id(P, was.fence), "promoted by a run of an earlier claim"
            assert was.owner == known[promoted].execution_arn, "promoted by a run that does not own the pipeline"
        for name in runs.keys() & known.keys():
            assert runs[name] == known[name] or was.owner == runs[name].execution_arn, f"{name} wrote, and owns nothing"

    def drain(self) -> None:
        """Everything that was begun goes on to its end; then reconcile looks, as it does every five minutes."""
        for _ in range(30):
            while self.running or self.executed < len(self.world.workflow.started):
                for actor in self.running or [self.execute()]:
                    actor.finish()
            self.world.clock.advance(hours=1)
            finish_endpoint(self.world)
            report = self.world.reconcile()
            if not (report.started or report.closed or report.waiting or report.restored):
                return
        raise AssertionError(f"no rest: {self.state}")

    def check_nothing_is_lost(self) -> None:
        """Nobody owns the pipeline, the champion serves, and the last run that did not fail saw every upload."""
        state, runs = self.state, list(self.runs.values())
        assert state.owner is None
        assert all(run.outcome is not None for run in runs)
        live = self.world.endpoints.live.get(ENDPOINT)
        assert (live.config_name if live else None) == (state.champion.endpoint_config_name if state.champion else None)
        answered = [run for run in runs if run.outcome in (RunOutcome.DEPLOYED, RunOutcome.NOTHING_TO_DO)]
        assert state.retry is None, "a retry that is due was not started"
        if self.accepted and not state.failures:
            assert not state.behind
            assert answered
            assert answered[-1].plan
            assert answered[-1].plan.uploads == self.accepted
            numbers = range(1, self.accepted + 1)
            oldest = {n: older(n) if n in self.copied else samples.upload(n) for n in numbers}
            order = sorted(numbers, key=lambda number: oldest[number].precedence)
            assert answered[-1].plan.snapshot_id == snapshot_id([samples.verdict(n).verdict_id for n in order])


def older(number: int) -> Upload:
    """The copy of an upload, dated before all that came first; the copy of a later one is the oldest."""
    moved = {"key": f"incoming/traffic/copy-{number}.csv", "modified": samples.NOW - timedelta(minutes=number)}
    return samples.upload(number).model_copy(update=moved)


@pytest.fixture(params=["memory", "dynamodb"])
def stages(request: pytest.FixtureRequest) -> Iterator[Callable[[], Stage]]:
    with ledgers(request.param) as make:
        yield lambda: Stage(*make())


@pytest.mark.parametrize("asked", [("upload", "upload"), ("manual", "manual"), ("upload", "manual")])
def test_of_two_starts_exactly_one_works_in_every_order(stages: Callable[[], Stage], asked: tuple[str, str]) -> None:
    """Manual starts are forced here: even those wait for the owner."""

    def play(turns: list[int]) -> list[int]:
        choices: list[int] = []
        stage = stages()
        stage.judge(1)
        starts = [stage.act(reason, partial(stage.ask, reason, reason == "manual")) for reason in asked]
        while running := stage.running:
            turn = turns[len(choices)] if len(choices) < len(turns) else 0
            choices.append(len(running))
            stage.step(running[turn])
        answers = [cast(StartRunResult, actor.result) for actor in starts]
        assert sorted(answer.started for answer in answers) == [False, True], answers
        (run,) = stage.world.workflow.started
        assert stage.state.owner == stage.world.arn(run)
        assert [answer.run_id for answer in answers if answer.started] == [run.run_id]
        return choices

    orders = [tuple(order) for order in every_order(play)]
    assert len(orders) == len(set(orders)) >= 6


def test_an_upload_between_any_two_calls_of_a_run_is_in_its_snapshot_or_in_the_next(
    stages: Callable[[], Stage],
) -> None:
    seen, ended, calls = set(), False, 0
    while not ended:
        stage = stages()
        stage.upload().finish()
        run = stage.execute()
        for _ in range(calls):
            stage.step(run)
        ended = run.ended
        stage.upload().finish()
        stage.drain()
        stage.check_nothing_is_lost()
        seen.add(tuple(record.plan.uploads for record in stage.runs.values() if record.plan))
        calls += 1
    # In time for the first run; for the next one; or counted too late but seen, so that the next finds nothing to do.
    assert seen == {(2,), (1, 2), (2, 2)}


def test_an_older_copy_counts_as_work_unless_every_later_snapshot_has_it_in_every_order(
    stages: Callable[[], Stage],
) -> None:
    """Whoever read the counter at some moment and then another order than the last one is behind at the end."""

    def play(turns: list[int]) -> list[int]:
        choices: list[int] = []
        stage = stages()
        stage.judge(1)
        stage.act("upload-2", partial(stage.judge, 2))
        stage.older_copy(2)
        moments = []
        while running := stage.running:
            turn = turns[len(choices)] if len(choices) < len(turns) else 0
            choices.append(len(running))
            if stage.running[turn].step() not in READS:
                moments.append((stage.state.work_seq, stage.snapshot))
        assert stage.seen.uploads(P) == [samples.upload(1), older(2)]
        assert stage.snapshot == snapshot_id([samples.verdict(number).verdict_id for number in (2, 1)])
        assert all(read < stage.state.work_seq or order == stage.snapshot for read, order in moments)
        counted.add(stage.state.work_seq)
        return choices

    counted: set[int] = set()
    orders = [tuple(order) for order in every_order(play)]
    assert len(orders) == len(set(orders)) >= 3
    assert counted == {3, 4}  # the definition and two uploads, and the copy when it came after the verdict


def test_an_older_copy_between_any_two_calls_of_a_run_is_in_its_snapshot_or_in_the_next(
    stages: Callable[[], Stage],
) -> None:
    seen, ended, calls = set(), False, 0
    while not ended:
        stage = stages()
        stage.upload().finish()
        stage.upload().finish()
        run = stage.execute()
        for _ in range(calls):
            stage.step(run)
        ended = run.ended
        stage.older_copy(2).finish()
        stage.drain()
        stage.check_nothing_is_lost()
        seen.add(len({record.plan.snapshot_id for record in stage.runs.values() if record.plan}))
        calls += 1
    assert seen == {1, 2}  # in time for the first run; or for the next one, which found another order


class Interleavings(RuleBasedStateMachine):
    """Who asks, uploads, dies or goes on next is Hypothesis' choice."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        self.stage = Stage(*self.resources.enter_context(ledgers(self.kind))())

    @precondition(lambda self: self.stage.accepted < 6)
    @rule(together=st.integers(1, 2))
    def upload(self, together: int) -> None:
        for _ in range(together):
            self.stage.upload()

    @precondition(lambda self: len(self.stage.copied) < self.stage.accepted)
    @rule()
    def an_older_copy_arrives(self) -> None:
        self.stage.older_copy(len(self.stage.copied) + 1)

    @precondition(lambda self: len(self.stage.actors) < 16)
    @rule(forced=st.booleans())
    def two_ask_at_the_same_instant(self, forced: bool) -> None:
        for reason in ("manual", "schedule"):
            self.stage.act(reason, partial(self.stage.ask, reason, forced))

    @precondition(lambda self: self.stage.executed < len(self.stage.world.workflow.started))
    @rule()
    def an_execution_begins(self) -> None:
        self.stage.execute()

    @precondition(lambda self: self.stage.running)
    @rule(data=st.data(), calls=st.integers(1, 4))
    def one_goes_on(self, data: st.DataObject, calls: int) -> None:
        actor = data.draw(st.sampled_from(self.stage.running))
        for _ in range(calls):
            if not actor.ended:
                self.stage.step(actor)

    @precondition(lambda self: self.stage.state.owner is not None and self.stage.world.workflow.started)
    @rule()
    def the_newest_execution_is_stopped(self) -> None:
        self.stage.kill(self.stage.world.workflow.started[-1])

    @precondition(lambda self: not any(actor.name == "reconcile" for actor in self.stage.running))
    @rule()
    def reconcile_looks(self) -> None:
        self.stage.act("reconcile", self.stage.world.reconcile)

    def teardown(self) -> None:
        try:
            self.stage.drain()
            self.stage.check_nothing_is_lost()
        finally:
            self.resources.close()


class InMemory(Interleavings):
    kind = "memory"


class OnDynamoDb(Interleavings):
    kind = "dynamodb"


TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(max_examples=80, stateful_step_count=40)
TestOnDynamoDb = OnDynamoDb.TestCase
TestOnDynamoDb.settings = settings(
    max_examples=12, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)
