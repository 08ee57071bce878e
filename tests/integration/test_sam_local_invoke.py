"""Every function under `sam local invoke`, in a Lambda container, with every event of the corpus.

A container of `sam local invoke` is on Docker's bridge and cannot reach the embedded cloud, which listens on loopback
only. So this proves what only a container can: package and layer load on the runtime, the settings fit, the event is
parsed, and the function gets as far as AWS.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cli.deploy import SAM
from local.cloud.settings import REPOSITORY

IMAGE = os.environ.get("RATCHET_LAMBDA_IMAGE", "lambda-python:3.13")
RUNTIME = "python3.13"
PARAMETERS = ("--parameter-overrides", "Stage=local", f"Runtime={RUNTIME}", "Architecture=x86_64")
NO_AWS = "http://127.0.0.1:9"
EVENTS = sorted(
    event
    for folder in (REPOSITORY / "functions").iterdir()
    for event in (REPOSITORY / "events" / folder.name).glob("*.json")
)


def missing() -> str | None:
    """Why these tests cannot run here, or None."""
    if shutil.which("docker") is None:
        return "needs a Docker engine; there is no docker on the path"
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode:
        return f"needs a running Docker engine with the image {IMAGE} (or RATCHET_LAMBDA_IMAGE)"
    if shutil.which(RUNTIME) is None or subprocess.run([RUNTIME, "-V"], capture_output=True, check=False).returncode:
        return f"needs {RUNTIME} on the path: sam build builds with the runtime's own Python"
    return None


pytestmark = [pytest.mark.docker, pytest.mark.skipif(bool(missing()), reason=missing() or "")]


@dataclass(frozen=True)
class LocalInvoke:
    """The template built for the container."""

    template: Path
    environment: dict[str, str]

    def __call__(self, function: str, event: Path) -> dict[str, object] | None:
        """The function's answer, or its error as the Lambda service writes it."""
        options = ("--skip-pull-image", "--invoke-image", IMAGE)
        ended = subprocess.run(
            [SAM, "local", "invoke", function, "-t", self.template, "-e", event, *options, *PARAMETERS],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout.strip(), ended.stderr
        answer: dict[str, object] | None = json.loads(ended.stdout.strip().splitlines()[-1])
        return answer


@pytest.fixture(scope="module")
def local_invoke(tmp_path_factory: pytest.TempPathFactory) -> LocalInvoke:
    """`sam build` for the container's Python."""
    folder = tmp_path_factory.mktemp("sam")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, **keys, "SAM_CLI_TELEMETRY": "0"}
    subprocess.run(
        [SAM, "build", "--build-dir", folder / "build", *PARAMETERS],
        cwd=REPOSITORY,
        env=environment,
        check=True,
        capture_output=True,
    )
    template = yaml.safe_load((folder / "build/template.yaml").read_text())
    # sam passes only declared variables into the container, and the template rightly declares no endpoint.
    template["Globals"]["Function"]["Environment"]["Variables"]["AWS_ENDPOINT_URL"] = NO_AWS
    invoke = folder / "build/invoke.yaml"
    invoke.write_text(yaml.safe_dump(template))
    return LocalInvoke(invoke, environment)


@pytest.mark.parametrize("event", EVENTS, ids=[f"{event.parent.name}/{event.stem}" for event in EVENTS])
def test_the_function_parses_its_event_and_gets_as_far_as_aws(local_invoke: LocalInvoke, event: Path) -> None:
    function = "".join(word.capitalize() for word in event.parent.name.split("_")) + "Function"
    answer = local_invoke(function, event)
    error = (answer or {}).get("errorType")
    if event.stem.startswith("invalid_"):
        assert error == "EventInvalidError", answer
    elif error:
        assert error == "DependencyBusyError", answer
        assert NO_AWS in str((answer or {})["errorMessage"]), answer
    print(f"{event.parent.name}/{event.stem}: {error or 'answered'}")  # noqa: T201  what was seen, for pytest -rP
