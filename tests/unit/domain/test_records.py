"""Records of a request: what a contract asks of them, and what is said of those that break it."""

from typing import Any

import pytest

from ratchet.adapters.patterns import full_match
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import RecordsInvalidError
from ratchet.domain.records import MAX_PROBLEMS, check

DATA = DataSection.model_validate(
    {
        "target": "volume",
        "task": "regression",
        "timestamp": "at",
        "columns": {
            "at": {"type": "timestamp"},
            "temp": {"type": "number", "min": 200, "max": 330},
            "lanes": {"type": "integer", "required": True},
            "weather": {"type": "string", "allowed": ["Clear", "Clouds"]},
            "plate": {"type": "string", "pattern": "[A-Z]{2}-[0-9]+"},
            "holiday": {"type": "boolean"},
            "volume": {"type": "integer", "min": 0, "required": True},
        },
    }
)
GOOD = {
    "at": "2017-03-31T08:00:00",
    "temp": 281.5,
    "lanes": 3,
    "weather": "Clear",
    "plate": "MN-94",
    "holiday": False,
}


def checked(**changes: Any) -> dict[str, Any]:
    (record,) = check([{**GOOD, **changes}], DATA, full_match)
    return record


def test_a_good_record_is_taken_as_it_is() -> None:
    assert checked() == GOOD


def test_the_target_is_neither_needed_nor_passed_on() -> None:
    assert "volume" not in checked(volume=12)


@pytest.mark.parametrize("absent", ["temp", "weather", "plate", "holiday"])
def test_what_is_not_required_may_be_left_out_empty_or_null(absent: str) -> None:
    without = {name: value for name, value in GOOD.items() if name != absent}
    assert (
        check([without, {**GOOD, absent: None}, {**GOOD, absent: ""}], DATA, full_match) == [{**GOOD, absent: None}] * 3
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2017-03-31", "2017-03-31T00:00:00"),
        ("2017-03-31 08:00", "2017-03-31T08:00:00"),
        (" 2017-03-31T08:00:00.25 ", "2017-03-31T08:00:00.250000"),
        ("2017-03-31T08:00:00Z", "2017-03-31T08:00:00"),
        ("2017-03-31 08:00:00 UTC", "2017-03-31T08:00:00"),
        ("2017-03-31T08:00:00+02:00", "2017-03-31T06:00:00"),
        ("2017-03-31 08:00:00 -0530", "2017-03-31T13:30:00"),
        ("2017-03-31T00:30+02", "2017-03-30T22:30:00"),
        ("2017-03-31 24:00", "2017-04-01T00:00:00"),
    ],
)
def test_times_reach_the_model_in_utc_as_training_saw_them(written: str, meant: str) -> None:
    assert checked(at=written)["at"] == meant


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("at", None, "is empty"),
        ("at", "", "is empty"),
        ("at", "31.03.2017", '"31.03.2017" is not a date and time'),
        ("at", "2017-02-30", "is not a date and time"),
        ("at", "2017-03-31T25:00:00", "is not a date and time"),
        ("at", "٢٠١٧-03-31", "is not a date and time"),
        ("at", 1490947200, "1490947200 is not a date and time"),
        ("temp", "281.5", '"281.5" is not a number such as 3.5, without thousands separators or units (write it'),
        ("temp", True, "True is not a number"),
        ("temp", 199, "199 is below 200"),
        ("temp", 330.5, "330.5 is above 330"),
        ("temp", 10**400, "larger than a number can be"),
        ("temp", [281.5], "a list is not a number"),
        ("lanes", None, "is empty"),
        ("lanes", 2.5, "2.5 is not a whole number"),
        ("lanes", 2**63, "does not fit into 64 bits"),
        ("weather", "Fog", '"Fog" is not allowed; it must be one of Clear, Clouds'),
        ("weather", 1, "1 is not text"),
        ("weather", {"main": "Clear"}, "an object is not text"),
        ("plate", "mn-94", '"mn-94" does not match [A-Z]{2}-[0-9]+'),
        ("plate", "MN-94\n", "does not match"),
        ("holiday", "no", '"no" is not true or false (write it without quotes)'),
        ("holiday", 0, "0 is not true or false"),
        ("lane", 3, "is no column of the contract; did you mean lanes?"),
        ("xyz", 3, "is no column of the contract; its columns are at, temp"),
    ],
)
def test_what_is_wrong_is_named_with_record_field_and_reason(field: str, value: Any, said: str) -> None:
    with pytest.raises(RecordsInvalidError) as refused:
        check([GOOD, {**GOOD, field: value}], DATA, full_match)
    (problem,) = refused.value.problems
    assert (problem.record, problem.field) == (1, field)
    assert said in problem.problem
    assert str(refused.value).startswith(f"1 of 2 records break the data contract; record 1, field {field}: ")


def test_whole_numbers_may_be_written_with_a_fraction_of_zero() -> None:
    assert repr(checked(lanes=3.0)["lanes"]) == "3"


@pytest.mark.parametrize("record", [None, 3, "x", ["at"], True])
def test_what_is_no_record_is_named_as_a_whole(record: Any) -> None:
    with pytest.raises(RecordsInvalidError, match=r"1 of 1 records break the data contract; record 0: is "):
        check([record], DATA, full_match)


def test_many_problems_are_counted_and_the_first_are_shown() -> None:
    with pytest.raises(RecordsInvalidError, match="50 of 50 records") as refused:
        check([{**GOOD, "temp": -index} for index in range(50)], DATA, full_match)
    assert len(refused.value.problems) == MAX_PROBLEMS


def test_a_pattern_that_would_stall_a_backtracking_engine_does_not() -> None:
    columns = {"code": {"type": "string", "pattern": "(a+)+b"}, "y": {"type": "number"}}
    data = DataSection.model_validate({"target": "y", "task": "regression", "columns": columns})
    with pytest.raises(RecordsInvalidError, match="does not match"):
        check([{"code": "a" * 5_000}], data, full_match)


def test_half_a_character_matches_no_pattern() -> None:
    with pytest.raises(RecordsInvalidError, match="does not match"):
        checked(plate="\ud800")


def test_rules_of_length_numbers_format_zone_and_comparison_hold_as_in_uploads() -> None:
    data = DataSection.model_validate(
        {
            "target": "y",
            "task": "regression",
            "compare": ["start <= end", "y < end_value"],
            "columns": {
                "start": {"type": "timestamp", "format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"},
                "end": {"type": "timestamp", "zone": "Europe/Berlin"},
                "code": {"type": "string", "min_length": 2, "max_length": 3},
                "lanes": {"type": "integer", "allowed": [1, 2]},
                "end_value": {"type": "number"},
                "y": {"type": "number"},
            },
        }
    )
    good = {"start": "31.03.2017 08:00", "end": "2017-03-31T09:00", "code": "ab", "lanes": 2}
    (taken,) = check([good], data, full_match)
    assert (taken["start"], taken["end"]) == ("2017-03-31T06:00:00", "2017-03-31T07:00:00")
    for change, said in (
        ({"start": "2017-03-31T08:00"}, "is not a date and time as %d.%m.%Y %H:%M"),
        ({"end": "2017-03-31T07:59"}, "break the comparison start <= end"),
        ({"code": "a"}, "is shorter than 2 characters"),
        ({"code": "abcd"}, "is longer than 3 characters"),
        ({"lanes": 3}, "is not allowed; it must be one of 1, 2"),
    ):
        with pytest.raises(RecordsInvalidError, match=said):
            check([{**good, **change}], data, full_match)
