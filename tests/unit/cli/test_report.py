"""`ratchet report`: the page comes here as it is, and is opened."""

import json
import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import report
from cli.main import app
from cli.stack import Stack
from ratchet.contracts.run import DefinitionRef, RunOutcome
from ratchet.domain.ledger import Claim
from tests.unit.cli.conftest import FakeFunctions
from tests.unit.samples import NOW

REFERENCE = DefinitionRef(definition_id="d" * 64, uri="s3://a/d", data_hash="h", settle_seconds=1, on_upload=True)
PAGE = '<!doctype html>\n<html data-outcome="NONE">\n<title>traffic-g1: läuft</title>\n'.encode()


@pytest.fixture
def opened(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A stack with one run, and the addresses that the browser was told to open."""
    stack.ledger.apply_definition("traffic", REFERENCE)
    assert stack.ledger.claim("traffic", "upload", False, lambda fence: f"arn:g{fence}", NOW)
    monkeypatch.setattr(report, "_FOLDER", tmp_path / "reports")
    monkeypatch.setattr(report, "_PATIENCE_SECONDS", 5)
    addresses: list[str] = []

    def browse(address: str) -> bool:
        addresses.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    return addresses


def put_page(stack: Stack, page: bytes = PAGE) -> None:
    stack.s3.put_object(Bucket="artifacts", Key="reports/traffic/traffic-g1/report.html", Body=page)


def end(stack: Stack) -> None:
    record = stack.ledger.run("traffic", "traffic-g1")
    assert record is not None
    ended = record.model_copy(update={"outcome": RunOutcome.REFUSED, "ended_at": NOW})
    stack.ledger.close(Claim(pipeline="traffic", fence=1, execution_arn="arn:g1"), ended)


def test_the_page_is_brought_here_and_opened(
    stack: Stack, opened: list[str], runner: CliRunner, tmp_path: Path
) -> None:
    put_page(stack)
    result = runner.invoke(app, ["report", "traffic-g1"])
    assert result.exit_code == 0, result.output
    path = tmp_path / "reports/ratchet-dev/traffic-g1.html"
    assert path.read_bytes() == PAGE
    assert opened == [path.as_uri()]
    assert f"Opened {path}" in result.output


def test_of_a_run_that_ended_the_page_that_knows_it_is_waited_for(
    stack: Stack, opened: list[str], runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_page(stack)
    end(stack)
    monkeypatch.setattr("cli.report.time.sleep", lambda seconds: put_page(stack, b'<html data-outcome="REFUSED">'))
    result = runner.invoke(app, ["report", "traffic-g1"])
    assert b"REFUSED" in Path(opened[0].removeprefix("file://")).read_bytes()
    assert "before the run ended" not in result.output


def test_an_older_page_is_shown_for_what_it_is_when_none_comes(
    stack: Stack, opened: list[str], runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_PATIENCE_SECONDS", 0)
    put_page(stack)
    end(stack)
    result = runner.invoke(app, ["report", "traffic-g1"])
    assert len(opened) == 1
    assert "written before the run ended" in result.output


def test_it_can_be_kept_elsewhere_and_left_closed(
    stack: Stack, opened: list[str], runner: CliRunner, tmp_path: Path
) -> None:
    put_page(stack)
    path = tmp_path / "deep/inside/page.html"
    result = runner.invoke(app, ["report", "traffic-g1", "--no-open", "--output", str(path)])
    assert path.read_bytes() == PAGE
    assert opened == []
    assert f"The report is at {path}" in result.output


def test_programs_are_told_where_it_is(stack: Stack, opened: list[str], runner: CliRunner) -> None:
    put_page(stack)
    answer = json.loads(runner.invoke(app, ["report", "traffic-g1", "--json"]).output)
    assert Path(answer["path"]).read_bytes() == PAGE
    assert answer["uri"] == "s3://artifacts/reports/traffic/traffic-g1/report.html"
    assert opened == []


def test_a_missing_report_says_when_it_comes_and_how_to_get_it(opened: list[str], runner: CliRunner) -> None:
    result = runner.invoke(app, ["report", "traffic-g1"])
    assert result.exit_code == 1
    assert "has no report at s3://artifacts/reports/traffic/traffic-g1/report.html" in result.stderr
    assert "ratchet report traffic-g1 --write" in result.stderr


def test_it_can_be_written_anew(stack: Stack, opened: list[str], runner: CliRunner, functions: FakeFunctions) -> None:
    put_page(stack)
    assert runner.invoke(app, ["report", "traffic-g1", "--write"]).exit_code == 0
    assert functions.asked == [("write-report", {"pipeline": "traffic", "run_id": "traffic-g1"})]


def test_an_unknown_run_is_told(opened: list[str], runner: CliRunner) -> None:
    result = runner.invoke(app, ["report", "traffic-g9"])
    assert result.exit_code == 1
    assert "has no run traffic-g9" in result.stderr
