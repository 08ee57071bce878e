"""The OpenAPI description promises what predict keeps: what it allows is answered, and nothing ends in a 5xx."""

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratchet.adapters.patterns import full_match
from ratchet.domain.openapi import describe
from ratchet.domain.predicting import Predict, ServingContracts
from ratchet.domain.waking import Wake
from tests.unit import samples
from tests.unit.fakes import FakeCaptures, FakePredictions
from tests.unit.functions.test_handlers import event, load
from tests.unit.lambda_context import Context
from tests.unit.world import ENDPOINT, World

COLUMNS: dict[str, Any] = {
    "datetime": {"type": "timestamp", "required": True},
    "temp": {"type": "number", "min": 200, "max": 330},
    "lanes": {"type": "integer", "required": True},
    "weather_main": {"type": "string", "allowed": ["Clear", "Clouds"]},
    "plate": {"type": "string", "pattern": "[A-Z]{2}-[0-9]+", "max_length": 8},
    "holiday": {"type": "boolean"},
    "traffic_volume": {"type": "integer", "min": 0, "required": True},
}


@pytest.fixture(scope="module")
def predict() -> Predict:
    world = World()
    world.apply(data={**samples.definition().data.model_dump(mode="json"), "columns": COLUMNS})
    world.accept()
    world.deployed()
    return Predict(
        ledger=world.ledger,
        contracts=ServingContracts(world.ledger, world.store, samples.ARTIFACTS),
        predictions=FakePredictions({ENDPOINT}),
        wake=Wake(world.ledger, world.endpoints),
        captures=FakeCaptures(),
        matches=full_match,
    )


@pytest.fixture(scope="module")
def handler() -> Any:
    return load("predict").handler


def answer(handler: Any, predict: Predict, body: str) -> tuple[int, Any]:
    given = {**event("predict", "ok"), "body": body, "pathParameters": {"pipeline": "traffic"}}
    answered = handler(given, Context(), use_case=predict)
    return answered["statusCode"], json.loads(answered["body"])


def kind_of(schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type", "null")
    return kinds if isinstance(kinds, list) else [kinds]


TIMES = st.datetimes(datetime(1000, 1, 1), datetime(2999, 12, 31)).map(lambda moment: f"{moment.isoformat()}Z")  # noqa: DTZ001


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What the description allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    made: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(-(2**63), 2**63 - 1),
        "number": st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False),
        "string": TIMES
        if schema.get("format") == "date-time"
        else st.from_regex(schema.get("pattern", ".*"), fullmatch=True).filter(lambda text: len(text) <= 8),
    }
    return st.one_of(*(made[kind] for kind in kind_of(schema)))


DOCUMENT = describe(
    "traffic",
    samples.definition(data={**samples.definition().data.model_dump(mode="json"), "columns": COLUMNS}).data,
    "https://api",
)
RECORD = DOCUMENT["components"]["schemas"]["Record"]
ALLOWED = st.fixed_dictionaries(
    {name: values(RECORD["properties"][name]) for name in RECORD["required"]},
    optional={name: values(schema) for name, schema in RECORD["properties"].items() if name not in RECORD["required"]},
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["9999-12-31T24:00", "2017-03-31T08:00:00+14:00", "\ud800", "1e999", "a" * 500]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
HOSTILE = st.fixed_dictionaries({}, optional=dict.fromkeys([*RECORD["properties"], "other"], ANYTHING)) | ANYTHING
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(records=st.lists(ALLOWED, min_size=1, max_size=5))
def test_what_the_description_allows_is_answered(handler: Any, predict: Predict, records: list[Any]) -> None:
    status, body = answer(handler, predict, json.dumps({"records": records}))
    assert status == 200, body
    assert len(body["predictions"]) == len(records)


@FEW
@given(records=st.lists(HOSTILE, max_size=4) | ANYTHING)
def test_whatever_comes_nothing_is_our_fault(handler: Any, predict: Predict, records: Any) -> None:
    status, body = answer(handler, predict, json.dumps({"records": records}))
    assert status in (200, 400), body
    assert "Traceback" not in json.dumps(body)
    if status == 400:
        assert body["message"]
        assert body["error"] in ("RequestInvalidError", "RecordsInvalidError")


@FEW
@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_whatever_body_comes_nothing_is_our_fault(handler: Any, predict: Predict, text: str) -> None:
    status, body = answer(handler, predict, text)
    assert (status, body["error"]) == (400, "RequestInvalidError")


def test_every_status_that_the_door_knows_is_described() -> None:
    from ratchet.http_door import STATUSES  # noqa: PLC0415

    described = DOCUMENT["paths"]["/pipelines/traffic/predictions"]["post"]["responses"]
    assert {str(status) for status in STATUSES.values()} <= described.keys()
