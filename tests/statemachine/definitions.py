"""The workflows as the tests read them, and the contracts at the doors of the functions that they call."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from ratchet.contracts import approval, closing, ingest, report, run, starting, states

State = dict[str, Any]
Machine = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "statemachine"
MACHINES = ("ingest", "validate_large", "retrain")

# Function -> (what its handler parses, what it answers). The answer of one called with a token is the token's.
CONTRACTS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "ValidateDataFunction": (ingest.ObjectCreatedEvent, ingest.ValidateDataResult),
    "StartRunFunction": (starting.StartRunRequest, starting.StartRunResult),
    "CheckIdempotencyFunction": (states.CheckIdempotencyRequest, run.RunPlan),
    "SelectCandidateFunction": (states.SelectCandidateRequest, run.Selection),
    "EvaluateModelFunction": (states.EvaluateModelRequest, run.Evaluation),
    "WriteReportFunction": (report.WriteReportRequest, report.WriteReportResult),
    "RequestApprovalFunction": (approval.RequestApprovalRequest, run.ApprovalAnswer),
    "CompareShadowFunction": (states.CompareShadowRequest, run.ShadowComparison),
    "DeployEndpointFunction": (states.DeployEndpointRequest, run.DeploymentResult),
    "VerifyEndpointFunction": (states.VerifyEndpointRequest, run.Verification),
    "CloseRunFunction": (closing.CloseRunRequest, closing.CloseRunResult),
}


class Place(NamedTuple):
    """A state and where it stands; `inside` is the Map around it."""

    name: str
    state: State
    inside: str | None


def pascal(machine: str) -> str:
    """validate_large -> ValidateLarge, which its logical ids begin with."""
    return "".join(part.title() for part in machine.split("_"))


def text_of(machine: str) -> str:
    """The file as it is, with its substitutions."""
    return (FOLDER / f"{machine}.asl.json").read_text()


def load(machine: str) -> Machine:
    """The definition as JSON; it must parse before any substitution."""
    definition: Machine = json.loads(text_of(machine))
    return copy.deepcopy(definition)


def substitutions_in(text: str) -> set[str]:
    """The names written `${Name}`."""
    return set(re.findall(r"\$\{(\w+)\}", text))


def places(definition: Machine, inside: str | None = None) -> Iterator[Place]:
    """Every state, those inside a Map after their Map."""
    for name, state in definition["States"].items():
        yield Place(name, state, inside)
        if state["Type"] == "Map":
            yield from places(state["ItemProcessor"], name)


def tasks(definition: Machine) -> Iterator[Place]:
    """Every Task."""
    return (place for place in places(definition) if place.state["Type"] == "Task")


def integration(state: State) -> str:
    """`sagemaker:createTrainingJob.sync` of a Task's Resource."""
    resource: str = state["Resource"]
    return resource.split(":::", 1)[1]


def function_of(state: State) -> str | None:
    """The logical id of the function a Task invokes, or None."""
    name: str | None = state.get("Parameters", {}).get("FunctionName")
    return name.removeprefix("${").removesuffix("Arn}") if name else None


def next_states(state: State) -> Iterator[str]:
    """Where a state may go, its catchers included."""
    if "Next" in state:
        yield state["Next"]
    for branch in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield branch["Next"]
    if "Default" in state:
        yield state["Default"]


def horizon(retrier: State) -> int:
    """The seconds a retrier waits in all, at most; full jitter only shortens it."""
    waits = (
        retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt for attempt in range(retrier["MaxAttempts"])
    )
    return int(sum(min(wait, retrier["MaxDelaySeconds"]) for wait in waits))


def transitions(definition: Machine, path: list[str]) -> int:
    """What Step Functions bills for a path: every state entered."""
    known = {place.name for place in places(definition)}
    assert set(path) <= known
    return len(path)
