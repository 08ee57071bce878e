"""The published table is that of the template and of the lists."""

from docs.permissions import PAGE, page, seen_in
from tests.permissions.only_aws import ONLY_AWS
from tests.permissions.parts import every_part
from tests.permissions.rare import RARE
from tests.permissions.unseen import explained
from tests.template.reading import ROOT

SEEN = seen_in(PAGE.read_text())


def test_the_table_is_current() -> None:
    assert PAGE.read_text() == page(SEEN), "run `make test-permissions permissions-table`"


def test_every_action_has_its_test_or_its_reason() -> None:
    actions = [part for part in every_part() if part.kind == "Action"]
    tested = {part for part in actions if (part.role, part.statement, part.text) in SEEN}
    assert tested == set(actions) - set(explained([*ONLY_AWS, *RARE], actions))


def test_the_tests_that_it_names_exist() -> None:
    assert [name for name in sorted(set(SEEN.values())) if not (ROOT / "tests/e2e" / name).exists()] == []


def test_a_role_that_gains_an_action_makes_it_stale() -> None:
    (role, statement, action), *_ = SEEN
    assert page({key: test for key, test in SEEN.items() if key != (role, statement, action)}) != PAGE.read_text()
