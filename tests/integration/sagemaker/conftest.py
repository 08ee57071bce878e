"""One engine with a warm process for all tests here; each test begins with an empty cloud."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.sagemaker import SageMakerEngine
from tests.integration.sagemaker.cloud import PYTHON, SPEED, Cloud
from tests.integration.sagemaker.fakes import FakeHost


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The engine and the host around it."""
    host = FakeHost()
    engine = SageMakerEngine(host, tmp_path_factory.mktemp("sagemaker"), PYTHON, stop_grace=0.5, speed=SPEED)
    yield Cloud(engine, host)
    engine.close()


@pytest.fixture
def cloud(running: Cloud) -> Cloud:
    """An empty cloud."""
    running.engine.reset()
    running.host.clear()
    return running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for an engine of the test's own."""
    return tmp_path / "sagemaker"
