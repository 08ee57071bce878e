"""What an execution's history says: which state was entered when, and how long it took."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_ENTERED, _EXITED = "StateEntered", "StateExited"


@dataclass(frozen=True)
class StateTime:
    """One visit of a state; `ended` is None while it runs."""

    name: str
    started: datetime
    ended: datetime | None = None

    def seconds(self, now: datetime) -> float:
        """How long the visit took, or has taken so far."""
        return ((self.ended or now) - self.started).total_seconds()


@dataclass(frozen=True)
class Timeline:
    """An execution as people follow it."""

    status: str  # RUNNING | SUCCEEDED | FAILED | TIMED_OUT | ABORTED
    started: datetime
    ended: datetime | None
    states: tuple[StateTime, ...]

    @property
    def seconds(self) -> float | None:
        """From start to end; None while it runs."""
        return (self.ended - self.started).total_seconds() if self.ended else None

    @property
    def transitions(self) -> int:
        """State transitions, as AWS bills them: one for every state entered."""
        return len(self.states)


def timeline(executions: "SFNClient", arn: str) -> Timeline:
    """The execution's states so far, in the order they were entered."""
    described = executions.describe_execution(executionArn=arn)
    pages = executions.get_paginator("get_execution_history").paginate(executionArn=arn, includeExecutionData=False)
    return Timeline(
        status=described["status"],
        started=described["startDate"],
        ended=described.get("stopDate"),
        states=state_times(event for page in pages for event in page["events"]),
    )


def state_times(events: Iterable[Mapping[str, Any]]) -> tuple[StateTime, ...]:
    """Pairs the entries and exits of states; visits of the same state in a Map end in the order they began."""
    visits: list[StateTime] = []
    running: defaultdict[str, deque[int]] = defaultdict(deque)
    for event in events:
        if event["type"].endswith(_ENTERED):
            name = event["stateEnteredEventDetails"]["name"]
            running[name].append(len(visits))
            visits.append(StateTime(name, event["timestamp"]))
        elif event["type"].endswith(_EXITED):
            place = running[event["stateExitedEventDetails"]["name"]].popleft()
            visits[place] = replace(visits[place], ended=event["timestamp"])
    return tuple(visits)
