"""Writes docs/permissions.md, role by role: `python -m docs.permissions RECORDING`, after `make test-permissions`."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from tests.permissions.judging import first_uses
from tests.permissions.only_aws import ONLY_AWS
from tests.permissions.parts import Granted, Part, every_part, granted, managed
from tests.permissions.rare import RARE
from tests.permissions.recorded import sessions
from tests.permissions.unseen import Unseen, explained

PAGE = Path(__file__).parent / "permissions.md"
_HEAD = """# Permissions

Every role of the stack, every action that it is granted, on what, and the end-to-end test during which the embedded
cloud saw it needed first: without the grant, a call of that test would have been denied. `make test-permissions`
records the calls and proves it anew; `make permissions-table` writes this page from its recording.

What no call needed stands in a list with its reason:
**only AWS** asks for it ([`only_aws.py`](../tests/permissions/only_aws.py)),
or it is **rare**, a call of our code that no end-to-end test comes to ([`rare.py`](../tests/permissions/rare.py)).
Reasons of single statements stand beside them in [`template.yaml`](../template.yaml).
`…` is the stack's region and account.
"""
_ROW = re.compile(r"\| `(?P<action>[^`]+)` \| (?P<statement>\w+) \| .* \| (?P<seen>test_\w+\.py) \|")

Key = tuple[str, str, str]  # role, statement, action


def page(seen: Mapping[Key, str]) -> str:
    """The page, given the test that needed each action first."""
    reasons = explained([*ONLY_AWS, *RARE], every_part())
    roles = groupby(sorted(granted(), key=lambda one: one.role), key=lambda one: one.role)
    return "".join([_HEAD, *(line for role, statements in roles for line in _role(role, statements, seen, reasons))])


def seen_in(text: str) -> dict[Key, str]:
    """The tests that a page names."""
    found, role = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            role = line.removeprefix("## ")
        elif row := _ROW.fullmatch(line):
            found[role, row["statement"], row["action"]] = row["seen"]
    return found


def _role(
    role: str, statements: Iterable[Granted], seen: Mapping[Key, str], reasons: Mapping[Part, Unseen]
) -> Iterator[str]:
    yield f"\n## {role}\n\n| action | statement | on | seen |\n| --- | --- | --- | --- |\n"
    for statement in statements:
        on = _resources(statement, reasons)
        for part in statement.parts:
            if part.kind == "Action":
                where = seen.get((role, statement.name, part.text), "not recorded yet")
                yield f"| `{part.text}` | {statement.name} | {on} | {_reason(reasons.get(part)) or where} |\n"
    for part in managed():
        if part.role == role:
            yield f"| managed policy | {part.statement} | `*` | {_reason(reasons.get(part))} |\n"


def _resources(statement: Granted, reasons: Mapping[Part, Unseen]) -> str:
    notes = {part.position: reasons.get(part) for part in statement.parts if part.kind == "Resource"}
    on = [_on(resource, notes.get(position)) for position, resource in enumerate(statement.resources)]
    return "<br>".join(on) + (f"<br>if {statement.condition}" if statement.condition else "")


def _on(resource: str, note: Unseen | None) -> str:
    return f"`{resource}` {_reason(note)}".rstrip()


def _reason(entry: Unseen | None) -> str:
    if entry is None:
        return ""
    return f"{'rare' if entry in RARE else 'only AWS'}: {entry.reason} ([page]({entry.page}))"


def _write(recording: Path) -> None:
    used = first_uses(every_part(), sessions(recording))
    tests = {(part.role, part.statement, part.text): seen.test for part, seen in used.items() if part.kind == "Action"}
    PAGE.write_text(page(tests))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        sys.exit("Name the recording: `make test-permissions` leaves it in .ratchet/permissions.jsonl.")
    _write(Path(sys.argv[1]))
