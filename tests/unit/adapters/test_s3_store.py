"""Objects by URI: the same suite over S3 and the fake, then what only S3 does."""

import io
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from ratchet.adapters.memory_store import MemoryStore
from ratchet.adapters.s3_store import S3Store, split_uri
from ratchet.domain.errors import DependencyBusyError, ObjectMissingError, UploadTooLargeError
from ratchet.domain.ports import ObjectStore, ObjectVersion

BUCKET = "bucket"
URI = f"s3://{BUCKET}/incoming/traffic/März 2026+1.csv"


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    request.getfixturevalue("aws")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return S3Store()


def test_a_document_comes_back_as_it_was_and_canonical(store: ObjectStore) -> None:
    store.write_json(URI, {"b": [1, 2.5, None], "a": "ü"})
    assert store.read(URI) == '{"a":"ü","b":[1,2.5,null]}'.encode()
    assert store.read_json(URI) == {"a": "ü", "b": [1, 2.5, None]}


def download_of(body: bytes, length: int, into: Path) -> ObjectVersion:
    client = boto3.client("s3")
    with Stubber(client) as stubber:
        answer = {
            "Body": StreamingBody(io.BytesIO(body), length),
            "ContentLength": length,
            "LastModified": datetime(2026, 3, 1, tzinfo=UTC),
        }
        stubber.add_response("get_object", answer)
        return S3Store(client).download(BUCKET, "incoming/traffic/x.csv", "v1", into)


def test_a_download_that_breaks_off_is_tried_again(aws: None, tmp_path: Path) -> None:
    with pytest.raises(DependencyBusyError, match="3 read"):
        download_of(b"abc", 10, tmp_path / "upload")


def test_a_download_that_the_disk_cannot_hold_is_for_a_larger_place(aws: None) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(UploadTooLargeError):
        download_of(b"abc" * 100_000, 300_000, Path("/dev/full"))


def test_a_page_is_stored_as_one(aws: None) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    page = "<!doctype html><title>ü</title>".encode()
    S3Store().write_page(URI, page)
    head = client.get_object(Bucket=BUCKET, Key=URI.partition(f"{BUCKET}/")[2])
    assert (head["Body"].read(), head["ContentType"]) == (page, "text/html; charset=utf-8")


def test_lines_come_without_their_ends_and_empty_ones_are_left_out(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes('{"a": "ü"}\n\n{"a": 2}\n'.encode() + b"x" * 100_000)
    store.upload(path, URI)
    assert list(store.lines(URI)) == ['{"a": "ü"}', '{"a": 2}', "x" * 100_000]


def test_existence_and_listing(store: ObjectStore) -> None:
    assert not store.exists(URI)
    assert store.list(f"s3://{BUCKET}/incoming/") == []
    for key in ("b", "a", "c/d"):
        store.write_json(f"s3://{BUCKET}/incoming/{key}", {})
    store.write_json(f"s3://{BUCKET}/other", {})
    assert store.exists(f"s3://{BUCKET}/incoming/a")
    assert store.list(f"s3://{BUCKET}/incoming/") == [f"s3://{BUCKET}/incoming/{key}" for key in ("a", "b", "c/d")]


def test_a_version_is_read_as_it_was(store: ObjectStore, tmp_path: Path) -> None:
    for text in ("old", "newer"):
        (tmp_path / "up").write_text(text)
        store.upload(tmp_path / "up", URI)
    key = split_uri(URI)[1]
    versions = {v.size: v for v in store.versions(BUCKET, "incoming/traffic/")}
    assert {v.key for v in versions.values()} == {key}
    old = store.download(BUCKET, key, versions[3].version_id, tmp_path / "down")
    assert (tmp_path / "down").read_text() == "old"
    assert old == versions[3]
    assert store.head(BUCKET, key, versions[5].version_id).size == 5


def test_what_is_missing_is_said_to_be_missing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError, match=r"März 2026\+1\.csv is not there"):
        store.read(URI)
    with pytest.raises(ObjectMissingError):
        list(store.lines(URI))
    store.write_json(URI, {})
    key, gone = split_uri(URI)[1], "ffffffff-0000-4000-8000-000000000000"
    with pytest.raises(ObjectMissingError, match="version"):
        store.head(BUCKET, key, gone)
    with pytest.raises(ObjectMissingError, match="version"):
        store.download(BUCKET, key, gone, tmp_path / "down")


@pytest.fixture
def stubbed(aws: None) -> tuple[S3Store, Stubber]:
    client = boto3.client("s3")
    stubber = Stubber(client)
    stubber.activate()
    return S3Store(client), stubber


@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("RequestTimeout", 400)])
def test_throttling_and_faults_are_busy(stubbed: tuple[S3Store, Stubber], code: str, status: int) -> None:
    store, stubber = stubbed
    stubber.add_client_error("get_object", code, http_status_code=status)
    with pytest.raises(DependencyBusyError, match="GetObject"):
        store.read(URI)


def test_an_upload_that_is_throttled_is_busy_and_a_refused_one_is_not(
    stubbed: tuple[S3Store, Stubber], tmp_path: Path
) -> None:
    store, stubber = stubbed
    (tmp_path / "up").write_bytes(b"rows")
    stubber.add_client_error("put_object", "SlowDown", http_status_code=503)
    with pytest.raises(DependencyBusyError):
        store.upload(tmp_path / "up", URI)
    stubber.add_client_error("put_object", "AccessDenied", http_status_code=403)
    with pytest.raises(ClientError, match="AccessDenied"):
        store.upload(tmp_path / "up", URI)


def test_forbidden_is_neither_missing_nor_busy(stubbed: tuple[S3Store, Stubber]) -> None:
    store, stubber = stubbed
    stubber.add_client_error("head_object", "403", "Forbidden", http_status_code=403)
    with pytest.raises(ClientError, match="Forbidden"):
        store.exists(URI)


def test_every_page_of_a_listing_is_read(stubbed: tuple[S3Store, Stubber]) -> None:
    store, stubber = stubbed
    stubber.add_response(
        "list_objects_v2", {"Contents": [{"Key": "a"}], "IsTruncated": True, "NextContinuationToken": "t"}
    )
    stubber.add_response("list_objects_v2", {"Contents": [{"Key": "b"}], "IsTruncated": False})
    assert store.list(f"s3://{BUCKET}/") == [f"s3://{BUCKET}/a", f"s3://{BUCKET}/b"]
