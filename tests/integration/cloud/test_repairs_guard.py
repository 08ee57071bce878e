"""The repairs refuse to start on a MiniStack they were not written for, and the table of them is complete."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ministack.services import stepfunctions

from local.cloud.process import Cloud, CloudError, CloudSettings, free_port
from local.cloud.repairs import REPAIRS, jsonpath, patching
from local.cloud.repairs.delivery import RetryPolicy, UndeliverableError, retry_delivery
from local.cloud.repairs.patching import RepairError, edit, expect, replace

REPOSITORY = Path(__file__).parents[3]
_SOURCE = """
import time

def wait(seconds, *, why=None):
    time.sleep(0.1)
    return seconds
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module to patch."""
    (tmp_path / "patched_package.py").write_text(_SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("patched_package")
    del sys.modules["patched_package"]


def test_a_function_is_replaced_and_keeps_its_signature(package: Any) -> None:
    replace(package, "wait", "(seconds, *, why=None)", lambda original: lambda seconds: original(seconds) + 1)

    assert package.wait(1) == 2
    expect(package, "wait", "(seconds, *, why=None)", ("time.sleep(0.1)",))


def test_an_edit_changes_one_fragment(package: Any) -> None:
    edit(package, "wait", "(seconds, *, why=None)", "return seconds", "return seconds + 1")

    assert package.wait(1) == 2


@pytest.mark.parametrize(
    ("name", "signature", "fragment", "reason"),
    [
        ("gone", "()", "", "does not exist"),
        ("wait", "(seconds)", "", r"takes \(seconds, \*, why=None\), not \(seconds\)"),
        ("wait", "(seconds, *, why=None)", "sleep(0.2)", r"no longer contains 'sleep\(0.2\)'"),
    ],
)
def test_another_package_is_refused(package: Any, name: str, signature: str, fragment: str, reason: str) -> None:
    with pytest.raises(RepairError, match=reason):
        replace(package, name, signature, lambda original: original, (fragment,))


def test_an_edit_of_something_ambiguous_or_replaced_is_refused(package: Any) -> None:
    with pytest.raises(RepairError, match="times, not once"):
        edit(package, "wait", "(seconds, *, why=None)", "seconds", "minutes")
    replace(package, "wait", "(seconds, *, why=None)", lambda _: lambda seconds: seconds)
    with pytest.raises(RepairError, match="edits must come first"):
        edit(package, "wait", "(seconds, *, why=None)", "return seconds", "return 0")


def test_a_repair_does_not_install_itself_on_a_changed_ministack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepfunctions, "_parse_jsonpath_tokens", lambda path, strict: [])

    with pytest.raises(RepairError, match="_parse_jsonpath_tokens takes"):
        jsonpath.apply()


def test_leaving_out_what_does_not_exist_is_an_error(tmp_path: Path) -> None:
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path, without="T99"))

    with pytest.raises(CloudError, match="There is no repair T99"):
        cloud.up()


# -- the table of traps -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One trap of the table: the modules that repair it, and the files that test it."""

    modules: frozenset[str]
    tests: frozenset[str]


