"""`ratchet report`: the run's page, brought here and opened."""

import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError
from cli.render import console, print_json
from cli.run import invoke
from cli.show import record_of
from cli.stack import JsonOption, Stack
from local.cloud.settings import REPOSITORY
from ratchet.contracts.report import WriteReportRequest
from ratchet.domain.errors import ObjectMissingError
from ratchet.domain.identity import report_uri
from ratchet.domain.ledger import RunRecord

_PATIENCE_SECONDS = 15
_FOLDER = REPOSITORY / ".ratchet/reports"


def report(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id, such as traffic-g1.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write, instead of our own.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Bring it here, but open no browser.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Have it written anew first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Open a run's report: decision, errors, slices, importance, data quality, lineage, cost."""
    stack = Stack.connect(context)
    record = record_of(stack, run)
    if write:
        request = WriteReportRequest(pipeline=record.pipeline, run_id=record.run_id)
        invoke(stack, stack.outputs.write_report_function_name, request)
    path = (output or _FOLDER / stack.name / f"{record.run_id}.html").absolute()
    uri = fetch(stack, record, path)
    if as_json:
        print_json({"run_id": record.run_id, "uri": uri, "path": str(path)})
        return
    opened = not no_open and webbrowser.open(path.as_uri())
    console.print(f"{'Opened' if opened else 'The report is at'} {path}", soft_wrap=True)
    console.print(f"[dim]from {uri}[/]", soft_wrap=True)
    if record.outcome is not None and not _tells(path.read_bytes(), record):
        console.print("[yellow]It was written before the run ended.[/] [dim]--write has it written anew.[/]")


def fetch(stack: Stack, record: RunRecord, path: Path) -> str:
    """Writes the page to a file; its address in S3. A run that just ended has its page written anew: worth a wait."""
    uri = report_uri(stack.outputs.artifacts_bucket_name, record.pipeline, record.run_id)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (page := _page(stack, uri)) is None or not _tells(page, record):
        if record.outcome is None or time.monotonic() > deadline:
            break
        time.sleep(stack.poll_seconds)
    if page is None:
        raise CommandError(
            f"{record.run_id} has no report at {uri}. It is written once the run is decided, and again a moment after "
            "it ended; a run that found nothing to do gets none. "
            f"`ratchet report {record.run_id} --write` writes it now."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page)
    return uri


def _page(stack: Stack, uri: str) -> bytes | None:
    try:
        return stack.store.read(uri)
    except ObjectMissingError:
        return None


def _tells(page: bytes, record: RunRecord) -> bool:
    """Whether the page knows how the run ended."""
    return f'data-outcome="{record.outcome}"'.encode() in page
