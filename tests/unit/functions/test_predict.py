"""The predict function: what comes out for what goes in, and that nothing of our insides does."""

import json
from typing import Any

import pytest

from ratchet.adapters.patterns import full_match
from ratchet.domain.errors import DependencyBusyError, EventInvalidError, ModelFailedError
from ratchet.domain.predicting import MAX_RECORDS, Predict, ServingContracts
from ratchet.domain.waking import Wake
from tests.unit import samples
from tests.unit.fakes import FakeCaptures, FakePredictions
from tests.unit.functions.test_handlers import event, load
from tests.unit.lambda_context import Context
from tests.unit.world import ENDPOINT, World

RECORD = {"datetime": "2026-03-01T08:00:00", "temp": 280.5, "weather_main": "Clear"}


@pytest.fixture
def predict(world: World) -> Predict:
    return Predict(
        ledger=world.ledger,
        contracts=ServingContracts(world.ledger, world.store, samples.ARTIFACTS),
        predictions=FakePredictions({ENDPOINT, f"{ENDPOINT}-Instance"}),
        wake=Wake(world.ledger, world.endpoints),
        captures=FakeCaptures(),
        matches=full_match,
    )


def ask(predict: Predict, body: Any, pipeline: str = "traffic") -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of an answer."""
    text = body if isinstance(body, str) else json.dumps(body)
    given = {**event("predict", "ok"), "body": text, "pathParameters": {"pipeline": pipeline}}
    answer = load("predict").handler(given, Context(), use_case=predict)
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def test_records_are_answered_in_their_order_with_model_and_run(world: World, predict: Predict) -> None:
    run = world.deployed()
    status, body, headers = ask(predict, {"records": [RECORD, {**RECORD, "datetime": "2026-03-01T10:00:00+01:00"}]})
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert body == {
        "predictions": [{"prediction": 1.0}, {"prediction": 2.0}],
        "model": f"{samples.PREFIX}-{run.run_id}",
        "run": run.run_id,
    }
    assert predict.predictions.asked[0][1][1]["datetime"] == "2026-03-01T09:00:00"  # type: ignore[attr-defined]
    assert predict.captures.kept == [(ENDPOINT, 2, 100)]  # type: ignore[attr-defined]


def test_what_an_instance_answers_is_captured_by_sagemaker(world: World, predict: Predict) -> None:
    world.apply(deploy={"mode": "instance"})
    world.deployed()
    assert ask(predict, {"records": [RECORD]})[0] == 200
    assert predict.captures.kept == []  # type: ignore[attr-defined]


def test_records_are_held_to_the_contract_of_the_model_that_serves(world: World, predict: Predict) -> None:
    world.deployed()
    columns = {**samples.definition().data.model_dump(mode="json")["columns"], "lanes": {"type": "integer"}}
    data = {**samples.definition().data.model_dump(mode="json"), "columns": columns}
    world.apply(data={**data, "columns": {**columns, "lanes": {"type": "integer", "required": True}}})
    assert ask(predict, {"records": [RECORD]})[0] == 200
    assert ask(predict, {"records": [{**RECORD, "lanes": 3}]})[0] == 400


def test_a_body_in_base64_is_read(world: World, predict: Predict) -> None:
    world.deployed()
    answer = load("predict").handler(event("predict", "encoded"), Context(), use_case=predict)
    assert answer["statusCode"] == 400  # its columns are another contract's
    assert json.loads(answer["body"])["error"] == "RecordsInvalidError"


def test_what_breaks_the_contract_is_named(world: World, predict: Predict) -> None:
    world.deployed()
    status, body, _ = ask(predict, {"records": [RECORD, {**RECORD, "temp": "cold", "datetime": None}]})
    assert (status, body["error"]) == (400, "RecordsInvalidError")
    assert [(p["record"], p["field"]) for p in body["problems"]] == [(1, "datetime"), (1, "temp")]
    assert '"cold" is not a number' in body["problems"][1]["problem"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"records": [{"temp": NaN}]}', "NaN is no JSON value"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5_000, "not JSON"),
        ("[]", "an object with one field, records"),
        ({"records": RECORD}, "an object with one field, records"),
        ({"record": [RECORD]}, "an object with one field, records"),
        ({"records": [RECORD], "model": "mine"}, "an object with one field, records"),
        ({"records": []}, "records is empty"),
    ],
)
def test_a_body_that_is_no_request_is_refused(world: World, predict: Predict, body: Any, said: str) -> None:
    world.deployed()
    status, answer, _ = ask(predict, body)
    assert (status, answer["error"]) == (400, "RequestInvalidError")
    assert said in answer["message"]


def test_too_many_records_are_refused(world: World, predict: Predict) -> None:
    world.deployed()
    status, body, _ = ask(predict, {"records": [RECORD] * (MAX_RECORDS + 1)})
    assert (status, body["error"]) == (413, "RequestTooLargeError")


@pytest.mark.parametrize("name", ["nobody", "Traffic", "..", "x" * 5_000])
def test_a_pipeline_nobody_knows_is_not_found(predict: Predict, name: str) -> None:
    assert ask(predict, {"records": [RECORD]}, name)[0] == 404


def test_a_pipeline_without_a_model_says_so(predict: Predict) -> None:
    status, body, _ = ask(predict, {"records": [RECORD]})
    assert (status, body["error"]) == (409, "ModelMissingError")


def test_a_sleeping_champion_is_started_and_the_caller_told_when_to_come_again(world: World, predict: Predict) -> None:
    world.deployed()
    champion = world.ledger.pipeline("traffic").champion  # type: ignore[union-attr]
    assert champion is not None
    assert world.ledger.put_to_sleep("traffic", champion.model_name, world.clock())
    world.endpoints.delete(ENDPOINT)
    predict.predictions.endpoints.clear()  # type: ignore[attr-defined]
    for _ in range(2):
        status, body, headers = ask(predict, {"records": [RECORD]})
        assert (status, body["error"], headers["retry-after"]) == (503, "EndpointAsleepError", "60")
    assert [call for call in world.endpoints.calls if call.startswith("create")][1:] == [
        f"create {ENDPOINT} {champion.endpoint_config_name}"
    ]
    state = world.ledger.pipeline("traffic")
    assert state is not None
    assert state.asleep_since is None
    assert state.champion == champion


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [(DependencyBusyError("throttled"), 503, "1"), (ModelFailedError("the model failed"), 502, None)],
)
def test_what_sagemaker_refuses_has_its_status(
    world: World, predict: Predict, error: Exception, status: int, retry: str | None
) -> None:
    world.deployed()
    predict.predictions.error = error  # type: ignore[attr-defined]
    found, body, headers = ask(predict, {"records": [RECORD]})
    assert (found, headers.get("retry-after")) == (status, retry)
    assert body["error"] == type(error).__name__


def test_what_is_broken_shows_nothing_but_the_request_id(world: World, predict: Predict) -> None:
    world.deployed()
    predict.predictions.error = RuntimeError("secret")  # type: ignore[attr-defined]
    status, body, _ = ask(predict, {"records": [RECORD]})
    assert (status, body["error"]) == (500, "InternalError")
    assert "secret" not in json.dumps(body)
    assert event("predict", "ok")["requestContext"]["requestId"] in body["message"]


def test_an_unsigned_request_never_gets_to_the_use_case(predict: Predict) -> None:
    with pytest.raises(EventInvalidError, match="authorizer"):
        load("predict").handler(event("predict", "invalid_unsigned"), Context(), use_case=predict)
