"""How `ratchet show` prints what a run did itself and what it found done."""

from rich.console import RenderableType
from rich.text import Text

from cli.render import seconds, table
from ratchet.domain import prices
from ratchet.domain.savings import StepUse, saved


def steps_table(steps: list[StepUse]) -> RenderableType:
    """Each step: run or reused, what it took and what it cost."""
    rows = [
        (
            Text("reused" if step.reused else "ran", style="green" if step.reused else ""),
            step.name,
            step.key[:12],
            step.made_by or "",
            seconds(step.seconds),
            _dollars(step.dollars),
        )
        for step in steps
    ]
    return table("", "step", "key", "made by", "job time#", "cost#", rows=rows)


def sentence(steps: list[StepUse]) -> str | None:
    """What reuse saved, when anything was reused."""
    if not any(step.reused for step in steps):
        return None
    time, money = saved(steps)
    lists = f"list prices of {prices.AS_OF}, {prices.REGION}"
    return f"reuse saved {seconds(time)} of job time and {_dollars(money)} ({lists})"


def _dollars(value: float | None) -> str:
    return "" if value is None else f"${value:.4f}"
