"""Serving, end to end: the API and who may use it, files, and endpoints that nobody asks."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

import boto3
import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from cli.api import Api
from cli.stack import Stack
from ratchet.adapters.event_bus import EventBus
from ratchet.adapters.sagemaker_hosting import SageMakerHosting
from ratchet.domain.cleaning import CleanUp
from tests.e2e.acting import acting_as
from tests.e2e.conftest import received
from tests.e2e.once import Tiny, points, reconcile, until

PATIENCE = 240
RECORD = {"id": 1, "x": 3.5}


@pytest.fixture(scope="module")
def tiny(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A served pipeline."""
    made = Tiny("serving", stack, tmp_path_factory.mktemp("serving"))
    made.apply()
    made.put([("points.csv", points(1))])
    made.await_run(1)
    made.settled()
    assert made.champion == "serving-g1"
    return made


def path(pipeline: str) -> str:
    return f"pipelines/{pipeline}/predictions"


# -- the API ----------------------------------------------------------------------------------------------------------


def test_the_api_answers_as_the_endpoint_does(tiny: Tiny, ratchet: Callable[..., Result]) -> None:
    answer = tiny.stack.api.post("pipelines", tiny.name, "predictions", body={"records": [RECORD, RECORD]})
    assert (answer.status, answer.body["run"]) == (200, "serving-g1")
    assert answer.body["model"] == f"{tiny.stack.outputs.resource_prefix}-serving-g1"
    said = ratchet("predict", tiny.name, "--json", json.dumps(RECORD))
    assert [json.loads(said.stdout)] * 2 == answer.body["predictions"]
    described = json.loads(ratchet("openapi", tiny.name).stdout)
    assert described["components"]["schemas"]["Record"]["required"] == ["id", "x"]


def test_what_is_asked_is_captured_for_monitoring(tiny: Tiny) -> None:
    prefix = f"captures/{tiny.stack.endpoint_name(tiny.name)}/AllTraffic/"
    bucket = tiny.stack.outputs.artifacts_bucket_name
    tiny.stack.api.post("pipelines", tiny.name, "predictions", body={"records": [RECORD]})
    listed = until(lambda: tiny.stack.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents"), 30)
    body = tiny.stack.s3.get_object(Bucket=bucket, Key=listed[0]["Key"])["Body"].read()
    captured = json.loads(body.splitlines()[0])["captureData"]
    assert json.loads(captured["endpointInput"]["data"])[0] == RECORD
    assert "prediction" in json.loads(captured["endpointOutput"]["data"])[0]


def test_nobody_comes_in_unsigned_or_without_the_right(tiny: Tiny) -> None:
    url = f"{tiny.stack.outputs.api_url}/{path(tiny.name)}"
    body = json.dumps({"records": [RECORD]}).encode()
    for headers in (None, {"Authorization": "Bearer x"}, {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}):
        refused = urllib3.request("POST", url, body=body, headers=headers, retries=False)
        assert (refused.status, refused.json()) == (403, {"message": "Forbidden"})
    iam = tiny.stack.session.client("iam")
    iam.create_user(UserName="passer-by")
    key = iam.create_access_key(UserName="passer-by")["AccessKey"]
    stranger = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    assert Api(tiny.stack.outputs.api_url, stranger).send("POST", path(tiny.name), body).status == 403


BODIES = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["records", "id", "x", "y", "z"]), inner, max_size=3)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "x", "y", "X"]), st.none() | st.integers() | st.floats() | st.text(), max_size=4
        ),
        max_size=4,
    ).map(lambda records: json.dumps({"records": records}).encode()),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
