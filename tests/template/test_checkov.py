"""checkov's findings on the template as deployed: each stands in checkov.yaml with its reason, and no other does."""

import json
import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.template.reading import ROOT, translated

CHECKOV = ROOT / ".envs/checkov/bin/checkov"
# Not in the template, but in the same run: starting checkov takes longer than what it does.
FLAWED = {
    "OpenBucket": {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicRead"}},
    "Admin": {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": "Everything",
            "Roles": ["any"],
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
            },
        },
    },
}


class Finding(NamedTuple):
    """A check that failed, and on what."""

    file: str
    check: str
    resource: str


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """Of one run over the template, and over a flawed one."""
    folder = tmp_path_factory.mktemp("checkov")
    (folder / "deployed.json").write_text(json.dumps(translated()))
    (folder / "flawed.json").write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": FLAWED}))
    return list(_run(folder))


def _run(folder: Path) -> Iterator[Finding]:
    assert CHECKOV.exists(), "checkov is not installed: run `make .envs/checkov/.ready`"
    done = subprocess.run(
        [CHECKOV, "--directory", folder, "--framework", "cloudformation", "--skip-download", "--quiet", "-o", "json"],
        env={**os.environ, "BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    for failed in report["results"]["failed_checks"]:
        yield Finding(Path(failed["file_path"]).name, failed["check_id"], failed["resource"])


def _explained() -> dict[str, Any]:
    entries: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "checkov.yaml").read_text())
    return entries


def _covers(check: str, pattern: str, finding: Finding) -> bool:
    return finding.check == check and fnmatchcase(finding.resource, pattern)


def test_every_finding_is_explained(findings: list[Finding]) -> None:
    entries = [(check, pattern) for check, entry in _explained().items() for pattern in entry["resources"]]
    found = [finding for finding in findings if finding.file == "deployed.json"]
    assert [one for one in found if not any(_covers(*entry, one) for entry in entries)] == []


@pytest.mark.parametrize("check", _explained())
def test_an_explanation_is_of_something_that_is_still_found(findings: list[Finding], check: str) -> None:
    entry = _explained()[check]
    assert entry.keys() == {"resources", "reason"}
    assert entry["reason"].endswith(".")
    found = [finding for finding in findings if finding.file == "deployed.json"]
    for pattern in entry["resources"]:
        assert any(_covers(check, pattern, one) for one in found), f"{check} finds nothing at {pattern}: remove it"


def test_checkov_would_have_found_it(findings: list[Finding]) -> None:
    found = {(one.check, one.resource) for one in findings if one.file == "flawed.json"}
    assert found >= {
        ("CKV_AWS_20", "AWS::S3::Bucket.OpenBucket"),
        ("CKV_AWS_53", "AWS::S3::Bucket.OpenBucket"),
        ("CKV_AWS_62", "AWS::IAM::Policy.Admin"),
        ("CKV_AWS_63", "AWS::IAM::Policy.Admin"),
    }
