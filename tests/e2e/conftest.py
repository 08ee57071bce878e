"""One embedded cloud with the real template, deployed by real `sam build` and `sam deploy`, for all tests here."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import samples
from cli.apply import Applied, Code, apply_definition
from cli.definition import read_definition
from cli.deploy import build, deploy_to
from cli.listen import Listener
from cli.main import app
from cli.stack import LOCAL_STACK, Stack
from cli.upload import await_verdict, put
from cli.watch import await_idle
from local.cloud import recording
from local.cloud.process import Cloud, CloudSettings, free_port
from local.cloud.settings import REPOSITORY
from ratchet.contracts.run import RunOutcome
from ratchet.domain.ledger import RunRecord, Verdict
from tests.permissions.recorded import Session

RUN_TIMEOUT = 120
VERDICT_TIMEOUT = 60
JUDGES_ALL = "test_least_privilege.py"
# Small, quick to train and easy to pass: what the gate thinks of real models is the demo's subject.
QUICK = ("retrain.settle=1s", "train.hyperparameters={eta: 0.3, num_round: 30}", "gate.threshold=0.3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is an end-to-end test; what judges all that was done comes last."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: item.path.name == JUDGES_ALL)  # stable: else the order stays


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running embedded cloud with an empty state folder."""
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("cloud")))
    recording.start(cloud.settings)
    with ThreadPoolExecutor() as pool:
        building = pool.submit(build)
        cloud.up()
        building.result()
    yield cloud
    cloud.down(timeout=120)


@pytest.fixture(scope="session")
def ends() -> list[tuple[str, int]]:
    """Each test that is over, and how many calls of roles were known then."""
    return []


@pytest.fixture(scope="session")
def stack(cloud: Cloud, ends: list[tuple[str, int]], pytestconfig: pytest.Config) -> Iterator[Stack]:
    """The deployed stack; what its roles did is written down at the end if that was asked for."""
    deploy_to(cloud, LOCAL_STACK)
    stack = Stack.of_cloud(cloud)
    yield stack
    if (file := pytestconfig.getoption("recording")) is not None:
        Session.of(stack, recording.read(cloud.settings), ends).append_to(file)


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, ends: list[tuple[str, int]]) -> Iterator[None]:
    """Tells during which test a call was made first."""
    cloud = request.getfixturevalue("cloud") if "cloud" in request.fixturenames else None
    yield
    if cloud is not None:
        ends.append((request.path.name, len(recording.read(cloud.settings))))


@pytest.fixture(scope="session")
def people(stack: Stack) -> Iterator[Listener]:
    """What the stack's subscribers are told."""
    with Listener(stack) as listener:
        yield listener


@pytest.fixture
def ratchet(stack: Stack, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command itself, at the embedded cloud of the tests."""
    monkeypatch.setenv("RATCHET_CLOUD", str(cloud.settings.state))
    monkeypatch.delenv("RATCHET_TARGET", raising=False)
    monkeypatch.delenv("RATCHET_STACK", raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of the deployed stack, as tests drive it."""

    name: str
    stack: Stack
    folder: Path

    def apply(self, *settings: str, sample: str = "traffic") -> Applied:
        """Applies a sample's definition under this pipeline's name."""
        definition = read_definition(REPOSITORY / "pipelines" / sample, [f"name={self.name}", *QUICK, *settings])
        return apply_definition(self.stack, definition, Code.pack())

    def file(self, name: str, content: bytes) -> Path:
        """A file to upload."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def upload(self, *files: Path) -> list[Verdict]:
        """Uploads files together; their verdicts."""
        state = self.stack.pipeline(self.name)
        made = [put(self.stack, state, file) for file in files]
        return [await_verdict(self.stack, one, VERDICT_TIMEOUT) for one in made]

    def upload_months(self, *months: str) -> list[Verdict]:
        """Uploads months of the traffic sample together."""
        sample = samples.traffic_months()
        return self.upload(*(self.file(f"{month}.csv", sample[month]) for month in months))

    def settled(self) -> list[RunRecord]:
        """Every run, once none is under way or due."""
        await_idle(self.stack, self.name, RUN_TIMEOUT)
        return self.stack.ledger.runs(self.name)

    def last(self) -> RunRecord:
        """The newest run, once it has ended."""
        return self.settled()[-1]

    @property
    def champion(self) -> str | None:
        """The run whose model serves."""
        champion = self.stack.pipeline(self.name).champion
        return champion.run_id if champion else None


@pytest.fixture(scope="session")
def new_pipeline(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    """Makes pipelines by name, each with a folder for its files."""
    return lambda name: Pipeline(name, stack, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def served(new_pipeline: Callable[[str], Pipeline], people: Listener) -> Pipeline:
    """A pipeline with a champion in service, made from four months of traffic."""
    pipeline = new_pipeline("served")
    pipeline.apply()
    assert {verdict.outcome for verdict in pipeline.upload_months(*MONTHS)} == {"ACCEPTED"}
    run = pipeline.last()
    assert run.outcome is RunOutcome.DEPLOYED, run.finding
    return pipeline


MONTHS = ("2016-10", "2016-11", "2016-12", "2017-01")


def errors_of(stack: Stack, execution_arn: str) -> list[str]:
    """`error: cause` of everything that failed in an execution, oldest first."""
    pages = stack.executions.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    details: list[dict[str, Any]] = [
        value
        for page in pages
        for event in page["events"]
        for name, value in event.items()
        if name.endswith("FailedEventDetails") and isinstance(value, dict)
    ]
    return [f"{found.get('error')}: {found.get('cause')}" for found in details]


def received(stack: Stack, queue_url: str, timeout: float = 20) -> list[dict[str, Any]]:
    """The messages of a queue, waited for and taken out: body and attributes."""
    sqs = stack.session.client("sqs")
    for _ in range(round(timeout)):
        answer = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        )
        if messages := answer.get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            return [
                {
                    "body": json.loads(message["Body"]),
                    "attributes": {
                        name: value.get("StringValue") for name, value in message.get("MessageAttributes", {}).items()
                    },
                }
                for message in messages
            ]
    return []


def shown(texts: Sequence[str], printed: str) -> bool:
    """Whether all texts are in what the terminal shows, wherever lines and panels break them."""
    return all(_letters(text) in _letters(printed) for text in texts)


def _letters(text: str) -> str:
    return "".join(text.replace("│", "").split())
