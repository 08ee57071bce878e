"""The table of calls is the workflows': each Task stands in it with its own call, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.calls import INVOKE, TASKS

MACHINES = sorted(path.name.removesuffix(".asl.json") for path in Path("statemachine").glob("*.asl.json"))


def tasks_of(machine: str) -> dict[str, str]:
    """Task → the IAM action of its call."""
    definition = json.loads((Path("statemachine") / f"{machine}.asl.json").read_text())
    return dict(_tasks(definition))


def _tasks(part: dict[str, Any]) -> Any:
    for name, state in part["States"].items():
        if state["Type"] == "Task":
            yield name, _action(state["Resource"])
        for inner in (state.get("ItemProcessor"), *state.get("Branches", ())):
            if inner:
                yield from _tasks(inner)


def _action(resource: str) -> str:
    service, operation = resource.split(":::")[1].removeprefix("aws-sdk:").split(".")[0].split(":")
    return INVOKE if service == "lambda" else f"{service}:{operation[0].upper()}{operation[1:]}"


def test_every_workflow_is_in_the_table() -> None:
    assert sorted(TASKS) == MACHINES


@pytest.mark.parametrize("machine", MACHINES)
def test_every_task_is_in_the_table_with_its_call(machine: str) -> None:
    assert {name: does.call for name, does in TASKS[machine].items()} == tasks_of(machine)
