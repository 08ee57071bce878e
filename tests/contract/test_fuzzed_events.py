"""Any event whatever ends in an answer or in a declared error: events/, mutated, through the real handlers on moto.

Only Ratchet's own errors count as declared: an unmapped error of botocore or Python would reach the state machines
under a name that no Retry or Catch was written for.
"""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.domain.errors import EventInvalidError, RatchetError
from tests.unit import samples
from tests.unit.adapters.conftest import ledger_table
from tests.unit.functions.test_handlers import FUNCTIONS, SETTINGS, load
from tests.unit.lambda_context import Context

EVENTS = Path(__file__).parents[2] / "events"
HOSTILE = (
    *("", " ", ".", "..", "../../etc/passwd", "incoming/../../x", "incoming/traffic/%2e%2e/x.csv"),
    *("a" * 1024, "é" * 600, "\uff03", "\u0000", "\u202egnp.csv", "traffic\n", "Traffic", "traffic#STATE"),
    *("s3://", "s3://x", "s3://ratchet-dev-artifacts/", "arn:aws:states:::x", "null", "-1", "1e400", "NaN"),
    *("$.x", "{{7*7}}", "<script>alert(1)</script>", "=cmd|' /C calc'!A0"),
    *("2026-03-01T12:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:00"),
)
# The time at which the events of functions that look back to a moment in them are judged: soon after it.
NOW = {"compare_shadow": datetime(2026, 3, 1, 12, 5, tzinfo=UTC)}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(HOSTILE),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def corpus(function: str) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted((EVENTS / function).glob("*.json"))]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in the document, the whole included."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, function: str) -> Any:
    """An event of the corpus with up to three values replaced, removed or added."""
    document = copy.deepcopy(draw(st.sampled_from(corpus(function))))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(document))))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(VALUES)
            continue
        holder = document
        for key in path[:-1]:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                holder[path[-1]] = draw(VALUES)
            case "remove":
                del holder[path[-1]]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=12))] = draw(VALUES)
    return document


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    """The stack's resources, as far as moto has them, with one pipeline applied and one upload."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        environment = {**SETTINGS, "DATA_BUCKET_NAME": samples.DATA, "ARTIFACTS_BUCKET_NAME": samples.ARTIFACTS}
        for name, value in environment.items():
            patch.setenv(name, value)
        boto3.client("dynamodb").create_table(TableName="ledger", **ledger_table())
        s3 = boto3.client("s3")
        for bucket in (samples.DATA, samples.ARTIFACTS):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for machine in ("ingest", "retrain"):
            definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
            role = "arn:aws:iam::123456789012:role/workflow"
            boto3.client("stepfunctions").create_state_machine(name=machine, definition=definition, roleArn=role)
        for queue in ("score", "score-dlq"):
            boto3.client("sqs").create_queue(QueueName=queue)
        boto3.client("sns").create_topic(Name="topic")
        boto3.client("events").create_event_bus(Name="bus")
        boto3.client("scheduler").create_schedule_group(Name="ratchet-dev")
        reference = samples.definition_ref()
        key = reference.uri.split("/", 3)[3]
        s3.put_object(Bucket=samples.ARTIFACTS, Key=key, Body=json.dumps(samples.stored_definition(samples.compiled())))
        s3.put_object(
            Bucket=samples.DATA, Key="incoming/traffic/2017-02.csv", Body=b"datetime,traffic_volume\n2017-02-01,1\n"
        )
        DynamoDbLedger("ledger").apply_definition("traffic", reference)
        yield


def fuzz(function: str, examples: int) -> None:
    module = load(function)
    if now := NOW.get(function):
        vars(module)["utc_now"] = lambda: now
    handler = module.handler

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    @given(event=mutated(function))
    def attempt(event: Any) -> None:
        try:
            json.dumps(handler(event, Context()))
        except RatchetError as declared:
            error = declared
        else:
            return
        assert str(error).strip(), "an error that says nothing"

    attempt()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_event_ends_in_an_answer_or_a_declared_error(account: None, function: str) -> None:
    fuzz(function, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_ten_thousand_events(account: None, function: str) -> None:
    fuzz(function, 10_000)


@pytest.mark.parametrize("moment", ["2026-03-01T12:00:00", 0, "9999-12-31T23:59:59Z"], ids=["no zone", "1970", "9999"])
def test_a_shadow_of_no_possible_time_is_refused(account: None, moment: object) -> None:
    """They were a TypeError, queries for 56 years of minutes, and an error that only CloudWatch declares."""
    event = next(event for event in corpus("compare_shadow") if "shadow" in event)
    event["shadow"]["started_at"] = moment
    with pytest.raises(EventInvalidError, match=r"shadow\.started_at: "):
        load("compare_shadow").handler(event, Context())


@pytest.mark.parametrize("name", ["", "..", "ratchet_dev", "arn:aws:s3:::ratchet-dev-data", "ratchet-dev-data\n"])
def test_a_name_that_no_bucket_has_is_refused(account: None, name: str) -> None:
    """botocore refused it with an error that no state lists."""
    event = json.loads((EVENTS / "validate_data/ok.json").read_text())
    event["detail"]["bucket"]["name"] = name
    with pytest.raises(EventInvalidError, match=r"detail\.bucket\.name: "):
        load("validate_data").handler(event, Context())


def test_an_object_without_a_key_is_refused(account: None) -> None:
    event = json.loads((EVENTS / "validate_data/ok.json").read_text())
    event["detail"]["object"]["key"] = ""
    with pytest.raises(EventInvalidError, match=r"detail\.object\.key: "):
        load("validate_data").handler(event, Context())
