"""A run's page, written by the deployed function from what the run left, and opened by the command."""

import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from typer.testing import Result

from cli.listen import Listener
from cli.stack import Stack
from ratchet.contracts.run import RunOutcome
from tests.e2e.conftest import MONTHS, Pipeline, received
from tests.e2e.removing import without
from tests.unit.adapters.test_report_page import check


def test_a_deployed_run_has_a_page_with_everything_in_it(
    served: Pipeline, stack: Stack, people: Listener, ratchet: Callable[..., Result], tmp_path: Path
) -> None:
    run = served.settled()[0]
    opened = ratchet("report", run.run_id, "--no-open", "--output", tmp_path / "report.html")
    assert opened.exit_code == 0, opened.output
    page = check((tmp_path / "report.html").read_text())
    sections = [section["aria-labelledby"] for section in page.all("section")]
    assert sections == ["decision", "holdout", "slices", "importance", "quality", "lineage", "cost"]
    assert "Deployed" in page.text
    assert "datetime:hour" in page.text, "importance is read from what the training job left"
    assert "score candidate" in page.text
    assert run.because is not None
    assert run.because in unescape(page.text)
    for month in MONTHS:  # of this run; other tests upload more
        assert f"{month}.csv" in page.text

    told = people.hear(run.run_id, "model deployed")
    assert told
    assert told.holds([f"ratchet report {run.run_id}", f"prefix=reports/{served.name}/{run.run_id}/report.html"])


def test_the_page_is_stored_as_one(served: Pipeline, stack: Stack) -> None:
    run = served.settled()[0]
    bucket, key = stack.outputs.artifacts_bucket_name, f"reports/{served.name}/{run.run_id}/report.html"
    head = stack.s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentType"] == "text/html; charset=utf-8"


@pytest.mark.slow
def test_a_run_whose_page_cannot_be_stored_is_deployed_and_the_event_is_kept(
    new_pipeline: Callable[[str], Pipeline], stack: Stack, ratchet: Callable[..., Result], tmp_path: Path
) -> None:
    pipeline = new_pipeline("unreported")
    pipeline.apply("gate.beat_naive=false")
    with without(stack, "WriteReportFunctionRole", "s3:PutObject"):
        pipeline.upload_months("2016-10", "2016-11", "2016-12", "2017-01")
        run = pipeline.last()
        assert run.outcome is RunOutcome.DEPLOYED
        assert ratchet("report", run.run_id, "--no-open").exit_code == 1
        kept = _kept(stack, run.run_id)
    assert kept
    written = ratchet("report", run.run_id, "--write", "--no-open", "--output", tmp_path / "report.html")
    assert written.exit_code == 0, written.output
    check((tmp_path / "report.html").read_text())


def _kept(stack: Stack, run_id: str) -> bool:
    """Whether the outcome's announcement reached the queue of events that a function could not use."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if any(run_id in str(message) for message in received(stack, stack.queue_urls["EventsDeadLetterQueue"], 5)):
            return True
    return False
