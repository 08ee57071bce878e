"""A pipeline that one cell of the matrix after the other goes through, and what must hold after each."""

import time
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from botocore.exceptions import ConnectionError, HTTPClientError

from cli.listen import Listener
from cli.predict import ask
from cli.stack import Stack
from local.cloud.faults import injected, strikes
from local.cloud.process import Cloud
from ratchet.contracts.approval import ApprovalOrder
from ratchet.contracts.run import Decision, RunOutcome
from ratchet.domain.approving import answer_of
from ratchet.domain.audit import Audit
from ratchet.domain.ledger import RunRecord, Verdict
from ratchet.domain.questions import Questions
from tests.e2e.conftest import physical_id
from tests.e2e.once import Tiny, later, reconcile, repeating, until
from tests.faults.calls import Road
from tests.faults.cells import Cell, Column

ROWS, MANY_ROWS = 200, 2000
LARGE_BYTES = 10_000  # between the sizes of these two
STEP = 300  # by which each upload's values differ from the last one's: an older model is far off
PATIENCE = 600.0  # two runs that each bake a shadow for a minute, on a machine that does a dozen at once
_SWEEP_SECONDS = 20.0  # the schedule's five minutes at the cloud's speed
_LOOK_SECONDS = 1.0  # a dozen lanes look
_ASK_SECONDS = 0.15
_IDLE_SECONDS = 8.0  # a planned retry, and the start of its function, take less
_HEARD_SECONDS = 30.0
_SETTINGS: dict[Road, tuple[str, ...]] = {
    Road.REFUSED: ("gate.threshold=1",),
    Road.TRIED: ("deploy.verify=before",),
    Road.APPROVED: ("deploy.approval=required",),
    # How fast both models answer while a dozen pipelines share the machine is not the subject.
    Road.SHADOWED: (
        "deploy.mode=instance",
        "deploy.strategy=shadow",
        "deploy.bake=1m",
        "deploy.alarms.latency_p99_ms=30000",
    ),
}
# Roads that the same pipeline can go.
_SHARED = (Road.DEPLOYED, Road.FAILED, Road.KEPT, Road.FOUND, Road.REJECTED)


def lane_of(road: Road) -> Road:
    """The road of the lane that serves it."""
    if road in (Road.LARGE, Road.LARGE_KEPT):
        return Road.LARGE
    return Road.DEPLOYED if road in _SHARED else road


