"""The workflows' README says what the files say."""

import re
from pathlib import Path

import pytest

from tests.statemachine.definitions import FOLDER, MACHINES, load, next_states, places
from tests.statemachine.lint import OUR_ERRORS

README = (FOLDER / "README.md").read_text()


def _section(machine: str) -> str:
    match = re.search(rf"^## {machine}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert match, f"statemachine/README.md has no section '## {machine}': add it"
    return match[1]


def _table(machine: str) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in _section(machine).splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in rows[2:]}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_table_lists_every_state_in_the_order_of_the_file(machine: str) -> None:
    assert list(_table(machine)) == [place.name for place in places(load(machine))]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_table_names_each_resource(machine: str) -> None:
    table = _table(machine)
    for place in places(load(machine)):
        resource = table[place.name][0]
        if place.state["Type"] != "Task":
            assert resource == place.state["Type"], place.name
            continue
        used = place.state["Resource"].split(":::")[1]
        function = place.state["Parameters"].get("FunctionName")
        expected = f"`{_snake(function)}`" + (" by callback" if "Token" in used else "") if function else f"`{used}`"
        assert resource == expected, place.name


@pytest.mark.parametrize("machine", MACHINES)
def test_the_table_says_where_each_failure_goes(machine: str) -> None:
    table = _table(machine)
    for place in places(load(machine)):
        for catch in place.state.get("Catch", ()):
            assert catch["Next"] in table[place.name][2], f"{place.name}: say that a failure goes to {catch['Next']}"


@pytest.mark.parametrize("machine", MACHINES)
def test_the_picture_has_every_arrow_that_is_no_failure(machine: str) -> None:
    picture = re.search(r"```mermaid\n(.*?)```", _section(machine), re.DOTALL)
    assert picture
    names = dict(re.findall(r'^ +(\w+)[\[({]+"([^"]+)"', picture[1], re.MULTILINE))
    drawn = {
        (names[one], names[other])
        for one, other in re.findall(r"^ +(\w+) -->(?:\|[^|]+\|)? (\w+)$", picture[1], re.MULTILINE)
    }
    definition = load(machine)
    walked = {
        (name, target)
        for name, state in definition["States"].items()
        for target in next_states({key: value for key, value in state.items() if key != "Catch"})
    }
    assert drawn == walked


def _snake(substitution: str) -> str:
    name = substitution.removeprefix("${").removesuffix("FunctionArn}")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_every_error_that_is_named_exists() -> None:
    named = set(re.findall(r"`(\w+Error)`", README))
    assert named
    assert named <= OUR_ERRORS.keys()


def test_every_file_of_the_folder_is_described() -> None:
    for path in Path(FOLDER).glob("*.asl.json"):
        assert path.name in README, f"statemachine/README.md does not mention {path.name}"
