"""Every function under `sam local invoke`, in a Lambda container, with every event, against the embedded cloud."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cli.deploy import SAM
from cli.stack import LOCAL_STACK, Stack
from local.cloud.process import Cloud
from local.cloud.settings import REPOSITORY
from ratchet.domain import errors

IMAGE = os.environ.get("RATCHET_LAMBDA_IMAGE", "lambda-python:3.13")
RUNTIME = "python3.13"
PARAMETERS = ("--parameter-overrides", "Stage=local", f"Runtime={RUNTIME}", "Architecture=x86_64")
DECLARED = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
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
    """The built template and the variables that the deployed functions have."""

    template: Path
    variables: Path
    environment: dict[str, str]

    def __call__(self, function: str, event: Path) -> dict[str, object] | None:
        """The function's answer, or its error as the Lambda service writes it."""
        options = (
            "--skip-pull-image",
            "--invoke-image",
            IMAGE,
            "--docker-network",
            "host",
            "--env-vars",
            self.variables,
        )
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
def local_invoke(stack: Stack, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> LocalInvoke:
    """`sam build` for the container's Python; the stack's own resources behind it."""
    folder = tmp_path_factory.mktemp("sam")
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", **cloud.environment()}
    subprocess.run(
        [SAM, "build", "--build-dir", folder / "build", *PARAMETERS],
        cwd=REPOSITORY,
        env=environment,
        check=True,
        capture_output=True,
    )
    template = yaml.safe_load((folder / "build/template.yaml").read_text())
    # sam passes only declared variables into the container, and the template rightly declares no endpoint.
    template["Globals"]["Function"]["Environment"]["Variables"]["AWS_ENDPOINT_URL"] = ""
    (folder / "build/invoke.yaml").write_text(yaml.safe_dump(template))
    (folder / "variables.json").write_text(json.dumps(deployed_variables(stack, cloud)))
    return LocalInvoke(folder / "build/invoke.yaml", folder / "variables.json", environment)


def deployed_variables(stack: Stack, cloud: Cloud) -> dict[str, dict[str, str]]:
    """Logical id → environment of each deployed function, and where its AWS is."""
    resources = stack.session.client("cloudformation").get_paginator("list_stack_resources")
    functions = stack.session.client("lambda")
    return {
        resource["LogicalResourceId"]: {
            **functions.get_function_configuration(FunctionName=resource["PhysicalResourceId"])["Environment"][
                "Variables"
            ],
            "AWS_ENDPOINT_URL": cloud.endpoint_url,
        }
        for page in resources.paginate(StackName=LOCAL_STACK)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function"
    }


@pytest.mark.parametrize("event", EVENTS, ids=[f"{event.parent.name}/{event.stem}" for event in EVENTS])
def test_the_function_answers_or_raises_a_declared_error(local_invoke: LocalInvoke, event: Path) -> None:
    function = "".join(word.capitalize() for word in event.parent.name.split("_")) + "Function"
    answer = local_invoke(function, event)
    error = (answer or {}).get("errorType")
    if event.stem.startswith("invalid_"):
        assert error == "EventInvalidError", answer
    else:
        assert error is None or (error in DECLARED - {"EventInvalidError"}), answer
    print(f"{event.parent.name}/{event.stem}: {error or 'answered'}")  # noqa: T201  what was seen, for pytest -rP
