"""`ratchet local`: the embedded cloud of this working copy."""

import shutil
import time
from typing import Annotated

import typer

from cli.errors import CommandError
from cli.render import console, moment, print_json, seconds, waiting
from cli.stack import JsonOption, embedded_cloud

app = typer.Typer(help="Start, stop and inspect the embedded cloud.", no_args_is_help=True)

_FOLLOW_SECONDS = 0.2


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Loopback port; default: the last one used, or 4566.")] = None,
) -> None:
    """Start the embedded cloud; what was deployed and uploaded before is there again."""
    cloud = embedded_cloud(port)
    started = time.monotonic()
    with waiting("Starting the embedded cloud"):
        cloud.up()
    console.print(
        f"[green]The embedded cloud is up[/] at {cloud.endpoint_url} ({seconds(time.monotonic() - started)})."
    )
    console.print("[dim]Next: `ratchet deploy`. Stop it with `ratchet local down`.[/]")


@app.command()
def down(wipe: Annotated[bool, typer.Option("--wipe", help="Also delete everything it holds.")] = False) -> None:
    """Stop the embedded cloud and save its state."""
    cloud = embedded_cloud()
    with waiting("Stopping the embedded cloud"):
        cloud.down()
    if wipe:
        shutil.rmtree(cloud.settings.state, ignore_errors=True)
    console.print("The embedded cloud is down" + (", and its state is deleted." if wipe else "; its state is kept."))


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show whether the embedded cloud runs, where, and since when."""
    cloud = embedded_cloud()
    found = cloud.status()
    if as_json:
        print_json(
            {
                "running": found.running,
                "healthy": found.healthy,
                "endpoint_url": cloud.endpoint_url if found.running else None,
                "pid": found.pid,
                "since": found.since,
                "version": found.version,
                "state": str(cloud.settings.state),
            }
        )
    elif not found.running:
        console.print(f"The embedded cloud is [bold]down[/] (its state: {cloud.settings.state}).")
    else:
        health = "[green]up[/]" if found.healthy else "[yellow]up, but not answering yet[/]"
        console.print(
            f"The embedded cloud is {health} at {cloud.endpoint_url}, MiniStack {found.version}, process {found.pid}, "
            f"since {moment(found.since)} (its state: {cloud.settings.state})."
        )


@app.command()
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
) -> None:
    """Print the embedded cloud's log."""
    log = embedded_cloud().log_file
    if not log.exists():
        raise CommandError(f"There is no log at {log}: the embedded cloud never ran. Start it with `ratchet local up`.")
    with log.open(errors="replace") as file:
        print("".join(file.readlines()[-lines:]), end="")  # noqa: T201  raw: log lines are not markup
        while follow:
            print(file.read(), end="", flush=True)  # noqa: T201
            time.sleep(_FOLLOW_SECONDS)
