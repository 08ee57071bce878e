"""The pipeline definition: what it refuses, how it is spelled, and the schema editors check it by."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ratchet.domain.data_contract import DataSection
from ratchet.domain.definition import Definition, json_schema
from ratchet.domain.fields import format_duration, parse_duration
from ratchet.domain.identity import canonical
from tests.unit import samples

PUBLISHED = Path(__file__).parents[3] / "docs" / "pipeline.schema.json"
COLUMNS: dict[str, Any] = {"at": {"type": "timestamp"}, "w": {"type": "string"}, "y": {"type": "integer"}}


def data(columns: dict[str, Any] | None = None, **changes: Any) -> DataSection:
    document = {"target": "y", "task": "regression", "timestamp": "at", "columns": {**COLUMNS, **(columns or {})}}
    return DataSection.model_validate({**document, **changes})


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        pytest.param({"w": {"type": "string", "min": 1}}, "min and max need type number or integer", id="min of text"),
        pytest.param({"y": {"type": "integer", "allowed": ["1"]}}, "without quotes", id="allowed numbers in quotes"),
        pytest.param({"y": {"type": "integer", "min": 5, "max": 1}}, "swap them", id="bounds the wrong way round"),
        pytest.param({"y": {"type": "number", "max": float("inf")}}, "finite number", id="an infinite bound"),
        pytest.param({"w": {"type": "string", "allowed": []}}, "at least 1 item", id="nothing allowed"),
        pytest.param({"w": {"type": "string", "pattern": "["}}, "not a regular expression", id="a broken pattern"),
        pytest.param({"w": {"type": "string", "pattern": "(?=a)a"}}, "RE2", id="a look-ahead"),
        pytest.param({"w": {"type": "string", "pattern": r"(a)\1"}}, "RE2", id="a back-reference"),
        pytest.param({"W": {"type": "string"}}, "W and w|w and W", id="two names that differ by case"),
        pytest.param({"ratchet_line": {"type": "string"}}, "reserved", id="a reserved name"),
        pytest.param({"": {"type": "string"}}, "at least 1 character", id="no name"),
        pytest.param({"y": {"type": "float"}}, "'timestamp', 'number'", id="no such type"),
    ],
)
def test_a_column_that_cannot_be_checked_is_refused(columns: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        data(columns)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"target": "z"}, "target names the column 'z'", id="an unknown target"),
        pytest.param({"key": ["at", "z"]}, "key names the column 'z'", id="an unknown key"),
        pytest.param({"timestamp": "w"}, "type is not timestamp", id="a timestamp of text"),
        pytest.param({"max_bad_rows": 5}, "less than or equal to 1", id="a percentage"),
        pytest.param({"delimiter": ", "}, "Input should be ','", id="a delimiter of two characters"),
        pytest.param({"window": "2 weeks"}, "'2 weeks' is not a duration", id="a duration in words"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        data(**changes)


def test_a_target_alone_is_no_contract() -> None:
    with pytest.raises(ValidationError, match="at least 2 items"):
        DataSection.model_validate({"target": "y", "task": "regression", "columns": {"y": {"type": "integer"}}})


def test_a_pattern_may_escape_what_looks_like_a_reference() -> None:
    assert data({"w": {"type": "string", "pattern": r"\\1(?:a|b)(?P<n>c)"}}).columns["w"].pattern


def test_the_gate_must_fit_the_data() -> None:
    with pytest.raises(ValidationError, match="write a duration such as 28d"):
        samples.definition(gate={"metric": "forecast_accuracy", "threshold": 0.9, "holdout": 0.2})
    with pytest.raises(ValidationError, match="metric auc does not fit"):
        samples.definition(gate={"metric": "auc", "threshold": 0.9})


@pytest.mark.parametrize(
    ("text", "seconds", "shortest"),
    [("90s", 90, "90s"), ("120m", 7200, "2h"), ("28d", 2_419_200, "28d"), ("0s", 0, "0s")],
)
def test_durations_are_read_and_written(text: str, seconds: int, shortest: str) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert format_duration(timedelta(seconds=seconds)) == shortest


def test_a_definition_survives_its_canonical_form() -> None:
    definition = samples.definition()
    assert Definition.model_validate(json.loads(json.dumps(canonical(definition)))) == definition


def test_the_published_schema_is_current() -> None:
    expected = json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text() == expected, (
        "docs/pipeline.schema.json is out of date; write it anew: .venv/bin/python -c 'import json; "
        "from ratchet.domain.definition import json_schema; "
        "print(json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False))' > docs/pipeline.schema.json"
    )


def test_the_schema_writes_durations_as_people_do() -> None:
    assert "P28D" not in PUBLISHED.read_text()
    assert json_schema()["$defs"]["GateSection"]["properties"]["holdout"]["default"] == "28d"
