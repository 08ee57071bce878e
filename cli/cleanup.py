"""`ratchet cleanup`: the hourly sweep, now or as a look at what it would do."""

from typing import Annotated

import typer

from cli.render import console, print_json
from cli.run import invoke
from cli.stack import JsonOption, Stack
from ratchet.contracts.cleanup import CleanupReport
from ratchet.domain.idling import HOURS_A_MONTH


def cleanup(
    context: typer.Context,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only show.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show, or delete, the endpoints nobody asks and the configurations and models nothing needs."""
    stack = Stack.connect(context)
    report = CleanupReport.model_validate(
        invoke(stack, stack.outputs.cleanup_endpoints_function_name, {"dry_run": not delete})
    )
    if as_json:
        print_json(report)
        return
    done = "Deleted" if delete else "Would delete"
    for endpoint in report.endpoints:
        monthly = endpoint.hourly_dollars * HOURS_A_MONTH
        console.print(f"{done} {endpoint.name}: {endpoint.because}; ${monthly:.0f} a month.")
    console.print(f"{done} {len(report.configs)} configurations and {len(report.models)} models.")
    for name, why in report.spared.items():
        console.print(f"[dim]{name} stays: {why}.[/]")
    for text in report.waiting:
        console.print(f"[yellow]{text}[/]")
