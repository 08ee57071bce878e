"""`ratchet upload`: the S3 upload that starts everything."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError
from cli.render import console, finding, outcome, print_json, waiting
from cli.stack import JsonOption, Stack
from ratchet.domain.identity import upload_id, verdict_id
from ratchet.domain.ledger import PipelineState, Verdict

_CHUNK = 1 << 20
_MOST_IN_ONE_PUT = 5 << 30  # S3's limit


@dataclass(frozen=True)
class Uploaded:
    """An object version just made, and whether its bytes were judged before under the same contract."""

    pipeline: str
    key: str
    version_id: str
    verdict_id: str
    known: bool


def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The data file.", exists=True, dir_okay=False)],
    *,
    pipeline: Annotated[str, typer.Option("--pipeline", help="The pipeline it belongs to.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the verdict; exit code 1 when it is a rejection.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="How many seconds to wait at most.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Upload a file to a pipeline; a run starts by itself when the file is accepted."""
    stack = Stack.connect(context)
    state = stack.pipeline(pipeline)
    made = put(stack, state, file)
    verdict = None
    if wait:
        with nullcontext() if as_json else waiting(f"Waiting for the verdict on {made.key}"):
            verdict = await_verdict(stack, made, timeout)
    if as_json:
        print_json({"key": made.key, "version_id": made.version_id, "known": made.known, "verdict": verdict})
    else:
        _tell(made, verdict)
    if verdict is not None and verdict.outcome == "REJECTED":
        raise typer.Exit(1)


def put(stack: Stack, state: PipelineState, file: Path) -> Uploaded:
    """Uploads the file under `incoming/<pipeline>/`."""
    if state.definition is None:
        raise CommandError(
            f"The pipeline {state.pipeline} has no definition. Run `ratchet apply` with its folder first."
        )
    identity = verdict_id(upload_id(_chunks(file)), state.definition.data_hash)
    known = stack.ledger.verdict(state.pipeline, identity) is not None
    key = f"incoming/{state.pipeline}/{file.name}"
    return Uploaded(state.pipeline, key, _put(stack, key, file), identity, known)


def _put(stack: Stack, key: str, file: Path) -> str:
    """Puts the file, in parts when S3 takes it no other way; the version's id."""
    bucket = stack.outputs.data_bucket_name
    if file.stat().st_size > _MOST_IN_ONE_PUT:
        stack.s3.upload_file(str(file), bucket, key)
        # A transfer in parts does not say which version it made; somebody else's in the same second would be taken.
        return stack.s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    with file.open("rb") as body:
        return stack.s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]


def await_verdict(stack: Stack, made: Uploaded, timeout: float) -> Verdict:
    """The verdict on an upload; CommandError when none came in time."""
    deadline = time.monotonic() + timeout
    while True:
        seen = (made.key, made.version_id) in stack.ledger.objects(made.pipeline)
        if seen and (verdict := stack.ledger.verdict(made.pipeline, made.verdict_id)) is not None:
            return verdict
        if time.monotonic() > deadline:
            raise CommandError(
                f"No verdict on {made.key} came in {timeout:.0f} s. If validation failed, its event waits in the "
                f"dead-letter queue {stack.outputs.ingest_dead_letter_queue_url}; reconcile looks every 5 minutes."
            )
        time.sleep(stack.poll_seconds)


def _tell(made: Uploaded, verdict: Verdict | None) -> None:
    console.print(f"[green]Uploaded[/] {made.key}, version {made.version_id}.")
    if made.known:
        console.print("[dim]The same bytes were judged before: nothing will run.[/]")
    if verdict is None:
        console.print(f"[dim]Follow what becomes of it with `ratchet watch {made.pipeline}`.[/]")
        return
    console.print(outcome(verdict.outcome), f"{verdict.rows:,} rows, {verdict.bad_rows:,} of them bad")
    if verdict.finding is not None:
        console.print(finding(verdict.finding))
    if verdict.quarantine_uri:
        console.print(f"  bad rows: {verdict.quarantine_uri}", soft_wrap=True)
    if verdict.report_uri:
        console.print(f"  report:   {verdict.report_uri}", soft_wrap=True)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
