"""After all other end-to-end tests: each call that a role made is one that its deployed policies grant.

The embedded cloud recorded the calls, those of tests that took a permission away for a moment included.
"""

import pytest

from cli.stack import Stack
from local.cloud import recording
from local.cloud.process import Cloud
from tests.permissions.policies import Role, allows, roles_of


@pytest.fixture(scope="module")
def roles(stack: Stack) -> dict[str, Role]:
    return roles_of(stack)


@pytest.fixture(scope="module")
def calls(cloud: Cloud, roles: dict[str, Role]) -> list[recording.Call]:
    made = [call for call in recording.read(cloud.settings) if call.role in roles]
    if not made:
        pytest.skip("no other end-to-end test ran before")
    return made


def test_the_deployed_policies_explain_what_was_allowed(calls: list[recording.Call], roles: dict[str, Role]) -> None:
    allowed = [call for call in calls if call.allowed]
    assert allowed
    assert [call for call in allowed if not allows(roles[call.role].policy, call)] == []


def test_nothing_that_was_needed_is_missing(calls: list[recording.Call], roles: dict[str, Role]) -> None:
    """What tests took away for a moment was denied, but is granted."""
    assert [call for call in calls if not call.allowed and not allows(roles[call.role].policy, call)] == []
