"""The workflow validate_large by named paths."""

import base64
import json
from typing import Any

import pytest

from ratchet.contracts.ingest import ObjectCreatedEvent
from tests.statemachine import examples, lint
from tests.statemachine.definitions import load, tasks, transitions
from tests.statemachine.interpreter import Answer, Answers, Execution, Raised, run

EVENT = examples.LARGE.event
MACHINE = load("validate_large")
TASKS = {place.name: place.state for place in tasks(MACHINE)}
JUDGED = {"Id": "jr_1", "JobRunState": "SUCCEEDED", "ExecutionTime": 71}


def answers() -> dict[str, list[Answer]]:
    """Every service answers well."""
    return {
        "Validate Large Data": [JUDGED],
        "Ingest Again": [examples.EXECUTION_STARTED],
        "Keep Event": [examples.KEPT],
    }


def validate(given: Answers) -> Execution:
    return run("validate_large", EVENT, given, name=examples.LARGE.execution_name)


def always(error: str) -> list[Answer]:
    """The same error on every attempt."""
    return [Raised(error)] * 12


def test_a_job_judges_and_ingest_tells() -> None:
    execution = validate(answers())
    assert execution.status == "SUCCEEDED"
    assert execution.path == ["Validate Large Data", "Ingest Again", "Large Data Judged"]
    assert transitions(MACHINE, execution.path) == 3
    (job,) = execution.sent["Validate Large Data"]
    given = json.loads(base64.b64decode(job["Arguments"]["--event"]))
    assert given == EVENT
    assert ObjectCreatedEvent.model_validate(given).detail.object.key.startswith("incoming/")
    (again,) = execution.sent["Ingest Again"]
    assert again["Input"] == EVENT


@pytest.mark.parametrize("state", ["Validate Large Data", "Ingest Again"])
def test_an_event_that_fails_is_kept_in_ingests_queue(state: str) -> None:
    execution = validate(answers() | {state: always("SomethingBroke")})
    assert (execution.status, execution.error) == ("FAILED", "LargeValidationFailed")
    assert "because the test says so" in str(execution.cause)
    assert execution.path[-2:] == ["Keep Event", "Large Validation Failed"]
    (kept,) = execution.sent["Keep Event"]
    assert kept["MessageBody"] == EVENT
    attributes = {name: value["StringValue"] for name, value in kept["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "SomethingBroke"


def test_an_event_that_cannot_even_be_kept_fails_by_name() -> None:
    execution = validate(answers() | {"Validate Large Data": always("Denied"), "Keep Event": always("SQS.Down")})
    assert (execution.status, execution.error) == ("FAILED", "EventNotKept")
    assert "SQS.Down" in str(execution.cause)


@pytest.mark.parametrize(("state", "number"), [(name, i) for name in TASKS for i in range(len(TASKS[name]["Retry"]))])
def test_a_busy_world_is_asked_again(state: str, number: int) -> None:
    good = answers()
    if state == "Keep Event":
        good["Validate Large Data"] = always("Denied")
    retrier: dict[str, Any] = TASKS[state]["Retry"][number]
    error = retrier["ErrorEquals"][-1].replace("States.TaskFailed", "Any.Other")
    execution = validate(good | {state: [Raised(error), *good[state]]})
    assert len(execution.sent[state]) == 2
    assert execution.path[-1] in ("Large Data Judged", "Large Validation Failed")
    assert execution.waits[-1] <= retrier["MaxDelaySeconds"]


def test_it_cannot_outlive_its_own_timeout_which_no_catch_would_see() -> None:
    assert lint.longest_way(MACHINE) < MACHINE["TimeoutSeconds"]
