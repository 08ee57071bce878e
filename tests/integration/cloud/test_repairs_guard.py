"""The repairs refuse to start on a MiniStack they were not written for, and the table of them is complete."""

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ministack.services import stepfunctions

from local.cloud.process import Cloud, CloudError, CloudSettings, free_port
from local.cloud.repairs import REPAIRS, jsonpath
from local.cloud.repairs.delivery import RetryPolicy, UndeliverableError, retry_delivery
from local.cloud.repairs.patching import RepairError, edit, expect, replace

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


def test_every_repair_has_its_row_in_the_document() -> None:
    text = (Path(__file__).parents[3] / "docs/embedded-cloud.md").read_text()
    rows = re.findall(r"^\| (T\d+|speed|kill) \|.*`(test_repairs_\w+\.py)` \|$", text, re.MULTILINE)

    assert {trap for trap, _ in rows} >= {trap for repair in REPAIRS for trap in repair.traps}
    assert all((Path(__file__).parent / test).exists() for _, test in rows)


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
