"""The layer with boto3, as `sam build` makes it: nothing of it is compiled, and it has every client it is for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.cloud.settings import REPOSITORY

SOURCE = REPOSITORY / "layers/sdk"
SERVICES = (SOURCE / "services.txt").read_text().split()
CLIENTS = """
import sys, boto3, botocore, aws_xray_sdk.core
for service in sys.argv[1:]:
    print(boto3.client(service, "eu-west-1").meta.service_model.service_name)
assert all(module.__file__.startswith(sys.path[1]) for module in (boto3, botocore, aws_xray_sdk))
"""


def make(source: Path, artifacts: Path) -> subprocess.CompletedProcess[str]:
    """What SAM's builder of makefiles runs, with all that it says."""
    python = Path(sys.executable).parent
    environment = {**os.environ, "ARTIFACTS_DIR": str(artifacts), "PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["make", "build-SdkLayer"], cwd=source, env=environment, capture_output=True, text=True, check=False
    )


def clients(layer: Path, *services: str) -> subprocess.CompletedProcess[str]:
    """Makes the clients where there is nothing but the layer."""
    return subprocess.run(
        [sys.executable, "-S", "-c", CLIENTS, *services],
        env={"PYTHONPATH": str(layer / "python"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built layer."""
    artifacts = tmp_path_factory.mktemp("sdk")
    built = make(SOURCE, artifacts)
    assert built.returncode == 0, built.stderr
    return artifacts


def test_the_layer_alone_makes_every_client(layer: Path) -> None:
    made = clients(layer, *SERVICES)
    assert made.stdout.split() == SERVICES, made.stderr


def test_a_service_that_is_not_listed_is_not_in_it(layer: Path) -> None:
    made = clients(layer, "ec2")
    assert "UnknownServiceError: Unknown service: 'ec2'" in made.stderr


def test_nothing_in_it_is_made_for_one_python_and_it_is_small(layer: Path) -> None:
    files = [path for path in layer.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".so", ".pyd", ".pyc")]
    assert sum(path.stat().st_size for path in files) < 10e6


def test_a_package_that_is_compiled_ends_the_build(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "sdk")
    (tmp_path / "sdk/requirements.txt").write_text("pydantic-core==2.50.4\n")
    built = make(tmp_path / "sdk", tmp_path / "artifacts")
    assert built.returncode
    assert "No matching distribution found for pydantic-core==2.50.4" in built.stderr
