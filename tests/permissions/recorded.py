"""What the end-to-end tests leave for the judges of permissions: the policies as deployed, and every call of a role."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cli.stack import Stack
from local.cloud.recording import Call
from tests.permissions.policies import Statement, roles_of


@dataclass(frozen=True)
class Seen:
    """A call, and the test during which it was first made."""

    call: Call  # its role by logical id
    test: str


@dataclass(frozen=True)
class Session:
    """One run of end-to-end tests on one deployed stack."""

    roles: dict[str, dict[str, Statement]]  # logical id -> name -> statement
    seen: tuple[Seen, ...]

    @classmethod
    def of(cls, stack: Stack, calls: Sequence[Call], ends: Iterable[tuple[str, int]]) -> Self:
        """The calls of the stack's roles; `ends` says how many calls were made when each test was over."""
        roles = roles_of(stack)
        tests = [test for test, before in _differences(ends) for _ in range(before)]
        tests += ["after the last test"] * (len(calls) - len(tests))
        seen = [
            Seen(Call(**{**asdict(call), "role": roles[call.role].logical_id}), test)
            for call, test in zip(calls, tests, strict=True)
            if call.role in roles
        ]
        return cls({role.logical_id: role.statements for role in roles.values()}, tuple(seen))

    def append_to(self, file: Path) -> None:
        """Adds the session to a recording, as one line."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as recording:
            recording.write(f"{json.dumps(asdict(self))}\n")


def sessions(file: Path) -> list[Session]:
    """The sessions of a recording."""
    return [_session(json.loads(line)) for line in file.read_text().splitlines()]


def _session(document: dict[str, Any]) -> Session:
    seen = tuple(Seen(Call(**one["call"]), one["test"]) for one in document["seen"])
    return Session(document["roles"], seen)


def _differences(ends: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    before = 0
    for test, end in ends:
        yield test, end - before
        before = end
