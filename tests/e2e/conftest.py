"""What end-to-end tests drive and read; their fixtures are in `tests.e2e.fixtures`, for `tests/faults` too."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli import samples
from cli.apply import Applied, Code, apply_definition
from cli.definition import read_definition
from cli.stack import Stack
from cli.upload import await_verdict, put
from cli.watch import await_idle
from local.cloud import recording
from local.cloud.settings import REPOSITORY
from ratchet.domain.ledger import RunRecord, Verdict

RUN_TIMEOUT = 120
VERDICT_TIMEOUT = 60
JUDGES_ALL = "test_least_privilege.py"
# Small, quick to train and easy to pass: what the gate thinks of real models is the demo's subject.
QUICK = ("retrain.settle=3s", "train.hyperparameters={eta: 0.3, num_round: 30}", "gate.threshold=0.3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is an end-to-end test; what judges all that was done comes last."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: item.path.name == JUDGES_ALL)  # stable: else the order stays


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest, ends: list[tuple[str, int]]) -> Iterator[None]:
    """Tells during which test a call was made first."""
    asked = request.config.getoption("recording") is not None and "cloud" in request.fixturenames
    cloud = request.getfixturevalue("cloud") if asked else None
    yield
    if cloud is not None:
        ends.append((request.path.name, len(recording.read(cloud.settings))))


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


def physical_id(stack: Stack, logical_id: str) -> str:
    """What a resource of the stack is called."""
    described = stack.session.client("cloudformation").describe_stack_resource(
        StackName=stack.name, LogicalResourceId=logical_id
    )
    return described["StackResourceDetail"]["PhysicalResourceId"]


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
