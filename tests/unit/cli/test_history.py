"""Timelines from execution histories."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cli.history import Timeline, state_times

START = datetime(2026, 1, 1, tzinfo=UTC)


def entered(name: str, second: float, kind: str = "Task") -> dict[str, Any]:
    return {
        "type": f"{kind}StateEntered",
        "timestamp": START + timedelta(seconds=second),
        "stateEnteredEventDetails": {"name": name},
    }


def exited(name: str, second: float, kind: str = "Task") -> dict[str, Any]:
    return {
        "type": f"{kind}StateExited",
        "timestamp": START + timedelta(seconds=second),
        "stateExitedEventDetails": {"name": name},
    }


def test_states_stand_in_the_order_they_were_entered() -> None:
    events = [
        {"type": "ExecutionStarted", "timestamp": START},
        entered("Train Candidates", 1, "Map"),
        entered("Train Candidate", 1.5),
        {"type": "TaskScheduled", "timestamp": START},
        exited("Train Candidate", 4),
        exited("Train Candidates", 4.5, "Map"),
        entered("Select Candidate", 5),
    ]
    states = state_times(events)
    assert [(state.name, state.ended is None) for state in states] == [
        ("Train Candidates", False),
        ("Train Candidate", False),
        ("Select Candidate", True),
    ]
    assert [state.seconds(START + timedelta(seconds=7)) for state in states] == [3.5, 2.5, 2.0]
    assert Timeline("RUNNING", START, None, states).transitions == 3


def test_two_visits_at_once_are_two_lines() -> None:
    events = [
        entered("Score Model", 0),
        entered("Score Model", 1),
        exited("Score Model", 5),
        exited("Score Model", 6),
    ]
    assert [state.seconds(START) for state in state_times(events)] == [5, 5]


def test_a_failed_state_is_never_exited() -> None:
    events = [entered("Preprocess Data", 0), {"type": "ExecutionFailed", "timestamp": START}]
    assert [state.ended for state in state_times(events)] == [None]
