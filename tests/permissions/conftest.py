"""The recording that `make test-permissions` makes first."""

from pathlib import Path

import pytest

from tests.permissions.judging import first_uses
from tests.permissions.parts import Part, every_part, granted
from tests.permissions.recorded import Seen, Session, sessions
from tests.template.reading import as_list


@pytest.fixture(scope="session")
def recording(pytestconfig: pytest.Config) -> list[Session]:
    """What roles did in the end-to-end tests."""
    file: Path | None = pytestconfig.getoption("recording")
    if file is None or not file.exists():
        pytest.fail("there is no recording: run `make test-permissions`, or name one with --recording")
    found = sessions(file)
    expected = {(one.role, one.name): (one.actions, len(one.resources)) for one in granted()}
    if any(_shape(session) != expected for session in found):
        pytest.fail("the recording is of another template: run `make test-permissions`")
    return found


def _shape(session: Session) -> dict[tuple[str, str], tuple[tuple[str, ...], int]]:
    return {
        (role, name): (tuple(as_list(one["Action"])), len(as_list(one["Resource"])))
        for role, statements in session.roles.items()
        for name, one in statements.items()
    }


@pytest.fixture(scope="session")
def used(recording: list[Session]) -> dict[Part, Seen]:
    """The parts that recorded calls needed."""
    return first_uses(every_part(), recording)
