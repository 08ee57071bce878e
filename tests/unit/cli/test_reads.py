"""`status`, `runs`, `show`, `upload`, `run`, `watch`: what people and programs read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import history, show, watch
from cli.history import StateTime, Timeline
from cli.main import app
from cli.stack import Stack
from cli.upload import put
from ratchet.adapters.duckdb_validation import DuckDbValidator
from ratchet.contracts.base import Finding
from ratchet.contracts.run import DefinitionRef, Evaluation, RunOutcome
from ratchet.domain.data_contract import DataSection
from ratchet.domain.identity import upload_id, verdict_id
from ratchet.domain.ledger import Claim, RunRecord, Upload, Verdict
from tests.unit import samples
from tests.unit.cli.conftest import FakeFunctions

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
REFERENCE = DefinitionRef(definition_id="d" * 64, uri="s3://a/d", data_hash="h", settle_seconds=1, on_upload=True)
FINDING = Finding(what="Not good enough", where="the holdout", why="0.85 is under 0.90", fix="Upload more history")
UPLOAD_ID = "ab" * 32
RULE = {"name": "threshold", "passed": False, "sentence": "0.850 misses 0.900", "numbers": {"score": 0.85, "by": []}}
DECISION: dict[str, Any] = {"outcome": "REFUSE", "rules": [RULE]}


@pytest.fixture
def refused(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """A pipeline whose first run was refused, with its decision document and its execution."""
    stack.ledger.apply_definition("traffic", REFERENCE)
    claimed = stack.ledger.claim("traffic", "upload", False, lambda fence: f"arn:g{fence}", NOW)
    assert claimed
    uri = "s3://artifacts/runs/traffic/traffic-g1/decision.json"
    stack.s3.put_object(Bucket="artifacts", Key=uri.split("/", 3)[3], Body=json.dumps(DECISION).encode())
    evaluation = Evaluation(
        outcome="REFUSE",
        metric="forecast_accuracy",
        candidate=0.85,
        champion=None,
        naive=0.8,
        threshold=0.9,
        sentence="0.85 is under 0.90.",
        finding=FINDING,
        decision_uri=uri,
    )
    ended = claimed.model_copy(
        update={
            "outcome": RunOutcome.REFUSED,
            "because": "0.85 is under 0.90.",
            "evaluation": evaluation,
            "finding": FINDING,
            "ended_at": NOW + timedelta(seconds=9),
        }
    )
    stack.ledger.close(Claim(pipeline="traffic", fence=1, execution_arn="arn:g1"), ended)
    states = (StateTime("Check Idempotency", NOW, NOW + timedelta(seconds=2)),)
    seen = Timeline("SUCCEEDED", NOW, NOW + timedelta(seconds=9), states)
    for module in (history, show, watch):
        monkeypatch.setattr(module, "timeline", lambda executions, arn: seen)
    return ended


def test_runs_are_listed_with_outcome_and_numbers(refused: RunRecord, runner: CliRunner) -> None:
    printed = runner.invoke(app, ["runs"]).stdout
    for word in ("traffic-g1", "REFUSED", "forecast_accuracy", "0.85", "0.9", "9.0 s"):
        assert word in printed
    (listed,) = json.loads(runner.invoke(app, ["runs", "traffic", "--json"]).stdout)
    assert (listed["run_id"], listed["outcome"], listed["finding"]["fix"]) == ("traffic-g1", "REFUSED", FINDING.fix)


def test_show_gives_all_four_answers_and_the_states(refused: RunRecord, runner: CliRunner) -> None:
    printed = runner.invoke(app, ["show", "traffic-g1"]).stdout
    for text in (
        FINDING.what,
        FINDING.where,
        FINDING.why,
        FINDING.fix,
        "Check Idempotency",
        "2.0 s",
        "0.850 misses 0.900",
        "score 0.85",
    ):
        assert text in printed
    document = json.loads(runner.invoke(app, ["show", "traffic-g1", "--json"]).stdout)
    assert document["decision"] == DECISION
    assert document["run"]["run_id"] == "traffic-g1"
    assert document["states"][0]["seconds"] == 2


def test_show_tells_who_decided_and_how_the_shadow_did(
    stack: Stack, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "timeline", lambda executions, arn: Timeline("SUCCEEDED", NOW, NOW, ()))
    stack.ledger.apply_definition("traffic", REFERENCE)
    claimed = stack.ledger.claim("traffic", "upload", False, lambda fence: f"arn:g{fence}", NOW)
    assert claimed
    claim = Claim(pipeline="traffic", fence=1, execution_arn="arn:g1")
    undecided = {"decision": None, "decided_at": None, "by": None, "reason": None}
    decided = samples.approval(run="g1")
    stack.ledger.request_approval(claim, decided.model_copy(update=undecided))
    waits = " ".join(runner.invoke(app, ["show", "traffic-g1"]).stdout.split())
    assert "waits for approval until" in waits
    assert "ratchet approve traffic-g1 --reason" in waits
    stack.ledger.request_approval(claim, decided)
    ended = {"outcome": RunOutcome.FAILED, "ended_at": NOW, "comparison": samples.comparison("no worse")}
    stack.ledger.close(claim, claimed.model_copy(update=ended))
    printed = " ".join(runner.invoke(app, ["show", "traffic-g1"]).stdout.split())
    for text in ("approved", "by arn:aws:sts::1:assumed-role/a/ada: looks right", "newer work had arrived"):
        assert text in printed
    assert "candidate 120 1 2 31.5" in printed
    assert "1 min 00 s: no worse" in printed
    document = json.loads(runner.invoke(app, ["show", "traffic-g1", "--json"]).stdout)
    assert document["approval"]["decision"] == "APPROVED"
    assert "approval-token" not in json.dumps(document), "who has the token could answer without an identity"


def test_show_tells_what_validation_found_in_an_upload(stack: Stack, runner: CliRunner, tmp_path: Path) -> None:
    columns = {"temp": {"type": "number", "max": 330}, "y": {"type": "integer"}}
    contract = {"target": "y", "task": "regression", "columns": columns, "max_bad_rows": 0.5}
    file = tmp_path / "upload"
    file.write_text("y;temp;note\n1;280;a\n2;999;b\n")
    judged = DuckDbValidator(memory_mb=512, threads=1)(file, DataSection.model_validate(contract), UPLOAD_ID, NOW)
    key = "reports/traffic/v.json"
    verdict = Verdict(
        verdict_id="v",
        upload_id=UPLOAD_ID,
        data_hash="h",
        outcome="ACCEPTED",
        key="incoming/traffic/may.csv",
        version_id="1",
        judged_at=NOW,
        report_uri=f"s3://data/{key}",
    )
    report = {"verdict": verdict.model_dump(mode="json"), "judgement": judged.model_dump(mode="json")}
    stack.s3.put_object(Bucket="data", Key=key, Body=json.dumps(report).encode())
    stack.ledger.apply_definition("traffic", REFERENCE)
    seen = Upload(upload_id=UPLOAD_ID, key=verdict.key, version_id="1", modified=NOW, size=9)
    stack.ledger.record_object("traffic", seen)
    waiting = runner.invoke(app, ["show", verdict.key])
    assert waiting.exit_code == 1
    assert "has not been judged yet" in waiting.stderr
    stack.ledger.accept("traffic", verdict)
    for name in (UPLOAD_ID[:8], verdict.key, f"s3://data/{verdict.key}"):
        printed = runner.invoke(app, ["show", name]).stdout
        for word in ("may.csv", "1 of them bad", "delimiter ';' (detected)", 'temp "999" is above 330', "at most 330"):
            assert word in printed
    assert json.loads(runner.invoke(app, ["show", verdict.key, "--json"]).stdout) == report


def test_a_run_that_is_not_there_is_named(refused: RunRecord, runner: CliRunner) -> None:
    for name in ("traffic-g9", "nonsense"):
        ended = runner.invoke(app, ["show", name])
        assert ended.exit_code == 1
        assert f"has no run {name}" in ended.stderr


def test_status_names_the_cloud_and_the_pipelines(refused: RunRecord, runner: CliRunner) -> None:
    printed = runner.invoke(app, ["status"]).stdout
    assert "Stack ratchet-dev on the embedded cloud" in printed
    assert "none yet" in printed
    document = json.loads(runner.invoke(app, ["status", "--json"]).stdout)
    assert (document["target"], document["pipelines"][0]["pipeline"]) == ("local", "traffic")


def test_run_says_what_began_or_why_not(refused: RunRecord, functions: FakeFunctions, runner: CliRunner) -> None:
    assert "Started traffic-g1." in runner.invoke(app, ["run", "traffic", "--force"]).stdout
    assert functions.asked == [("start-run", {"pipeline": "traffic", "reason": "manual", "forced": True})]
    functions.answers["start-run"] = {"started": False, "run_id": None, "because": "traffic is up to date."}
    assert "No run was started: traffic is up to date." in runner.invoke(app, ["run", "traffic"]).stdout


def test_watch_prints_states_as_lines_without_a_terminal(
    refused: RunRecord, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    watch.follow_run(stack, refused)
    printed = capsys.readouterr().out
    assert "Check Idempotency  2.0 s" in printed
    assert FINDING.fix in printed


def test_watch_asks_which_pipeline(stack: Stack, runner: CliRunner) -> None:
    ended = runner.invoke(app, ["watch"])
    assert ended.exit_code == 1
    assert "Which pipeline?" in ended.stderr


def test_a_file_that_s3_takes_only_in_parts_is_uploaded_in_parts(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.ledger.apply_definition("traffic", REFERENCE)
    file = tmp_path / "big.csv"
    file.write_bytes(b"x" * (9 << 20))  # boto3 makes parts of 8 MB
    monkeypatch.setattr("cli.upload._MOST_IN_ONE_PUT", 1 << 20)
    made = put(stack, stack.pipeline("traffic"), file)
    stored = stack.s3.get_object(Bucket="data", Key=made.key, VersionId=made.version_id)
    assert (stored["ContentLength"], stored["ETag"][-3:]) == (9 << 20, '-2"')


def judge(stack: Stack, file: Path, outcome: str, finding: Finding | None) -> None:
    """Records the verdict before the upload: what validation would do a moment later."""
    upload = upload_id([file.read_bytes()])
    listed = stack.s3.list_object_versions(Bucket="data").get("Versions", [])
    for version in listed:
        seen = Upload(
            upload_id=upload, key=version["Key"], version_id=version["VersionId"], modified=NOW, size=version["Size"]
        )
        stack.ledger.record_object("traffic", seen)
    verdict = Verdict(
        verdict_id=verdict_id(upload, REFERENCE.data_hash),
        upload_id=upload,
        data_hash=REFERENCE.data_hash,
        outcome=outcome,  # type: ignore[arg-type]
        key="incoming/traffic/a.csv",
        version_id="v1",
        judged_at=NOW,
        rows=7,
        bad_rows=1,
        finding=finding,
    )
    (stack.ledger.accept if outcome == "ACCEPTED" else stack.ledger.reject)("traffic", verdict)


def test_an_upload_lands_under_incoming(stack: Stack, runner: CliRunner, tmp_path: Path) -> None:
    stack.ledger.apply_definition("traffic", REFERENCE)
    file = tmp_path / "my month+1.csv"
    file.write_text("a\n1\n")
    printed = json.loads(runner.invoke(app, ["upload", str(file), "--pipeline", "traffic", "--json"]).stdout)
    assert printed["known"] is False
    stored = stack.s3.get_object(Bucket="data", Key="incoming/traffic/my month+1.csv", VersionId=printed["version_id"])
    assert stored["Body"].read() == b"a\n1\n"
    judge(stack, file, "ACCEPTED", None)
    again = json.loads(runner.invoke(app, ["upload", str(file), "--pipeline", "traffic", "--json"]).stdout)
    assert again["known"] is True


def test_waiting_for_a_rejection_fails_with_all_four_answers(
    stack: Stack, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.ledger.apply_definition("traffic", REFERENCE)
    file = tmp_path / "broken.csv"
    file.write_text("a\n\n")
    put_object = stack.s3.put_object

    def put_and_judge(**options: Any) -> Any:
        response = put_object(**options)
        judge(stack, file, "REJECTED", FINDING)
        return response

    monkeypatch.setattr(stack.s3, "put_object", put_and_judge)
    ended = runner.invoke(app, ["upload", str(file), "--pipeline", "traffic", "--wait"])
    assert ended.exit_code == 1
    for text in ("REJECTED", FINDING.what, FINDING.where, FINDING.why, FINDING.fix):
        assert text in ended.stdout


def test_a_verdict_that_never_comes_is_said(stack: Stack, runner: CliRunner, tmp_path: Path) -> None:
    stack.ledger.apply_definition("traffic", REFERENCE)
    file = tmp_path / "a.csv"
    file.write_text("a\n")
    ended = runner.invoke(app, ["upload", str(file), "--pipeline", "traffic", "--wait", "--timeout", "0"])
    assert ended.exit_code == 1
    assert "dead-letter queue" in ended.stderr
