"""Writes docs/permissions.md, role by role: `python -m docs.permissions RECORDING`, after `make test-permissions`."""

import re
import sys
from collections import Counter
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
`…` is the stack's region and account, `${prefix}` what all names begin with that the stack's parts give.
"""
_ROW = re.compile(r"\| `(?P<action>[^`]+)` \| (?P<statement>\w+) \| .* \| \[(?P<seen>test_\w+\.py)\]\(\S+\) \|")
_PREFIX = "${ResourcePrefixParameter.Value}"
_SUMMARY = "\n| role | actions | seen | only AWS | rare |\n| --- | ---: | ---: | ---: | ---: |\n"

Key = tuple[str, str, str]  # role, statement, action


def page(seen: Mapping[Key, str]) -> str:
    """The page, given the test that needed each action first."""
    reasons = explained([*ONLY_AWS, *RARE], every_part())
    roles = groupby(sorted(granted(), key=lambda one: one.role), key=lambda one: one.role)
    tables = [line for role, statements in roles for line in _role(role, statements, seen, reasons)]
    return "".join([_HEAD, *_summary(seen, reasons), *tables]).replace(_PREFIX, "${prefix}")


def seen_in(text: str) -> dict[Key, str]:
    """The tests that a page names."""
    found, role = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            role = line.removeprefix("## ")
        elif row := _ROW.fullmatch(line):
            found[role, row["statement"], row["action"]] = row["seen"]
    return found


def _summary(seen: Mapping[Key, str], reasons: Mapping[Part, Unseen]) -> Iterator[str]:
    """How many actions each role has, and what accounts for them."""
    yield _SUMMARY
    actions = [part for part in every_part() if part.kind == "Action"]
    totals = Counter[str]()
    for role in sorted({part.role for part in actions}):
        counts = Counter(_account(part, seen, reasons) for part in actions if part.role == role)
        totals += counts
        yield _counted(f"[{role}](#{role.lower()})", counts)
    yield _counted("all", totals)


def _account(part: Part, seen: Mapping[Key, str], reasons: Mapping[Part, Unseen]) -> str:
    entry = reasons.get(part)
    if entry is not None:
        return "rare" if entry in RARE else "only AWS"
    return "seen" if (part.role, part.statement, part.text) in seen else "not recorded yet"


def _counted(name: str, counts: Counter[str]) -> str:
    return f"| {name} | {counts.total()} | {counts['seen']} | {counts['only AWS']} | {counts['rare']} |\n"


def _role(
    role: str, statements: Iterable[Granted], seen: Mapping[Key, str], reasons: Mapping[Part, Unseen]
) -> Iterator[str]:
    yield f"\n## {role}\n\n| action | statement | on | seen |\n| --- | --- | --- | --- |\n"
    for statement in statements:
        on = _resources(statement, reasons)
        for part in statement.parts:
            if part.kind == "Action":
                where = _reason(reasons.get(part)) or _link(seen.get((role, statement.name, part.text)))
                yield f"| `{part.text}` | {statement.name} | {on} | {where} |\n"
    for part in managed():
        if part.role == role:
            yield f"| managed policy | {part.statement} | `*` | {_reason(reasons.get(part))} |\n"


def _link(test: str | None) -> str:
    return f"[{test}](../tests/e2e/{test})" if test else "not recorded yet"


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
