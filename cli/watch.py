"""`ratchet watch`: follows verdicts and runs while they happen."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.errors import CommandError
from cli.history import StateTime, Timeline, timeline
from cli.render import console, finding, moment, now, outcome, seconds, table
from cli.stack import Stack
from ratchet.domain.ledger import RunRecord, Verdict

_REFRESHES_PER_SECOND = 8


def watch(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Argument(help="The pipeline; needed only when there are several.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with the next run until Ctrl-C.")] = False,
) -> None:
    """Follow the run under way, or else the next one: verdicts, states, times, outcome."""
    stack = Stack.connect(context)
    name = pipeline or _only_pipeline(stack)
    stack.pipeline(name)
    seen = {run.run_id for run in stack.ledger.runs(name) if run.outcome is not None}
    while True:
        run = _next_run(stack, name, seen)
        follow_run(stack, run)
        seen.add(run.run_id)
        if not follow:
            return


def follow_run(stack: Stack, run: RunRecord) -> RunRecord:
    """Shows a run until it ended and is closed in the ledger; returns its record."""
    console.print(f"[bold]{run.run_id}[/] [dim]{run.reason}, since {moment(run.started_at)}[/]")
    if console.is_terminal:
        with Live(console=console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True) as live:
            for seen in _timelines(stack, run):
                live.update(states_table(seen))
        console.print(states_table(seen))
    else:
        _print_states(stack, run)
    ended = closed_run(stack, run)
    console.print(run_summary(ended))
    return ended


def closed_run(stack: Stack, run: RunRecord, timeout: float = 60) -> RunRecord:
    """The record of a run whose execution ended; CommandError when nobody closed it."""
    deadline = time.monotonic() + timeout
    while (record := stack.ledger.run(run.pipeline, run.run_id)) is None or record.outcome is None:
        if time.monotonic() > deadline:
            raise CommandError(
                f"The execution of {run.run_id} ended, but the run was not closed. `reconcile` closes it within five "
                f"minutes; its execution is {run.execution_arn}."
            )
        time.sleep(stack.poll_seconds)
    return record


def await_idle(stack: Stack, pipeline: str, timeout: float) -> None:
    """Waits until no run owns the pipeline and none is due; the retry of a failed run is not waited for."""
    deadline = time.monotonic() + timeout
    while (state := stack.pipeline(pipeline)).owner is not None or (state.behind and not state.failures):
        if time.monotonic() > deadline:
            raise CommandError(
                f"{pipeline} is still at work after {timeout:.0f} s. `ratchet watch {pipeline}` shows it."
            )
        time.sleep(stack.poll_seconds)


def ended_timeline(stack: Stack, run: RunRecord) -> Timeline:
    """The run's execution, once it has ended."""
    *_, last = _timelines(stack, run)
    return last


def states_table(seen: Timeline) -> RenderableType:
    """Each state visited, with its time; the running ones are marked."""
    until = seen.ended or now()
    return table("", "state", "time#", rows=[_state_row(state, until) for state in seen.states])


def run_summary(run: RunRecord) -> RenderableType:
    """How a run ended, in a sentence or in four answers."""
    line = Text.assemble(outcome(run.outcome), "  ", run.because or "")
    return Group(line, finding(run.finding)) if run.finding is not None else line


def _next_run(stack: Stack, pipeline: str, seen: set[str]) -> RunRecord:
    """The first run not seen yet; verdicts that come meanwhile are printed."""
    told: set[str] = {verdict.verdict_id for verdict in stack.ledger.verdicts(pipeline)}
    announced = False
    while True:
        if found := next((run for run in stack.ledger.runs(pipeline) if run.run_id not in seen), None):
            return found
        if not announced:
            console.print(f"[dim]Nothing of {pipeline} runs {stack.where}. Waiting for the next run; Ctrl-C ends.[/]")
            announced = True
        for verdict in stack.ledger.verdicts(pipeline):
            if verdict.verdict_id not in told:
                told.add(verdict.verdict_id)
                console.print(_verdict_line(verdict))
        time.sleep(stack.poll_seconds)


def _verdict_line(verdict: Verdict) -> RenderableType:
    line = Text.assemble(
        verdict.key, "  ", outcome(verdict.outcome), f"  {verdict.rows:,} rows, {verdict.bad_rows:,} bad"
    )
    return Group(line, finding(verdict.finding)) if verdict.finding is not None else line


def _timelines(stack: Stack, run: RunRecord) -> Iterator[Timeline]:
    """The execution as it goes on; the last one is complete."""
    while True:
        seen = timeline(stack.executions, run.execution_arn)
        yield seen
        if seen.status != "RUNNING":
            return
        time.sleep(stack.poll_seconds)


def _print_states(stack: Stack, run: RunRecord) -> None:
    """One line per state that ended: what a log can hold."""
    printed: set[int] = set()
    for seen in _timelines(stack, run):
        for place, state in enumerate(seen.states):
            if state.ended is not None and place not in printed:
                printed.add(place)
                console.print(f"  {state.name}  {seconds(state.seconds(state.ended))}")


def _state_row(state: StateTime, until: datetime) -> tuple[RenderableType, ...]:
    mark = Text("✓", style="green") if state.ended else Text("▸", style="cyan")
    return mark, Text(state.name, style="" if state.ended else "cyan"), seconds(state.seconds(until))


def _only_pipeline(stack: Stack) -> str:
    names = sorted(state.pipeline for state in stack.ledger.pipelines())
    if len(names) != 1:
        known = ", ".join(names) or "none yet"
        raise CommandError(f"Which pipeline? The stack {stack.name} has: {known}. Write `ratchet watch <pipeline>`.")
    return names[0]