def test_no_body_makes_the_api_fail(tiny: Tiny, body: bytes) -> None:
    answer = tiny.stack.api.send("POST", path(tiny.name), body)
    assert answer.status in (200, 400), (body, answer)
    assert "Traceback" not in str(answer.body)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "bad"), [(24, 3), pytest.param(1_000, 10, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]
)
def test_files_are_scored_once_and_bad_ones_wait_with_their_reason(
    tiny: Tiny, ratchet: Callable[..., Result], count: int, bad: int
) -> None:
    stack, bucket, folder = tiny.stack, tiny.stack.outputs.data_bucket_name, f"batch {count}+ü"
    names = [f"score/{tiny.name}/{folder}/{number}.csv" for number in range(count)]

    def put(number: int) -> None:
        value = "cold" if number < bad else number
        stack.s3.put_object(Bucket=bucket, Key=names[number], Body=f"id,x\n{number},1.5\n{number + count},{value}\n")

    def scored() -> Counter[str]:
        pages = stack.s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Prefix=f"scored/{tiny.name}/{folder}/"
        )
        return Counter(version["Key"] for page in pages for version in page.get("Versions", []))

    def letters() -> list[dict[str, Any]]:
        every = json.loads(ratchet("dlq", "list", "--queue", "score", "--json").stdout)
        return [letter for letter in every if folder in unquote_plus(letter["about"])]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(count)))
    until(lambda: True if len(scored()) >= count - bad else None, PATIENCE if count < 100 else 1_500, 0.5)
    dead = until(lambda: found if len(found := letters()) >= bad else None, PATIENCE, 0.5)
    assert scored() == {name.replace("score/", "scored/", 1): 1 for name in names[bad:]}
    assert sorted(unquote_plus(letter["about"]) for letter in dead) == sorted(names[:bad])
    for letter in dead:
        assert (letter["error"], "line 3, column x" in letter["message"]) == ("FileUnscorable", True)

    for number in range(1, bad):  # all but one are put right
        stack.s3.put_object(Bucket=bucket, Key=names[number], Body=f"id,x\n{number},1.5\n")
    assert ratchet("dlq", "redrive", "--all", "--queue", "score").exit_code == 0
    until(lambda: True if len(scored()) >= count - 1 else None, PATIENCE, 0.5)
    left = until(lambda: found if (found := letters()) else None, PATIENCE, 0.5)
    assert [unquote_plus(letter["about"]) for letter in left] == names[:1]  # it fails again, and only it
    assert set(scored().values()) == {1}
    assert len(received(stack, stack.queue_urls["ScoreDeadLetterQueue"])) == 1  # taken out for the other tests


# -- endpoints that nobody asks ---------------------------------------------------------------------------------------


def leftover_config(stack: Stack, like: str) -> str:
    """Makes a configuration that nothing serves with; its name."""
    sagemaker: Any = stack.session.client("sagemaker")
    known, name = sagemaker.describe_endpoint_config(EndpointConfigName=like), f"{like}-left"
    tags = sagemaker.list_tags(ResourceArn=known["EndpointConfigArn"])["Tags"]
    variants = known["ProductionVariants"]
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, Tags=tags)
    return name


def test_an_idle_endpoint_is_deleted_and_comes_back_when_asked(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory, ratchet: Callable[..., Result]
) -> None:
    tiny = Tiny("sleepy", stack, tmp_path_factory.mktemp("sleepy"))
    tiny.apply("deploy.mode=instance", "deploy.idle_after=2h", "deploy.autoscaling={min: 1, max: 2}")
    tiny.put([("points.csv", points(2))])
    tiny.await_run(1)
    tiny.settled()
    champion = stack.pipeline("sleepy").champion
    assert stack.api.post("pipelines", "sleepy", "predictions", body={"records": [RECORD]}).status == 200

    def sweep(hours: float, *, dry_run: bool) -> Any:
        with acting_as(stack, "CleanupEndpointsFunctionRole") as actor:
            session, outputs = actor.session, actor.outputs
            return CleanUp(
                actor.ledger,
                actor.store,
                SageMakerHosting(session.client("sagemaker"), session.client("cloudwatch")),
                actor.endpoints,
                EventBus(outputs.event_bus_name, session.client("events")),
                lambda: datetime.now(UTC) + timedelta(hours=hours),
                outputs.resource_prefix,
            )(dry_run=dry_run)

    assert champion is not None
    name = champion.endpoint_name
    assert stack.endpoints.scales(name)
    assert name not in [gone.name for gone in sweep(1.9, dry_run=True).endpoints]
    assert name in [gone.name for gone in sweep(3, dry_run=True).endpoints]
    assert json.loads(ratchet("cleanup", "--json").stdout)["dry_run"] is True
    left = leftover_config(stack, champion.endpoint_config_name)
    report = sweep(3, dry_run=False)
    (gone,) = [gone for gone in report.endpoints if gone.name == name]
    assert left in report.configs
    assert gone.because == "nobody asked it for 2h"
    assert gone.hourly_dollars == pytest.approx(0.115)
    until(lambda: None if stack.endpoints.describe(name) else True, 30)

    assert reconcile(stack)["restored"] == []  # the pointer stays, and nobody takes it for lost
    state = stack.pipeline("sleepy")
    assert state.champion == champion
    assert state.asleep_since is not None
    refused = stack.api.post("pipelines", "sleepy", "predictions", body={"records": [RECORD]})
    assert (refused.status, refused.body["error"], refused.headers["retry-after"]) == (503, "EndpointAsleepError", "60")

    def answered() -> bool | None:
        answer = stack.api.post("pipelines", "sleepy", "predictions", body={"records": [RECORD]})
        assert answer.status in (200, 503), answer
        return answer.ok or None

    until(answered, 60)
    assert stack.pipeline("sleepy").asleep_since is None
    until(lambda: stack.endpoints.scales(name) or None, 30)  # the event of its start
    stack.endpoints.unscale(name)
    assert name in reconcile(stack)["scaled"], "had the event been lost"
    assert stack.endpoints.scales(name)
    assert "serves" in ratchet("wake", "sleepy").stdout
