"""`ratchet withdraw`: takes an upload out of every later snapshot."""

from typing import Annotated

import typer

from cli.find import find_upload
from cli.render import console, now, print_json
from cli.run import start_run
from cli.stack import JsonOption, Stack
from ratchet.contracts.starting import StartRunResult
from ratchet.domain.withdrawing import Withdrawn, WithdrawUpload


def withdraw(
    context: typer.Context,
    upload: Annotated[str, typer.Argument(help="The upload's id (eight characters are enough), or its key.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why: it stands in the ledger for good.")],
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="The pipeline it belongs to.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Take an upload out for good: a run without it starts, and the models that saw it are marked."""
    stack = Stack.connect(context)
    name, found = find_upload(stack, upload, pipeline)
    withdrawn = WithdrawUpload(stack.ledger, stack.store, now)(name, found, reason, stack.caller)
    started = start_run(stack, name, reason="manual") if withdrawn.new else None
    if as_json:
        print_json({"pipeline": name, **withdrawn.model_dump(mode="json"), "run": started})
    else:
        _tell(withdrawn, started)


def _tell(withdrawn: Withdrawn, started: StartRunResult | None) -> None:
    what = f"{withdrawn.upload.key} ({withdrawn.upload.upload_id[:12]})"
    console.print(f"[green]Withdrawn:[/] {what}." if withdrawn.new else f"{what} was withdrawn before.")
    if withdrawn.models:
        console.print(f"  These models saw it and are marked: {', '.join(withdrawn.models)}.")
    if withdrawn.serving:
        console.print(f"  [yellow]{withdrawn.serving} serves until a model without it is better.[/]")
    if started is not None:
        console.print(f"  {started.because}")
