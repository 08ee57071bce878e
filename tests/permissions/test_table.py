"""The published table is that of the template and of the lists."""

from docs.permissions import PAGE, page, seen_in
from tests.permissions.parts import every_part
from tests.permissions.unseen import ONLY_AWS, UNREACHED, explained
from tests.template.reading import ROOT

SEEN = seen_in(PAGE.read_text())


def test_the_table_is_current() -> None:
    assert PAGE.read_text() == page(SEEN), "run `make test-permissions permissions-table`"


def test_every_action_was_seen_or_is_explained() -> None:
    actions = [part for part in every_part() if part.kind == "Action"]
    listed = explained([*ONLY_AWS, *UNREACHED], actions)
    named = {part for part in actions if (part.role, part.statement, part.text) in SEEN}
    assert named == set(actions) - set(listed)


def test_the_tests_that_it_names_exist() -> None:
    assert [name for name in sorted(set(SEEN.values())) if not (ROOT / "tests/e2e" / name).exists()] == []


def test_a_role_that_gains_an_action_makes_it_stale() -> None:
    (role, statement, action), *_ = SEEN
    assert page({key: test for key, test in SEEN.items() if key != (role, statement, action)}) != PAGE.read_text()
