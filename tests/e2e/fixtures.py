"""One embedded cloud with the real template, deployed by real `sam build` and `sam deploy`, for all that run on it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner, Result

from cli.deploy import build, deploy_to
from cli.listen import Listener
from cli.main import app
from cli.stack import LOCAL_STACK, Stack
from local.cloud import recording
from local.cloud.process import Cloud, CloudSettings, free_port
from ratchet.contracts.run import RunOutcome
from tests.e2e.conftest import MONTHS, Pipeline
from tests.permissions.recorded import Session


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
