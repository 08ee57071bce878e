"""`ratchet approve` and `ratchet reject`: a person's decision, signed with the caller's own AWS identity."""

from typing import Annotated

import typer

from cli.errors import CommandError
from cli.render import console, print_json
from cli.stack import JsonOption, Stack
from ratchet.contracts.approval import ApprovalOrder, ApprovalReceipt
from ratchet.contracts.run import Decision

Run = Annotated[str, typer.Argument(help="The run that waits, such as traffic-g7.")]
Reason = Annotated[str, typer.Option("--reason", help="Why: it stands beside your identity in the run's record.")]


def approve(context: typer.Context, run: Run, *, reason: Reason, as_json: JsonOption = False) -> None:
    """Approve a candidate that waits for it: the run goes on to deployment."""
    _decide(context, run, ApprovalOrder(decision=Decision.APPROVED, reason=reason), as_json=as_json)


def reject(context: typer.Context, run: Run, *, reason: Reason, as_json: JsonOption = False) -> None:
    """Reject a candidate that waits for approval: the champion stays."""
    _decide(context, run, ApprovalOrder(decision=Decision.REJECTED, reason=reason), as_json=as_json)


def _decide(context: typer.Context, run: str, order: ApprovalOrder, *, as_json: bool) -> None:
    answer = Stack.connect(context).api.post("runs", run, "approval", body=order.model_dump(mode="json"))
    if not answer.ok:
        raise CommandError(f"{run} was not decided: {answer.reason}. `ratchet show {run}` tells how it stands.")
    receipt = ApprovalReceipt.model_validate(answer.body)
    if as_json:
        print_json(receipt)
        return
    console.print(f"[green]{receipt.run} is {receipt.decision.lower()}[/] by {receipt.by}.")
    if receipt.superseded:
        console.print("  Newer work has arrived since it was trained; the next run takes it once this one has ended.")
