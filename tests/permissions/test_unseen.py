"""The lists of what no recorded call needs: each entry is about something, has its reason, and its page or its code."""

import re

import pytest

from tests.permissions.only_aws import ONLY_AWS
from tests.permissions.parts import every_part, granted
from tests.permissions.rare import RARE
from tests.permissions.unseen import Unseen, empty_texts
from tests.template.reading import ROOT

LISTS = [*ONLY_AWS, *RARE]


def names(entry: Unseen) -> str:
    return f"{entry.roles}-{entry.statement}-{entry.texts[0]}"


def test_statements_are_told_apart_by_role_and_name() -> None:
    statements = [(one.role, one.name) for one in granted()]
    assert len(statements) == len(set(statements))


def test_every_entry_is_about_something_in_the_template() -> None:
    assert list(empty_texts(LISTS, every_part())) == [], "the template no longer grants this: remove the entry"


def test_nothing_is_explained_twice() -> None:
    parts = every_part()
    twice = [str(part) for part in parts if sum(any(e.covers(part, t) for t in e.texts) for e in LISTS) > 1]
    assert twice == []


def test_an_entry_that_matches_nothing_is_found() -> None:
    gone = Unseen("*", "Log", ("logs:DeleteEverything",), "No reason.", "https://docs.aws.amazon.com/x.html")
    assert list(empty_texts([gone], every_part())) == ["* / Log / logs:DeleteEverything"]


@pytest.mark.parametrize("entry", LISTS, ids=names)
def test_an_entry_has_its_reason_and_a_page_of_aws(entry: Unseen) -> None:
    assert entry.reason.endswith(".")
    assert re.fullmatch(r"https://docs\.aws\.amazon\.com/[\w/.-]+\.html", entry.page)


@pytest.mark.parametrize("entry", RARE, ids=names)
def test_what_is_not_reached_is_called_by_our_code(entry: Unseen) -> None:
    path, call = entry.code.split(": ")
    assert call in (ROOT / path).read_text(), f"{path} no longer has {call!r}: remove the grant"
