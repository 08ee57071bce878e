"""A pipeline whose runs cost a second or two, and what tests of "work is done once" count and break."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cli.apply import Applied, Code, apply_definition
from cli.definition import read_definition
from cli.history import state_times, timeline
from cli.run import invoke
from cli.stack import Stack
from cli.watch import await_idle
from ratchet.adapters.event_bus import EventBus
from ratchet.adapters.run_jobs import RunJobs
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.step_functions import StepFunctions
from ratchet.domain.closing import CloseRun
from ratchet.domain.ledger import RunRecord
from ratchet.domain.questions import Questions
from ratchet.domain.reconciliation import Reconcile
from ratchet.domain.resuming import ResumeDeployment
from ratchet.domain.starting import StartRun
from tests.e2e.conftest import Pipeline, physical_id

T = TypeVar("T")
FOLDER = Path(__file__).parent / "tiny"
ROWS = 40
HOLD = "Hold"
PATIENCE = 240.0  # seconds; a run takes a few, on a machine that does nothing else
_UPLOADS_AT_ONCE = 16


@dataclass(frozen=True)
class Tiny(Pipeline):
    """A pipeline of the tiny definition."""

    def apply(self, *settings: str, sample: str = "") -> Applied:
        definition = read_definition(FOLDER, [f"name={self.name}", *settings])
        return apply_definition(self.stack, definition, Code.pack())

    def put(self, contents: Sequence[tuple[str, bytes]], at_once: int = _UPLOADS_AT_ONCE) -> None:
        """Uploads (name, content) pairs; nobody waits for verdicts."""

        def put(file: tuple[str, bytes]) -> None:
            name, content = file
            key = f"incoming/{self.name}/{name}"
            self.stack.s3.put_object(Bucket=self.stack.outputs.data_bucket_name, Key=key, Body=content)

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(put, contents))

    def await_objects(self, count: int, timeout: float = PATIENCE) -> dict[tuple[str, str], str]:
        """(key, version) → upload id, once that many are accounted for; AssertionError when none comes in `timeout`."""
        found, progress = self.stack.ledger.objects(self.name), time.monotonic()
        while len(found) < count:
            assert time.monotonic() < progress + timeout, f"{len(found)} of {count} objects, none in {timeout:.0f} s"
            time.sleep(0.5)  # a longer list costs the cloud more than a probe does
            newer = self.stack.ledger.objects(self.name)
            progress = time.monotonic() if len(newer) > len(found) else progress
            found = newer
        return found

    def await_run(self, number: int, timeout: float = PATIENCE) -> RunRecord:
        """The run of that number, once it was claimed."""
        return until(lambda: self.stack.ledger.run(self.name, f"{self.name}-g{number}"), timeout)

    def await_end(self, number: int, timeout: float = PATIENCE) -> RunRecord:
        """The run of that number, once it is closed."""

        def ended() -> RunRecord | None:
            run = self.stack.ledger.run(self.name, f"{self.name}-g{number}")
            return run if run is not None and run.outcome is not None else None

        return until(ended, timeout)

    def snapshot(self, run: RunRecord) -> list[str]:
        """The upload ids a run trained on, in order of precedence."""
        assert run.plan is not None
        assert run.plan.snapshot_id is not None
        snapshot = self.stack.ledger.snapshot(self.name, run.plan.snapshot_id)
        assert snapshot is not None
        bucket, _, key = snapshot.manifest_uri.removeprefix("s3://").partition("/")
        manifest = json.loads(self.stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return [upload["upload_id"] for upload in manifest["uploads"]]

    def times(self, run: RunRecord) -> str:
        """The states a run has entered, each with the seconds it took or has taken so far."""
        now = datetime.now(UTC)
        states = timeline(self.stack.executions, run.execution_arn).states
        return ", ".join(f"{state.name} {state.seconds(now):.1f} s" for state in states)

    def settled(self) -> list[RunRecord]:
        await_idle(self.stack, self.name, PATIENCE)
        return self.stack.ledger.runs(self.name)

    def jobs(self) -> "Jobs":
        """What SageMaker and Glue did for this pipeline."""
        sagemaker, glue = self.stack.session.client("sagemaker"), self.stack.session.client("glue")
        named = f"{self.stack.outputs.resource_prefix}-{self.name}-g"
        training = sagemaker.get_paginator("list_training_jobs").paginate(NameContains=named)
        transform = sagemaker.get_paginator("list_transform_jobs").paginate(NameContains=named)
        output = f"/steps/{self.name}/"
        return Jobs(
            [job["TrainingJobStatus"] for page in training for job in page["TrainingJobSummaries"]],
            [job["TransformJobStatus"] for page in transform for job in page["TransformJobSummaries"]],
            [
                run["JobRunState"]
                for run in glue.get_job_runs(JobName=preprocess_job(self.stack))["JobRuns"]
                if output in run["Arguments"]["--output"]
            ],
        )

    @property
    def serving_config(self) -> str | None:
        """The configuration that the endpoint serves with; None while there is no endpoint, or it is changing."""
        found = self.stack.session.client("sagemaker").list_endpoints(NameContains=self.stack.endpoint_name(self.name))
        names = [endpoint["EndpointName"] for endpoint in found["Endpoints"]]
        if self.stack.endpoint_name(self.name) not in names:
            return None
        endpoint = self.stack.session.client("sagemaker").describe_endpoint(
            EndpointName=self.stack.endpoint_name(self.name)
        )
        return endpoint["EndpointConfigName"] if endpoint["EndpointStatus"] == "InService" else None


@dataclass(frozen=True)
class Jobs:
    """Statuses of a pipeline's jobs."""

    training: list[str]
    transform: list[str]
    preprocess: list[str]

    @property
    def running(self) -> list[str]:
        return [
            status
            for status in (*self.training, *self.transform, *self.preprocess)
            if status in ("InProgress", "Stopping", "STARTING", "RUNNING", "STOPPING", "WAITING")
        ]


