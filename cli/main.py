"""The `ratchet` command: its table of contents."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import (
    apply,
    approve,
    audit,
    cleanup,
    demo,
    deploy,
    dlq,
    lineage,
    local,
    predict,
    report,
    rollback,
    run,
    show,
    upload,
    watch,
    withdraw,
)
from cli.errors import EXPECTED, explain
from cli.render import errors
from cli.stack import AWS_STACK, LOCAL_STACK, Choice, Target


class _Commands(TyperGroup):
    """Turns every expected error into one paragraph and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            errors.print(f"[bold red]Error:[/] {_escape(explain(error))}", soft_wrap=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    help="Turns an upload into a served model, or into a clear reason why not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _choose(
    context: typer.Context,
    aws: Annotated[bool, typer.Option("--aws", help="Talk to AWS; without it, always to the embedded cloud.")] = False,
    target: Annotated[Target, typer.Option(envvar="RATCHET_TARGET", hidden=True)] = Target.LOCAL,
    stack: Annotated[
        str | None,
        typer.Option(envvar="RATCHET_STACK", help=f"Stack name: {LOCAL_STACK} here, {AWS_STACK} on AWS."),
    ] = None,
) -> None:
    context.obj = Choice(stack, Target.AWS if aws else target)


app.add_typer(local.app, name="local")
app.command()(deploy.deploy)
app.command()(show.status)
app.command()(apply.apply)
app.command()(upload.upload)
app.command()(run.run)
app.command()(watch.watch)
app.command()(show.runs)
app.command()(show.show)
app.command()(report.report)
app.command()(lineage.lineage)
app.command()(predict.predict)
app.command()(predict.wake)
app.command()(predict.openapi)
app.command()(cleanup.cleanup)
app.command()(withdraw.withdraw)
app.command()(approve.approve)
app.command()(approve.reject)
app.command()(rollback.rollback)
app.command()(audit.audit)
app.add_typer(dlq.app, name="dlq")
app.command()(demo.demo)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
