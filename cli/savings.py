"""What a run did itself and what it found done: time and money, at list prices."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from cli.render import seconds, table
from ratchet.domain import prices
from ratchet.domain.ledger import Ledger, RunRecord, Step


@dataclass(frozen=True)
class StepUse:
    """A step of a run; `reused` ones cost their seconds and dollars in the run that `made` them."""

    name: str
    key: str
    reused: bool
    made_by: str | None = None
    seconds: float | None = None
    dollars: float | None = None


def steps_of(ledger: Ledger, record: RunRecord) -> list[StepUse]:
    """The run's keyed steps in order; none before it was planned."""
    return list(_steps(ledger, record))


def saved(steps: list[StepUse]) -> tuple[float, float]:
    """Seconds and dollars that the reused steps did not cost again."""
    reused = [step for step in steps if step.reused]
    return sum(step.seconds or 0 for step in reused), round(sum(step.dollars or 0 for step in reused), 6)


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


def _steps(ledger: Ledger, record: RunRecord) -> Iterator[StepUse]:
    plan = record.plan
    if plan is None or plan.preprocess is None or plan.train is None:
        return
    keyed = [("preprocess", plan.preprocess.key, plan.preprocess.known)]
    keyed += [(f"train {candidate.name}", candidate.key, True) for candidate in plan.train.reused]
    keyed += [(f"train {candidate.name}", candidate.key, False) for candidate in plan.train.candidates]
    for name, key, reused in sorted(keyed):
        yield _use(name, key, reused, ledger.step(record.pipeline, key))


def _use(name: str, key: str, reused: bool, step: Step | None) -> StepUse:
    if step is None:
        return StepUse(name, key, reused)
    return StepUse(name, key, reused, step.run_id, step.seconds, step.dollars)


def _dollars(value: float | None) -> str:
    return "" if value is None else f"${value:.4f}"