def points(number: int, rows: int = ROWS) -> bytes:
    """The content of a file of its own: no other number has the same rows."""
    draw = random.Random(number)  # noqa: S311
    lines = [f"{number * rows + row},{row},{2 * row + draw.random():.4f}" for row in range(rows)]
    return "\n".join(["id,x,y", *lines, ""]).encode()


def files(numbers: Iterable[int]) -> list[tuple[str, bytes]]:
    """Files to upload, each with content of its own."""
    return [(f"{number}.csv", points(number)) for number in numbers]


def until(probe: Callable[[], T | None], timeout: float = PATIENCE, interval: float = 0.05) -> T:
    """The probe's first value that is not None; AssertionError when none comes in time."""
    deadline = time.monotonic() + timeout
    while (value := probe()) is None:
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s in vain"
        time.sleep(interval)
    return value


@contextmanager
def repeating(act: Callable[[], object], seconds: float) -> Iterator[None]:
    """Meanwhile acts every so many seconds, in a thread of its own, the first time after as many; it must not raise."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def parameters(session: pytest.Session, test: Callable[..., None], kind: type[T]) -> list[T]:
    """The parameters of a kind with which this session asks for a test, so that all can be prepared at once."""
    return [
        value
        for item in session.items
        if isinstance(item, pytest.Function) and item.originalname == test.__name__
        for value in item.callspec.params.values()
        if isinstance(value, kind)
    ]


def reconcile(stack: Stack, died: RunRecord | None = None) -> Any:
    """What the schedule does every five minutes; of one pipeline, what the end of its run's execution does."""
    detail = died and {
        "executionArn": died.execution_arn,
        "stateMachineArn": stack.outputs.retrain_state_machine_arn,
        "name": died.run_id,
        "status": "ABORTED",
    }
    return invoke(stack, stack.outputs.reconcile_function_name, {"detail": detail} if detail else {})


def later(stack: Stack, minutes: float = 6) -> Reconcile:
    """The sweep as it will be some minutes later: a younger upload's event may still come."""

    def then() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    outputs, session = stack.outputs, stack.session
    names = outputs.data_bucket_name, outputs.resource_prefix
    endpoints = stack.endpoints
    workflow = StepFunctions(
        outputs.retrain_state_machine_arn, outputs.ingest_state_machine_arn, session.client("stepfunctions")
    )
    starting = StartRun(stack.ledger, workflow, then)
    clients = session.client("sagemaker"), session.client("glue")
    jobs = RunJobs(outputs.resource_prefix, preprocess_job(stack), *clients)
    return Reconcile(
        ask=Questions(stack.ledger, S3Store(stack.s3), workflow, endpoints, then, *names),
        publisher=EventBus(outputs.event_bus_name, session.client("events")),
        start_run=starting,
        close_run=CloseRun(stack.ledger, endpoints, starting, then, outputs.resource_prefix, jobs),
        resume_deployment=ResumeDeployment(stack.ledger, endpoints, workflow, then, outputs.resource_prefix),
    )


def preprocess_job(stack: Stack) -> str:
    """The Glue job's name."""
    return physical_id(stack, "PreprocessJob")


@contextmanager
def holding(stack: Stack, holds: Mapping[str, str]) -> Iterator[None]:
    """Executions named here that start meanwhile wait for an hour on the threshold of the state they are given."""
    arn = stack.outputs.retrain_state_machine_arn
    definition = stack.executions.describe_state_machine(stateMachineArn=arn)["definition"]
    stack.executions.update_state_machine(stateMachineArn=arn, definition=held(definition, holds))
    try:
        yield
    finally:
        stack.executions.update_state_machine(stateMachineArn=arn, definition=definition)


def held(definition: str, holds: Mapping[str, str]) -> str:
    """The definition with a Choice before each of the states, which leads executions held there to a Wait."""
    document: dict[str, Any] = json.loads(definition)
    states = document["States"]
    for state in sorted(set(holds.values())):
        question = f"{HOLD} {state}?"
        if document["StartAt"] == state:
            document["StartAt"] = question
        for one in states.values():
            for place in (one, *one.get("Choices", ()), *one.get("Catch", ())):
                for field in ("Next", "Default"):
                    if place.get(field) == state:
                        place[field] = question
        names = [execution for execution, threshold in holds.items() if threshold == state]
        variable, hold = "$$.Execution.Name", {"Next": f"{HOLD} {state}"}
        choices = [{"Variable": variable, "StringEquals": name, **hold} for name in names]
        states[question] = {"Type": "Choice", "Choices": choices, "Default": state}
        states[f"{HOLD} {state}"] = {"Type": "Wait", "Seconds": 3600, "Next": state}
    return json.dumps(document)


def await_state(stack: Stack, execution_arn: str, state: str, timeout: float = PATIENCE) -> None:
    """Returns once an execution has entered a state."""

    def entered() -> bool | None:
        try:
            pages = stack.executions.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
            return state in {seen.name for seen in state_times(e for page in pages for e in page["events"])} or None
        except stack.executions.exceptions.ExecutionDoesNotExist:
            return None  # claimed, and started in a moment

    until(entered, timeout, 0.02)
