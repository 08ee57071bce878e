"""`ratchet audit`: what is unaccounted for; it reads and changes nothing."""

from typing import Annotated

import typer

from cli.errors import CommandError
from cli.render import console, now, print_json, table
from cli.stack import JsonOption, Stack
from ratchet.domain.audit import Audit, AuditReport
from ratchet.domain.questions import Questions


def audit(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Argument(help="The pipeline's name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every pipeline of the stack.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the ledger with what is; exit code 1 when anything is unaccounted for."""
    if (pipeline is None) != every:
        raise CommandError("Name one pipeline, or write --all.")
    stack = Stack.connect(context)
    if pipeline is not None:
        stack.pipeline(pipeline)
    report = audit_of(stack, pipeline)
    if as_json:
        print_json(report)
    elif report.findings:
        rows = [(found.pipeline, found.kind, found.subject, found.what) for found in report.findings]
        console.print(table("pipeline", "what", "which", "is", rows=rows))
        console.print("[dim]reconcile mends what it can within five minutes; `ratchet audit` again then.[/]")
    else:
        console.print("[green]Everything is accounted for.[/]")
    if report.findings:
        raise typer.Exit(1)


def audit_of(stack: Stack, pipeline: str | None = None) -> AuditReport:
    """What is unaccounted for in one pipeline, or in all."""
    names = stack.outputs.data_bucket_name, stack.outputs.resource_prefix
    return Audit(Questions(stack.ledger, stack.store, stack.workflow, stack.endpoints, now, *names))(pipeline)
