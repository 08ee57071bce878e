"""Which parts of the policies were necessary: without them, recorded calls would have been denied; and which lack."""

from collections.abc import Container, Iterable, Iterator, Sequence

from tests.permissions.parts import Part
from tests.permissions.policies import Policy, Statement, allows
from tests.permissions.recorded import Seen, Session
from tests.permissions.unseen import Unseen, explained
from tests.template.reading import as_list


def first_uses(parts: Iterable[Part], recording: Sequence[Session]) -> dict[Part, Seen]:
    """The first recorded call that would have been denied without the part, for each part that has one."""
    found = ((part, next(_uses(part, recording), None)) for part in parts)
    return {part: seen for part, seen in found if seen is not None}


def gaps(recording: Iterable[Session]) -> set[tuple[str, str, str]]:
    """What recorded calls asked for and no policy of the role grants: role, action and resource."""
    return {
        (seen.call.role, seen.call.action, seen.call.resource)
        for session in recording
        for seen in session.seen
        if not allows(Policy(session.roles[seen.call.role].values()), seen.call)
    }


def unexplained(parts: Iterable[Part], used: Container[Part], lists: Iterable[Unseen]) -> list[Part]:
    """The parts that no recorded call needed, and that stand in no list with a reason."""
    surplus = [part for part in parts if part not in used]
    known = explained(lists, surplus)
    return [part for part in surplus if part not in known]


def without(statements: dict[str, Statement], part: Part) -> list[Statement]:
    """The statements of the part's role with the part taken away; what then allows nothing is gone."""
    kept = dict(statements)
    if part.kind != "ManagedPolicy":
        statement = kept.pop(part.statement)
        values = as_list(statement[part.kind])
        left = [value for position, value in enumerate(values) if position != part.position]
        if left:
            kept[part.statement] = {**statement, part.kind: left}
    return list(kept.values())


def _uses(part: Part, recording: Sequence[Session]) -> Iterator[Seen]:
    for session in recording:
        statements = session.roles[part.role]
        if part.kind == "ManagedPolicy":
            continue  # no call of a role to the services that these are for exists here
        actions = {part.text} if part.kind == "Action" else set(as_list(statements[part.statement]["Action"]))
        policy = Policy(without(statements, part))
        for seen in session.seen:
            call = seen.call
            if call.role == part.role and call.action in actions and call.allowed and not allows(policy, call):
                yield seen
