"""What is kept of requests: SageMaker's own format, few writes, and never a failed prediction."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from ratchet.adapters.s3_captures import S3Captures

NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


class Bucket:
    """A client that keeps what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.objects: dict[str, str] = {}
        self.error = error

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        if self.error is not None:
            raise self.error
        self.objects[f"{Bucket}/{Key}"] = Body.decode()

    @property
    def lines(self) -> list[list[dict[str, Any]]]:
        return [[json.loads(line) for line in body.splitlines()] for body in self.objects.values()]


def captures(bucket: Bucket, moments: list[datetime], chance: float = 0.5) -> S3Captures:
    return S3Captures("artifacts", bucket, iter(moments).__next__, lambda: chance)  # type: ignore[arg-type]


def test_a_first_request_is_written_at_once_in_sagemakers_format() -> None:
    bucket = Bucket()
    captures(bucket, [NOW]).keep("ratchet-dev-traffic", [{"x": 1}], [{"prediction": 2.5}], 100)
    ((key, _),) = bucket.objects.items()
    assert key.startswith("artifacts/captures/ratchet-dev-traffic/AllTraffic/2026/03/01/12/30-15-000-")
    assert key.endswith(".jsonl")
    ((line,),) = bucket.lines
    assert line["captureData"]["endpointInput"] == {
        "observedContentType": "application/json",
        "mode": "INPUT",
        "data": '[{"x": 1}]',
        "encoding": "JSON",
    }
    assert json.loads(line["captureData"]["endpointOutput"]["data"]) == [{"prediction": 2.5}]
    assert line["eventMetadata"]["inferenceTime"] == "2026-03-01T12:30:15Z"


def test_what_follows_within_a_minute_is_written_together() -> None:
    bucket = Bucket()
    keeper = captures(bucket, [NOW + timedelta(seconds=second) for second in (0, 1, 30, 59, 60, 61)])
    for number in range(6):
        keeper.keep("e", [{"x": number}], [{}], 100)
    assert [len(lines) for lines in bucket.lines] == [1, 4]


def test_much_is_written_before_the_minute_is_over() -> None:
    bucket = Bucket()
    keeper = captures(bucket, [NOW] * 6)
    for _ in range(6):
        keeper.keep("e", [{"x": "a" * 500_000}], [{}], 100)
    assert sum(map(len, bucket.lines)) == 5


@pytest.mark.parametrize(("chance", "percent", "kept"), [(0.49, 50, 1), (0.5, 50, 0), (0.0, 0, 0), (0.999, 100, 1)])
def test_a_share_is_kept(chance: float, percent: int, kept: int) -> None:
    bucket = Bucket()
    captures(bucket, [NOW], chance).keep("e", [{}], [{}], percent)
    assert len(bucket.objects) == kept


def test_a_failure_to_write_is_nobodys_failure(caplog: pytest.LogCaptureFixture) -> None:
    keeper = captures(Bucket(EndpointConnectionError(endpoint_url="s3")), [NOW])
    keeper.keep("e", [{}], [{}], 100)
    assert "1 captured requests of e were not written" in caplog.text


def test_it_is_made_for_s3(aws: None) -> None:
    boto3.client("s3", "us-east-1").create_bucket(Bucket="artifacts")
    keeper = S3Captures("artifacts", boto3.client("s3", "us-east-1"))
    keeper.keep("e", [{}], [{}], 100)
    assert boto3.client("s3", "us-east-1").list_objects_v2(Bucket="artifacts")["KeyCount"] == 1
