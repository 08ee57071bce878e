"""T1: a JSONPath that finds nothing fails the execution with States.Runtime, which nothing catches."""

from collections.abc import Mapping
from typing import Any

import pytest

from local.cloud.process import Cloud
from tests.integration.cloud.account import Account

CATCH_ALL = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
PASS = {"Type": "Pass", "End": True}
INPUT = {"there": 1, "none": None, "list": [1, 2], "text": "x", "rows": [{"id": 1}, {}]}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def choice(**rule: Any) -> dict[str, Any]:
    return {"Type": "Choice", "Choices": [{**rule, "Next": "Yes"}], "Default": "No"}


MISSING: dict[str, dict[str, Any]] = {
    "Parameters": {"Type": "Pass", "Parameters": {"a.$": "$.missing"}, "End": True},
    "Parameters deep": {"Type": "Pass", "Parameters": {"a": {"b": [{"c.$": "$.there.deeper"}]}}, "End": True},
    "Parameters context": {"Type": "Pass", "Parameters": {"a.$": "$$.Task.Token"}, "End": True},
    "Parameters index": {"Type": "Pass", "Parameters": {"a.$": "$.list[7]"}, "End": True},
    "InputPath": {"Type": "Pass", "InputPath": "$.missing", "End": True},
    "OutputPath": {"Type": "Pass", "OutputPath": "$.missing", "End": True},
    "ResultSelector": {
        "Type": "Map",
        "ItemsPath": "$.list",
        "ItemProcessor": {"StartAt": "Item", "States": {"Item": PASS}},
        "ResultSelector": {"a.$": "$.missing"},
        "End": True,
    },
    "ItemsPath": {
        "Type": "Map",
        "ItemsPath": "$.missing",
        "ItemProcessor": {"StartAt": "Item", "States": {"Item": PASS}},
        "End": True,
    },
    "ItemsPath no array": {
        "Type": "Map",
        "ItemsPath": "$.there",
        "ItemProcessor": {"StartAt": "Item", "States": {"Item": PASS}},
        "End": True,
    },
    "ItemSelector": {
        "Type": "Map",
        "ItemsPath": "$.list",
        "ItemSelector": {"a.$": "$.missing"},
        "ItemProcessor": {"StartAt": "Item", "States": {"Item": PASS}},
        "End": True,
    },
    "intrinsic argument": {"Type": "Pass", "Parameters": {"a.$": "States.Format('{}', $.missing)"}, "End": True},
    "SecondsPath": {"Type": "Wait", "SecondsPath": "$.missing", "End": True},
    "SecondsPath no number": {"Type": "Wait", "SecondsPath": "$.text", "End": True},
    "TimestampPath no time": {"Type": "Wait", "TimestampPath": "$.text", "End": True},
    "TimeoutSecondsPath": {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sqs:listQueues",
        "TimeoutSecondsPath": "$.missing",
        "Catch": CATCH_ALL,
        "End": True,
    },
    "ErrorPath": {"Type": "Fail", "ErrorPath": "$.missing"},
    "CausePath": {"Type": "Fail", "Error": "E", "CausePath": "$.missing"},
}


def run(account: Account, state: Mapping[str, Any], given: Any = INPUT) -> dict[str, Any]:
    states: dict[str, Mapping[str, Any]] = {"Start": state}
    if "Catch" in state:
        states["Caught"] = PASS
    if state["Type"] == "Choice":
        states |= {
            "Yes": {"Type": "Pass", "Result": True, "End": True},
            "No": {"Type": "Pass", "Result": False, "End": True},
        }
    return account.run({"StartAt": "Start", "States": states}, given)


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_path_fails_the_execution(account: Account, name: str) -> None:
    ended = run(account, MISSING[name])

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert ended["cause"].startswith(
        "An error occurred while executing the state 'Start' (entered at the event id #2)."
    )


def test_the_cause_names_path_field_and_input(account: Account) -> None:
    ended = run(account, MISSING["Parameters"], {"there": 1})

    assert ended["cause"].endswith(
        """The JSONPath '$.missing' specified for the field 'a.$' could not be found in the input '{"there":1}'"""
    )


@pytest.mark.parametrize(
    ("variable", "present"), [("$.there", True), ("$.none", True), ("$.missing", False), ("$.there.deeper", False)]
)
def test_is_present_may_ask_for_what_is_not_there(account: Account, variable: str, present: bool) -> None:
    assert run(account, choice(Variable=variable, IsPresent=True))["output"] is present


def test_choice_guarded_by_is_present(account: Account) -> None:
    guarded = {"And": [{"Variable": "$.missing", "IsPresent": True}, {"Variable": "$.missing", "StringEquals": "x"}]}

    assert run(account, choice(**guarded))["output"] is False


@pytest.mark.parametrize(
    "rule",
    [
        {"Variable": "$.missing", "StringEquals": "x"},
        {"Variable": "$.missing", "IsNull": True},
        {"Variable": "$.there", "NumericEqualsPath": "$.missing"},
        {"Not": {"Variable": "$.missing", "BooleanEquals": True}},
    ],
)
def test_choice_on_a_missing_variable_fails(account: Account, rule: dict[str, Any]) -> None:
    ended = run(account, choice(**rule))

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert "Invalid path '$.missing': The choice state's condition path references an invalid value." in ended["cause"]


def test_comparison_paths_that_ministack_lacks(account: Account) -> None:
    assert run(account, choice(Variable="$.a", StringLessThanPath="$.b"), {"a": "a", "b": "b"})["output"] is True


def test_a_number_is_no_boolean(account: Account) -> None:
    assert run(account, choice(Variable="$.a", BooleanEquals=True), {"a": 1})["output"] is False


def test_null_is_a_value_and_a_wildcard_may_find_little(account: Account) -> None:
    state = {"Type": "Pass", "Parameters": {"null.$": "$.none", "ids.$": "$.rows[*].id"}, "End": True}

    assert run(account, state)["output"] == {"null": None, "ids": [1]}


def test_result_selector_reads_the_context_object(account: Account) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sqs:listQueues",
        "ResultSelector": {"state.$": "$$.State.Name"},
        "End": True,
    }

    assert run(account, state)["output"] == {"state": "Start"}


def test_an_intrinsic_that_fails_can_be_caught(account: Account) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:sqs:listQueues",
        "Parameters": {"QueueNamePrefix.$": "States.ArrayGetItem($.list, 9)"},
        "Catch": [{"ErrorEquals": ["States.IntrinsicFailure"], "Next": "Caught"}],
        "End": True,
    }

    assert run(account, state)["output"]["Error"] == "States.IntrinsicFailure"


def test_a_result_path_into_something_without_fields_fails(account: Account) -> None:
    ended = run(account, {"Type": "Pass", "Result": 1, "ResultPath": "$.result", "End": True}, [1])

    assert ended["error"] == "States.ResultPathMatchFailure"


@pytest.mark.without("T1")
def test_without_the_repair_a_missing_path_is_null(bare: Account) -> None:
    assert run(bare, MISSING["Parameters"])["output"] == {"a": None}