@pytest.fixture(scope="module")
def table() -> dict[str, Row]:
    """The table of docs/embedded-cloud.md, by trap."""
    text = (REPOSITORY / "docs/embedded-cloud.md").read_text()
    rows = re.findall(r"^\| (T\d+|speed|kill) \|.*\| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    return {trap: Row(*(frozenset(re.findall(r"`([^`]+)`", cell)) for cell in cells)) for trap, *cells in rows}


def test_every_trap_has_a_row(table: dict[str, Row]) -> None:
    assert {f"T{number}" for number in range(1, 25)} <= set(table)


def test_every_repair_stands_in_the_rows_of_its_traps(table: dict[str, Row]) -> None:
    repaired = {(trap, repair.name) for repair in REPAIRS for trap in repair.traps}

    assert {(trap, module) for trap, row in table.items() for module in row.modules} == repaired


def test_every_module_is_a_repair_or_part_of_one() -> None:
    folder = Path(patching.__file__).parent
    sources = {path.stem: path.read_text() for path in folder.glob("*.py") if path.stem != "__init__"}
    unused = {
        name
        for name in sources.keys() - {repair.name for repair in REPAIRS}
        if not any(re.search(rf"repairs(\.| import .*){name}\b", source) for source in sources.values())
    }

    assert unused == set()


def test_every_row_names_tests_that_exist(table: dict[str, Row]) -> None:
    files = {path.name for path in (REPOSITORY / "tests").rglob("test_*.py")}

    assert {trap for trap, row in table.items() if not row.tests or not row.tests <= files} == set()


def test_every_repair_has_a_test_that_shows_the_difference_without_it(table: dict[str, Row]) -> None:
    shown = {
        (str(trap.value), path.name)
        for path in Path(__file__).parent.glob("test_*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.without"
        for trap in call.args
        if isinstance(trap, ast.Constant)
    }
    repaired = {trap for trap in table if trap != "T18"}  # a client's fault, which no cloud can repair

    assert {trap for trap, file in shown if file in table[trap].tests} == repaired


def test_no_file_runs_the_command_line_tool_that_leaves_the_cloud() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = filter(None, listed.stdout.split("\0"))
    scripts = [REPOSITORY / name for name in names if name.endswith((".sh", ".yml", ".yaml", "Makefile"))]

    assert scripts
    assert [script for script in scripts if re.search(r"\baws +sqs\b", script.read_text())] == []


def test_a_call_that_leaves_the_cloud_has_keys_of_nobody(tmp_path: Path) -> None:
    environment = Cloud(CloudSettings(port=free_port(), state=tmp_path)).environment()

    assert not re.fullmatch("A[A-Z]IA[A-Z2-7]{16}", environment["AWS_ACCESS_KEY_ID"])
    assert environment["AWS_SECRET_ACCESS_KEY"] == "test"
    assert environment["AWS_SESSION_TOKEN"] == ""


# -- the retry policy of a target ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """A delivery as the retrier sees it."""

    target: dict[str, Any]
    attempts: int = 0


@dataclass
class Service:
    """A target that fails some times, and a clock."""

    failures: int
    retriable: bool = True
    seconds: float = 0.0
    calls: int = 0
    buried: list[tuple[int, str, str]] = field(default_factory=list)

    def attempt(self, _: Target) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise UndeliverableError("THROTTLING", f"busy {self.calls}", retriable=self.retriable)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def bury(self, delivery: Target, failure: UndeliverableError, exhausted: str) -> None:
        self.buried.append((delivery.attempts, str(failure), exhausted))

    def deliver(self, **policy: int) -> None:
        target = Target({"RetryPolicy": policy})
        first = UndeliverableError("THROTTLING", "busy 0", retriable=True)
        retry_delivery(target, first, self.attempt, bury=self.bury, sleep=self.sleep, now=lambda: self.seconds)


def test_a_target_that_recovers_gets_the_event() -> None:
    service = Service(failures=2)

    service.deliver()

    assert (service.calls, service.buried) == (3, [])


def test_attempts_are_counted() -> None:
    service = Service(failures=99)

    service.deliver(MaximumRetryAttempts=3)

    assert service.buried == [(3, "busy 3", "MaximumRetryAttempts")]


def test_no_attempts_at_all() -> None:
    service = Service(failures=99)

    service.deliver(MaximumRetryAttempts=0)

    assert (service.calls, service.buried) == (0, [(0, "busy 0", "MaximumRetryAttempts")])


def test_age_is_counted() -> None:
    service = Service(failures=99)

    service.deliver(MaximumEventAgeInSeconds=60)

    assert service.seconds <= 60
    assert service.buried[0][2] == "MaximumEventAgeInSeconds"


def test_what_can_never_succeed_is_not_tried_again() -> None:
    service = Service(failures=99, retriable=False)

    service.deliver()

    assert (service.calls, service.buried) == (1, [(1, "busy 1", "")])


def test_the_defaults_are_those_of_aws() -> None:
    assert RetryPolicy.of({}) == RetryPolicy(attempts=185, age_seconds=86400)
