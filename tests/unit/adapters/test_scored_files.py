"""Predictions in S3, and the queues: written once for each version, never over a newer one's."""

import json
from pathlib import Path

import boto3
import pytest

from ratchet.adapters.s3_scored_files import S3ScoredFiles
from ratchet.adapters.score_queue import ScoreQueue

BUCKET = "data"


@pytest.fixture
def files(aws: None, tmp_path: Path) -> S3ScoredFiles:
    s3 = boto3.client("s3", "us-east-1")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    (tmp_path / "made").write_text("predictions")
    return S3ScoredFiles(BUCKET, s3)


def test_the_first_predictions_are_written_with_their_source(files: S3ScoredFiles, tmp_path: Path) -> None:
    assert files.source_of("scored/p/a.csv") is None
    assert files.put(tmp_path / "made", "scored/p/a.csv", "v1", "model-1", None)
    found = files.source_of("scored/p/a.csv")
    assert found is not None
    assert found.version_id == "v1"
    head = boto3.client("s3", "us-east-1").head_object(Bucket=BUCKET, Key="scored/p/a.csv")
    assert head["Metadata"] == {"source-version": "v1", "model": "model-1"}


def test_whoever_saw_nothing_there_does_not_write_over_something(files: S3ScoredFiles, tmp_path: Path) -> None:
    files.put(tmp_path / "made", "scored/p/a.csv", "v2", "model-1", None)
    assert not files.put(tmp_path / "made", "scored/p/a.csv", "v1", "model-1", None)
    found = files.source_of("scored/p/a.csv")
    assert found is not None
    assert found.version_id == "v2"


def test_the_newest_version_is_known_until_the_file_is_deleted(files: S3ScoredFiles) -> None:
    s3 = boto3.client("s3", "us-east-1")
    versions = [s3.put_object(Bucket=BUCKET, Key="score/p/a.csv", Body=body)["VersionId"] for body in (b"1", b"2")]
    assert files.latest_version("score/p/a.csv") == versions[1]
    s3.delete_object(Bucket=BUCKET, Key="score/p/a.csv")
    assert files.latest_version("score/p/a.csv") is None


def test_a_buried_message_says_why(aws: None) -> None:
    sqs = boto3.client("sqs", "eu-west-1")
    urls = [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("score", "dead")]
    queue = ScoreQueue(urls[0], urls[1], sqs)
    queue.bury(json.dumps({"Records": []}), "FileUnscorable", "line 3 is bad " * 500)
    (message,) = sqs.receive_message(QueueUrl=urls[1], MessageAttributeNames=["All"])["Messages"]
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "FileUnscorable"
    assert message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"].startswith("line 3 is bad")


def test_a_message_that_is_gone_cannot_be_postponed_and_need_not(aws: None) -> None:
    sqs = boto3.client("sqs", "eu-west-1")
    url = sqs.create_queue(QueueName="score")["QueueUrl"]
    ScoreQueue(url, url, sqs).postpone("no receipt", 20)
