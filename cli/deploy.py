"""`ratchet deploy`: real `sam build` and `sam deploy` of template.yaml into the embedded cloud."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from cli.errors import CommandError
from cli.render import console, seconds, waiting
from cli.stack import LOCAL_STACK, Choice, Target, running_cloud
from local.cloud.process import Cloud
from local.cloud.settings import REPOSITORY

SAM = REPOSITORY / ".envs/sam/bin/sam"
_TAIL_LINES = 30


def deploy(context: typer.Context) -> None:
    """Build the template and deploy it to the embedded cloud (to AWS: `sam build` and `sam deploy`, see the README)."""
    choice = Choice.of(context)
    if choice.target is Target.AWS:
        raise CommandError(
            "`ratchet deploy` deploys to the embedded cloud only. To AWS the SAM CLI deploys the same template: "
            "`.envs/sam/bin/sam build`, then `.envs/sam/bin/sam deploy --guided`."
        )
    cloud = running_cloud()
    name = choice.name or LOCAL_STACK
    with waiting("sam build"):
        built = timed(build)
    console.print(f"  [green]✓[/] sam build   {seconds(built)}")
    with waiting("sam deploy"):
        deployed = timed(lambda: deploy_to(cloud, name))
    console.print(f"  [green]✓[/] sam deploy  {seconds(deployed)}")
    console.print(f"[green]{name} is deployed[/] to {cloud.endpoint_url}.")
    console.print("[dim]Next: `ratchet apply pipelines/traffic`.[/]")


def build() -> None:
    """Builds functions and layers for this host's Python and processor; what did not change comes from SAM's cache."""
    # A cache of its own: what is built for this host's Python must never be taken for what Glue needs on AWS.
    _sam("build", "--cache-dir", ".aws-sam/cache-host", *_overrides(), environment={"VALIDATION_LAYER_FOR": "host"})


def deploy_to(cloud: Cloud, stack: str) -> None:
    """Deploys what was built; answers when CloudFormation is done."""
    _sam("deploy", "--stack-name", stack, "--no-progressbar", *_overrides(), environment=cloud.environment())


def timed(work: Callable[[], None]) -> float:
    """Does the work; returns how many seconds it took."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _overrides() -> tuple[str, ...]:
    """The template's parameters for this host: functions run on the interpreter and processor at hand."""
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    architecture = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"
    return ("--parameter-overrides", "Stage=local", f"Runtime={runtime}", f"Architecture={architecture}")


def _sam(command: str, *arguments: str, environment: Mapping[str, str]) -> None:
    if not SAM.exists():
        raise CommandError(f"The SAM CLI is not at {SAM.relative_to(REPOSITORY)}. Run `make setup`.")
    ended = subprocess.run(
        [str(SAM), command, "--config-env", "local", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **_quiet_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        tail = "\n".join(ended.stdout.splitlines()[-_TAIL_LINES:])
        raise CommandError(f"`sam {command}` ended with exit code {ended.returncode}. Its last lines:\n{tail}")


def _quiet_environment() -> dict[str, str]:
    """No telemetry, a quick poll, and this interpreter first on the path: SAM builds with the runtime's own Python."""
    return {
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
