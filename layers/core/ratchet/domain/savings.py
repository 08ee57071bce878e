"""What a run did itself and what it found done: time and money, at list prices."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ratchet.domain.ledger import Ledger, RunRecord, Step


class StepUse(NamedTuple):
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


def saved(steps: Sequence[StepUse]) -> tuple[float, float]:
    """Seconds and dollars that the reused steps did not cost again."""
    reused = [step for step in steps if step.reused]
    return sum(step.seconds or 0 for step in reused), round(sum(step.dollars or 0 for step in reused), 6)


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
