"""Each action and each resource of each statement was needed by a recorded call, or is listed with its reason.

Parts are taken away one at a time, from the policies as deployed: without them, would every recorded call still be
allowed? Nothing that was needed may be missing, and nothing that was not needed may be there unexplained.
"""

import pytest

from tests.permissions.judging import gaps, unexplained
from tests.permissions.only_aws import ONLY_AWS
from tests.permissions.parts import Part, every_part
from tests.permissions.rare import RARE
from tests.permissions.recorded import Seen, Session
from tests.permissions.unseen import explained

pytestmark = pytest.mark.permissions


def test_every_call_was_allowed_by_the_policies_as_they_are(recording: list[Session]) -> None:
    """Those that were denied were denied because a test had taken the permission away for a moment."""
    assert gaps(recording) == set()


def test_no_grant_is_surplus(used: dict[Part, Seen]) -> None:
    surplus = unexplained(every_part(), used, [*ONLY_AWS, *RARE])
    assert [str(part) for part in surplus] == [], "remove them, or list them in only_aws.py or rare.py with the reason"


def test_nothing_that_was_used_stands_in_a_list(used: dict[Part, Seen]) -> None:
    needless = explained([*ONLY_AWS, *RARE], used)
    assert [f"{part}: {used[part].test} needs it" for part in needless] == [], "shorten only_aws.py or rare.py"


def test_every_role_was_seen(used: dict[Part, Seen]) -> None:
    roles = {part.role for part in every_part()}
    unseen = roles - {part.role for part in used}
    assert unseen <= {part.role for part in explained(RARE, every_part())}
