"""`ratchet rollback`: the previous champion serves again."""

import time
from contextlib import nullcontext
from typing import Annotated

import typer

from cli.render import console, now, print_json, waiting
from cli.stack import JsonOption, Stack
from ratchet.adapters.event_bus import EventBus
from ratchet.domain.announcements import announcement_of, kind_of
from ratchet.domain.rolling_back import RollBack
from ratchet.domain.verifying import VerifyEndpoint


def rollback(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why: it stands in the champion history.")],
    as_json: JsonOption = False,
) -> None:
    """Put the previous champion back on the endpoint; refused while a run owns the pipeline."""
    stack = Stack.connect(context)
    stack.pipeline(pipeline)
    roll_back = RollBack(
        ledger=stack.ledger,
        endpoints=stack.endpoints,
        workflow=stack.workflow,
        verify=VerifyEndpoint(stack.store, stack.endpoints),
        clock=now,
        sleep=time.sleep,
        poll_seconds=stack.poll_seconds,
    )
    with nullcontext() if as_json else waiting(f"Putting the previous champion of {pipeline} back"):
        record = roll_back(pipeline, reason, stack.caller)
    bus = EventBus(stack.outputs.event_bus_name, stack.session.client("events"))
    bus.announce(kind_of(record), announcement_of(record))
    if as_json:
        print_json(record)
    else:
        console.print(f"[green]{record.because}[/]")
