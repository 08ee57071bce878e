"""The ingest workflow by named paths."""

import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.contracts.ingest import ObjectCreatedEvent, VerdictOutcome
from ratchet.contracts.starting import StartRunRequest
from tests.statemachine import examples
from tests.statemachine.definitions import load, tasks, transitions
from tests.statemachine.examples import answered
from tests.statemachine.interpreter import Answer, Answers, Execution, Raised, run

EVENT = json.loads((Path(__file__).parents[2] / "events/ingest/ok.json").read_text())
INGEST = load("ingest")
TASKS = {place.name: place.state for place in tasks(INGEST)}


def answers(outcome: VerdictOutcome = VerdictOutcome.ACCEPTED) -> dict[str, list[Answer]]:
    """Every service answers well."""
    return {
        "Validate Data": [answered(examples.verdict(outcome))],
        "Announce Acceptance": [examples.PUT],
        "Start Run": [answered(examples.STARTED)],
        "Announce Rejection": [examples.PUT],
        "Start Large Validation": [examples.EXECUTION_STARTED],
        "Keep Event": [examples.KEPT],
    }


def outcome_before(state: str) -> VerdictOutcome:
    """The verdict that leads to a state."""
    outcomes = {"Announce Rejection": VerdictOutcome.REJECTED, "Start Large Validation": VerdictOutcome.LARGE}
    return outcomes.get(state, VerdictOutcome.ACCEPTED)


def ingest(given: Answers) -> Execution:
    return run("ingest", EVENT, given, name="ingest-1")


def always(error: str) -> list[Answer]:
    """The same error on every attempt."""
    return [Raised(error)] * 5


def test_accepted_data_starts_a_run() -> None:
    execution = ingest(answers())
    assert execution.status == "SUCCEEDED"
    assert execution.path == [
        "Validate Data",
        "What Is The Verdict?",
        "Announce Acceptance",
        "Start Run",
        "Data Accepted",
    ]
    assert StartRunRequest.model_validate(execution.payload("Start Run")) == StartRunRequest(
        pipeline="traffic", reason="upload"
    )


def test_the_function_gets_the_event_as_it_came() -> None:
    execution = ingest(answers())
    assert execution.payload("Validate Data") == EVENT
    assert ObjectCreatedEvent.model_validate(EVENT).detail.object.key.startswith("incoming/")


def test_rejected_data_is_told_and_starts_nothing() -> None:
    execution = ingest(answers(VerdictOutcome.REJECTED))
    assert execution.status == "SUCCEEDED"
    assert execution.path == ["Validate Data", "What Is The Verdict?", "Announce Rejection", "Data Rejected"]
    assert execution.sent["Announce Rejection"][0]["Entries"][0]["DetailType"] == "Data Rejected"


def test_large_data_is_handed_to_the_execution_that_the_function_names() -> None:
    execution = ingest(answers(VerdictOutcome.LARGE))
    assert execution.status == "SUCCEEDED"
    assert execution.path[-3:] == ["What Is The Verdict?", "Start Large Validation", "Large Validation Started"]
    (started,) = execution.sent["Start Large Validation"]
    assert started["Name"] == examples.LARGE.execution_name
    assert started["Input"] == examples.LARGE.event


def test_a_duplicate_costs_three_transitions_and_does_nothing() -> None:
    execution = ingest(answers(VerdictOutcome.DUPLICATE))
    assert execution.path == ["Validate Data", "What Is The Verdict?", "Already Known"]
    assert transitions(INGEST, execution.path) == 3


@pytest.mark.parametrize("state", [name for name in TASKS if name != "Keep Event"])
def test_an_event_that_fails_is_kept_as_eventbridge_keeps_it(state: str) -> None:
    execution = ingest(answers(outcome_before(state)) | {state: always("SomethingBrokeError")})
    assert execution.status == "FAILED"
    assert execution.error == "IngestFailed"
    assert "SomethingBrokeError" in str(execution.cause)
    assert execution.path[-2:] == ["Keep Event", "Ingest Failed"]
    (kept,) = execution.sent["Keep Event"]
    assert kept["MessageBody"] == EVENT
    attributes = {name: value["StringValue"] for name, value in kept["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "SomethingBrokeError"
    assert json.loads(attributes["ERROR_MESSAGE"]) == {
        "Error": "SomethingBrokeError",
        "Cause": "because the test says so",
    }


def test_an_event_that_cannot_even_be_kept_fails_by_name() -> None:
    execution = ingest(answers() | {"Validate Data": always("Denied"), "Keep Event": always("SQS.Down")})
    assert execution.status == "FAILED"
    assert execution.error == "EventNotKept"
    assert "SQS.Down" in str(execution.cause)


@pytest.mark.parametrize("state", TASKS)
def test_a_busy_world_is_asked_again(state: str) -> None:
    good = answers(outcome_before(state))
    if state == "Keep Event":
        good["Validate Data"] = always("Denied")
    retrier: dict[str, Any] = TASKS[state]["Retry"][0]
    error = retrier["ErrorEquals"][-1].replace("States.TaskFailed", "Any.Other")
    execution = ingest(good | {state: [Raised(error), *good[state]]})
    assert len(execution.sent[state]) == 2
    assert execution.path[-1] in ("Data Accepted", "Data Rejected", "Large Validation Started", "Ingest Failed")
    assert all(wait <= retrier["MaxDelaySeconds"] for wait in execution.waits)
