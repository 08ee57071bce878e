"""The table of calls is the workflows': each Task stands in it with its own call, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.calls import INVOKE, TASKS, TRANSACT
from tests.faults.cells import Cell, Column
from tests.template.reading import as_list, deployed

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


@pytest.mark.parametrize("machine", MACHINES)
def test_what_a_function_calls_is_granted_to_it(machine: str) -> None:
    functions = deployed()
    for state, does in TASKS[machine].items():
        if does.inner:
            role = functions[f"{Cell(machine, state, Column.DENIED).function}Role"]["Properties"]
            granted = {
                action
                for policy in role["Policies"]
                for statement in policy["PolicyDocument"]["Statement"]
                for action in as_list(statement["Action"])
            }
            # A transaction is allowed as the writes that it is made of.
            needed = {call if call != TRANSACT else "dynamodb:PutItem" for call in does.inner}
            assert needed <= granted, state
