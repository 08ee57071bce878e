"""The linters that everybody uses; our own rules cover only what they do not."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.template.reading import ROOT, template, translated

SAM = ROOT / ".envs/sam/bin/sam"
CFN_LINT = ROOT / ".venv/bin/cfn-lint"
REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-2", "us-gov-west-1")
ENVIRONMENTS = ("default", "staging", "prod", "local")


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": REGIONS[0]}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def as_deployed(tmp_path: Path) -> Path:
    """What SAM makes of the template: cfn-lint looks into neither Policies nor Events of SAM's own resources."""
    path = tmp_path / "translated.json"
    path.write_text(json.dumps(translated()))
    return path


def test_cfn_lint_has_nothing_to_say() -> None:
    done = _run(CFN_LINT, "--regions", *REGIONS, "--", "template.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_cfn_lint_has_nothing_to_say_of_what_is_deployed(as_deployed: Path) -> None:
    done = _run(CFN_LINT, "--regions", *REGIONS, "--", as_deployed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_cfn_lint_would_have_said_it(as_deployed: Path) -> None:
    as_deployed.write_text(as_deployed.read_text().replace('["LedgerTable", "Arn"]', '["Ledger", "Arn"]'))
    assert "'Ledger' is not one of" in _run(CFN_LINT, "--", as_deployed).stdout


def test_sam_validates_the_template() -> None:
    done = _run(SAM, "validate", "--lint", "--template", "template.yaml", "--region", REGIONS[0])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_build_and_deploy_take_the_same_overrides(environment: str) -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())[environment]
    built, deployed = (config[command]["parameters"]["parameter_overrides"] for command in ("build", "deploy"))
    assert built == deployed
    overrides = dict(override.split("=", 1) for override in built)
    assert overrides.keys() <= template()["Parameters"].keys()
    assert overrides["Stage"] == {"default": "dev"}.get(environment, environment)
    stack = config["global"]["parameters"]["stack_name"]
    assert stack == config["deploy"]["parameters"]["s3_prefix"] == f"ratchet-{overrides['Stage']}"


def test_only_the_embedded_cloud_is_deployed_to_without_a_question() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    asked = {name: config[name]["deploy"]["parameters"]["confirm_changeset"] for name in ENVIRONMENTS}
    assert asked == {"default": True, "staging": True, "prod": True, "local": False}