@dataclass
class Lane:
    """A pipeline with a champion in service, driven by one thread."""

    road: Road
    tiny: Tiny
    cloud: Cloud
    people: Listener
    uploads: int = 0
    _idle_since: float | None = field(default=None, init=False)

    @classmethod
    def prepared(cls, road: Road, name: str, cloud: Cloud, people: Listener, folder: Path) -> "Lane":
        """With its first champion."""
        # A session makes clients for one thread only, so each lane has its own.
        lane = cls(road, Tiny(name, Stack.of_cloud(cloud), folder), cloud, people)
        common = ("retrain.retry_after=[1s, 1s]",)
        lane.tiny.apply(*common, *(() if road is Road.REFUSED else _SETTINGS.get(road, ())))
        first = lane._next_file()
        lane.tiny.put([first])
        lane._until_done([], first[0])
        assert lane.champion is not None
        if road is Road.REFUSED:
            before = lane.tiny.stack.ledger.runs(name)
            lane.tiny.apply(*common, *_SETTINGS[road])
            lane._until_done(before, None)
        return lane

    def drive(self, cell: Cell) -> str:
        """One cell: how the system got over it; AssertionError when something that must hold does not."""
        ledger, pipeline = self.tiny.stack.ledger, self.tiny.name
        before, champion = ledger.runs(pipeline), self.champion
        run_id = f"{pipeline}-g{before[-1].fence + 1}"
        with ExitStack() as stack:
            stack.enter_context(injected(self.cloud.settings, *cell.faults(pipeline, run_id)))
            if self.road is Road.SHADOWED:
                stack.enter_context(asked(self.tiny.name, self.cloud))
            name, content = self._next_file(rejected=cell.road is Road.REJECTED)
            if cell.column is Column.CLOUD_KILLED:
                self._put_and_start_again(name, content)
            else:
                self.tiny.put([(name, content)])
            swept = self._until_done(before, name, rejected=cell.road is Road.REJECTED)
            self._until_over(cell)
        runs = ledger.runs(pipeline)[len(before) :]
        if cell.road is Road.REJECTED:
            assert runs == []
            self._told(name, or_alarmed=cell.column in (Column.OUTAGE, Column.TIMEOUT, Column.CLOUD_KILLED))
        self._ended(runs, cell)
        self._serves(champion, runs)
        audit = Audit(self._questions)(pipeline)
        assert audit.findings == (), audit.findings
        failed = [run for run in runs if run.outcome is RunOutcome.FAILED]
        expected = 1 if cell.road is Road.FAILED else 0
        return "swept" if swept else "next run" if len(failed) > expected else "same run"

    @property
    def champion(self) -> str | None:
        """The run whose model serves."""
        champion = self.tiny.stack.pipeline(self.tiny.name).champion
        return champion.run_id if champion else None

    @property
    def _questions(self) -> Questions:
        stack = self.tiny.stack
        names = stack.outputs.data_bucket_name, stack.outputs.resource_prefix
        return Questions(stack.ledger, stack.store, stack.workflow, stack.endpoints, lambda: datetime.now(UTC), *names)

    def _next_file(self, *, rejected: bool = False) -> tuple[str, bytes]:
        """Rows that correct all earlier ones, or a file that is refused: name and content."""
        if rejected:
            return f"{self.tiny.name}-broken-{time.time_ns()}.csv", b"id,x\n1,2\n"
        self.uploads += 1
        # However many rows: x has one range, which the small model fits to within half a step.
        count = MANY_ROWS if self.road is Road.LARGE else ROWS
        lines = [
            f"{row},{row % ROWS},{2 * (row % ROWS) + row % 7 / 7 + STEP * self.uploads:.4f}" for row in range(count)
        ]
        return f"{self.tiny.name}-{self.uploads}.csv", "\n".join(["id,x,y", *lines, ""]).encode()

    def _put_and_start_again(self, name: str, content: bytes) -> None:
        """Uploads to a cloud that is killed meanwhile, or soon; what was not acknowledged is uploaded again."""
        acknowledged = False
        with suppress(ConnectionError, HTTPClientError):
            self.tiny.put([(name, content)])
            acknowledged = True
        until(lambda: None if self.cloud.status().running else True, PATIENCE)  # a shadow bakes first
        self.cloud.up(timeout=120)
        if not acknowledged:
            self.tiny.put([(name, content)])

    def _until_done(self, before: list[RunRecord], file: str | None, *, rejected: bool = False) -> bool:
        """Whether it took a sweep; returns once the upload is judged and nothing is under way or due."""
        deadline, swept, self._idle_since = time.monotonic() + PATIENCE, False, None
        while not self._done(before, file, rejected=rejected):
            if time.monotonic() > deadline:
                raise AssertionError(f"not done after {PATIENCE:.0f} s: {self._story(before)}")
            if self.road is Road.APPROVED:
                self._approve()
            if self._idles():
                later(self.tiny.stack, 21 if self.road is Road.LARGE else 6)(self.tiny.name)
                swept, self._idle_since = True, None
            time.sleep(_LOOK_SECONDS)
        return swept

    def _done(self, before: list[RunRecord], file: str | None, *, rejected: bool) -> bool:
        if not self._rests() or (file is not None and self._verdict(file) is None):
            return False
        # A verdict comes with its work: what was at rest before it may be so no more.
        return rejected or (self._rests() and len(self.tiny.stack.ledger.runs(self.tiny.name)) > len(before))

    def _rests(self) -> bool:
        state = self.tiny.stack.ledger.pipeline(self.tiny.name)
        return state is not None and state.owner is None and not state.behind and state.retry is None

    def _until_over(self, cell: Cell) -> None:
        """Returns once the fault has struck and nothing of the pipeline is executed: a run tells people at last."""
        deadline = time.monotonic() + PATIENCE
        while self._executing(self.tiny.stack.outputs.retrain_state_machine_arn, *self._ingest_machines):
            assert time.monotonic() < deadline, f"an execution has not ended: {self._story([])}"
            time.sleep(_LOOK_SECONDS)
        struck = strikes(self.cloud.settings, cell.name)
        assert struck, "the fault never happened"

    @cached_property
    def _ingest_machines(self) -> tuple[str, str]:
        stack = self.tiny.stack
        return stack.outputs.ingest_state_machine_arn, physical_id(stack, "ValidateLargeStateMachine")

    def _executing(self, *machines: str) -> bool:
        """Whether one of these state machines is at work for the pipeline: the input names it, if not the name."""
        executions = self.tiny.stack.executions
        running = (
            execution
            for arn in machines
            for execution in executions.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"]
        )
        return any(
            self.tiny.name in execution["name"]
            or self.tiny.name in executions.describe_execution(executionArn=execution["executionArn"])["input"]
            for execution in running
        )

    def _verdict(self, file: str) -> Verdict | None:
        ledger, key = self.tiny.stack.ledger, f"incoming/{self.tiny.name}/{file}"
        upload = next((upload for (known, _), upload in ledger.objects(self.tiny.name).items() if known == key), None)
        return next((v for v in ledger.verdicts(self.tiny.name) if v.upload_id == upload), None) if upload else None

    def _idles(self) -> bool:
        """Whether nobody has run or fed the pipeline for some seconds: what is left, a later sweep must find."""
        state = self.tiny.stack.ledger.pipeline(self.tiny.name)
        if state is None or state.owner is not None:
            self._idle_since = None
            return False
        self._idle_since = self._idle_since or time.monotonic()
        if time.monotonic() - self._idle_since <= _IDLE_SECONDS:
            return False
        if self._executing(*self._ingest_machines):
            self._idle_since = None
            return False
        return True

    def _approve(self) -> None:
        """What a person does who waits for it."""
        stack = self.tiny.stack
        state = stack.ledger.pipeline(self.tiny.name)
        if state is None or state.owner is None:
            return
        run_id = f"{self.tiny.name}-g{state.fence}"
        approval = stack.ledger.approval(self.tiny.name, run_id)
        if approval is not None and answer_of(approval) is None:
            order = ApprovalOrder(decision=Decision.APPROVED, reason="it is better")
            stack.api.post("runs", run_id, "approval", body=order.model_dump(mode="json"))

    def _ended(self, runs: list[RunRecord], cell: Cell) -> None:
        """Each run ended visibly, people know of it, and the last one did what the road says."""
        for run in runs:
            assert run.outcome is not None, f"{run.run_id} was never closed"
            if run.outcome is RunOutcome.FAILED:
                assert run.finding is not None
                assert run.error is not None
            if run.outcome is not RunOutcome.NOTHING_TO_DO:
                self._told(run.run_id, or_alarmed=self._fell_silent(run, cell))
        if cell.road is not Road.REJECTED:
            wanted = RunOutcome.REFUSED if cell.refused else RunOutcome.DEPLOYED
            decided = [run.outcome for run in runs if run.outcome is not RunOutcome.NOTHING_TO_DO]
            assert decided[-1:] == [wanted], self._story([])

    def _fell_silent(self, run: RunRecord, cell: Cell) -> bool:
        """Whether the execution of a closed run broke where it tells people: its failure must be heard of instead."""
        described = self.tiny.stack.executions.describe_execution(executionArn=run.execution_arn)
        failing = ("Close Failed Run", "Announce Failure")
        return described["status"] != "SUCCEEDED" and (run.outcome is not RunOutcome.FAILED or cell.state in failing)

    def _told(self, what: str, *, or_alarmed: bool) -> None:
        def told() -> object | None:
            alarm = or_alarmed and self._alarmed and self.people.hear("ALARM", "WorkflowsFailedAlarm", timeout=0)
            return self.people.hear(what, timeout=1) or alarm or None

        until(told, _HEARD_SECONDS)

    @property
    def _alarmed(self) -> bool:
        """Whether the alarm of failed executions is on: it tells people once, however many fail in five minutes."""
        pages = (
            self.tiny.stack.session.client("cloudwatch").get_paginator("describe_alarms").paginate(StateValue="ALARM")
        )
        return any("WorkflowsFailedAlarm" in alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"])

    def _serves(self, champion: str | None, runs: list[RunRecord]) -> None:
        """The champion is the last one deployed, was judged better and verified, and answers."""
        deployed = [run for run in runs if run.outcome is RunOutcome.DEPLOYED]
        for run in deployed:
            assert run.evaluation is not None
            assert run.evaluation.outcome == "PROMOTE"
            assert run.verification is not None
            assert run.verification.rows > 0
        assert self.champion == (deployed[-1].run_id if deployed else champion)
        state = self.tiny.stack.pipeline(self.tiny.name)
        assert state.champion is not None
        config = state.champion.endpoint_config_name
        until(lambda: self.tiny.serving_config == config or None, 30)
        answer = ask(self.tiny.stack, self.tiny.name, {"x": ROWS / 2})
        if deployed:
            newest = ROWS + STEP * self.uploads
            assert abs(answer["prediction"] - newest) < STEP / 2, f"an older model answers {answer}, not about {newest}"

    def _story(self, before: list[RunRecord]) -> str:
        state = self.tiny.stack.ledger.pipeline(self.tiny.name)
        runs = self.tiny.stack.ledger.runs(self.tiny.name)[len(before) :]
        told = "; ".join(
            f"{run.run_id} ({run.reason}): {run.outcome} {run.error or ''} after {self.tiny.times(run)}" for run in runs
        )
        return f"owner {state.owner if state else None}, behind {state.behind if state else None}; {told or 'no run'}"


def sweeping(cloud: Cloud) -> AbstractContextManager[None]:
    """Reconcile at its schedule's pace."""
    stack = Stack.of_cloud(cloud)

    def sweep() -> None:
        with suppress(Exception):  # a fault may be aimed at it; the next sweep comes
            reconcile(stack)

    return repeating(sweep, _SWEEP_SECONDS)


def asked(pipeline: str, cloud: Cloud) -> AbstractContextManager[None]:
    """Requests to the endpoint, half a dozen a second, for a shadow to copy."""
    stack = Stack.of_cloud(cloud)

    def request() -> None:
        with suppress(Exception):  # whether all are answered is another test's question
            ask(stack, pipeline, {"x": 1})

    return repeating(request, _ASK_SECONDS)
