"""The evaluator on policies small enough to judge by eye."""

from local.cloud.recording import Call
from tests.permissions.judging import first_uses, gaps, unexplained
from tests.permissions.parts import Part
from tests.permissions.policies import Statement
from tests.permissions.recorded import Seen, Session
from tests.permissions.unseen import Unseen

READ: Statement = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": ["arn:aws:s3:::b/in/*", "arn:aws:s3:::b/out/*"],
}
MEASURE: Statement = {
    "Effect": "Allow",
    "Action": "cloudwatch:PutMetricData",
    "Resource": "*",
    "Condition": {"StringEquals": {"cloudwatch:namespace": "Glue"}},
}
GET, PUT = Part("R", "Read", "Action", 0, "s3:GetObject"), Part("R", "Read", "Action", 1, "s3:PutObject")
IN, OUT = Part("R", "Read", "Resource", 0, "b/in/*"), Part("R", "Read", "Resource", 1, "b/out/*")
MEASURED = Part("R", "Measure", "Action", 0, "cloudwatch:PutMetricData")
PARTS = [GET, PUT, IN, OUT, MEASURED]


def get(key: str, allowed: bool = True, role: str = "R") -> Call:
    return Call(role, "s3:GetObject", f"arn:aws:s3:::b/{key}", allowed)


def used(*calls: Call, **more: Statement) -> set[Part]:
    policies = {"R": {"Read": READ, "Measure": MEASURE, **more}}
    return set(first_uses(PARTS, [Session(policies, tuple(Seen(call, "test_x.py") for call in calls))]))


def test_a_call_needs_its_action_and_its_resource() -> None:
    assert used(get("in/1")) == {GET, IN}


def test_what_another_statement_allows_too_needs_neither() -> None:
    twice = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    assert used(get("in/1"), Twice=twice) == set()


def test_what_another_resource_allows_too_needs_the_action_only() -> None:
    wide = {**READ, "Resource": ["arn:aws:s3:::b/in/*", "arn:aws:s3:::b/*"]}
    assert used(get("in/1"), Read=wide) == {GET}


def test_a_denied_call_needs_nothing() -> None:
    assert used(get("in/1", allowed=False)) == set()


def test_calls_of_other_roles_count_for_nothing() -> None:
    assert used(get("in/1", role="Other")) == set()


def test_a_condition_must_hold() -> None:
    sent = {"cloudwatch:namespace": "Glue"}
    assert used(Call("R", "cloudwatch:PutMetricData", "*", True, sent)) == {MEASURED}


def test_sessions_add_up() -> None:
    policies = {"R": {"Read": READ, "Measure": MEASURE}}
    recording = [Session(policies, (Seen(get("in/1"), "a.py"),)), Session(policies, (Seen(get("out/1"), "b.py"),))]
    found = first_uses(PARTS, recording)
    assert {part: seen.test for part, seen in found.items()} == {GET: "a.py", IN: "a.py", OUT: "b.py"}


def test_a_statement_that_no_call_needs_is_surplus_unless_a_list_says_why() -> None:
    needed = used(get("in/1"), get("out/1"))
    assert unexplained(PARTS, needed, []) == [PUT, MEASURED]
    listed = Unseen("R", "Measure", ("cloudwatch:*",), "Only AWS asks.", "https://docs.aws.amazon.com/x.html")
    assert unexplained(PARTS, needed, [listed]) == [PUT]


def test_a_call_that_no_statement_allows_is_a_gap_whether_or_not_it_was_denied() -> None:
    calls = tuple(Seen(call, "a.py") for call in (get("in/1"), get("else/1"), get("else/2", allowed=False)))
    assert gaps([Session({"R": {"Read": READ}}, calls)]) == {
        ("R", "s3:GetObject", "arn:aws:s3:::b/else/1"),
        ("R", "s3:GetObject", "arn:aws:s3:::b/else/2"),
    }


def test_a_call_that_a_test_had_denied_for_a_moment_is_none() -> None:
    assert gaps([Session({"R": {"Read": READ}}, (Seen(get("in/1", allowed=False), "a.py"),))]) == set()
