"""Objects in S3, by URI."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.domain.errors import ObjectMissingError, UploadTooLargeError
from ratchet.domain.identity import canonical_json
from ratchet.domain.ports import ObjectVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` → (bucket, key)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@contextmanager
def _s3_errors(what: str) -> Iterator[None]:
    try:
        with busy_errors():
            yield
    except ClientError as error:
        if error_code(error) in _MISSING:
            raise ObjectMissingError(f"{what} is not there") from error
        raise


class S3Store:
    """The ObjectStore port over S3."""

    def __init__(self, client: "S3Client | None" = None) -> None:
        self._s3: S3Client = client or boto3.client("s3", config=CLIENT_CONFIG)

    def read(self, uri: str) -> bytes:
        bucket, key = split_uri(uri)
        with _s3_errors(uri):
            return self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def read_json(self, uri: str) -> Any:
        return json.loads(self.read(uri))

    def lines(self, uri: str) -> Iterator[str]:
        bucket, key = split_uri(uri)
        with _s3_errors(uri):
            for line in self._s3.get_object(Bucket=bucket, Key=key)["Body"].iter_lines():
                if line:
                    yield line.decode()

    def write_json(self, uri: str, document: object) -> None:
        bucket, key = split_uri(uri)
        with _s3_errors(uri):
            self._s3.put_object(
                Bucket=bucket, Key=key, Body=canonical_json(document).encode(), ContentType="application/json"
            )

    def write_page(self, uri: str, page: bytes) -> None:
        bucket, key = split_uri(uri)
        with _s3_errors(uri):
            self._s3.put_object(Bucket=bucket, Key=key, Body=page, ContentType="text/html; charset=utf-8")

    def exists(self, uri: str) -> bool:
        bucket, key = split_uri(uri)
        try:
            with _s3_errors(uri):
                self._s3.head_object(Bucket=bucket, Key=key)
        except ObjectMissingError:
            return False
        return True

    def list(self, prefix_uri: str) -> list[str]:
        bucket, prefix = split_uri(prefix_uri)
        with _s3_errors(prefix_uri):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [f"s3://{bucket}/{item['Key']}" for page in pages for item in page.get("Contents", [])]

    def versions(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        with _s3_errors(f"s3://{bucket}/{prefix}"):
            for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Versions", []):
                    yield ObjectVersion(item["Key"], item["VersionId"], item["LastModified"], item["Size"])

    def head(self, bucket: str, key: str, version_id: str) -> ObjectVersion:
        with _s3_errors(f"version {version_id} of s3://{bucket}/{key}"):
            answer = self._s3.head_object(Bucket=bucket, Key=key, VersionId=version_id)
        return ObjectVersion(key, version_id, answer["LastModified"], answer["ContentLength"])

    def download(self, bucket: str, key: str, version_id: str, path: Path) -> ObjectVersion:
        with _s3_errors(f"version {version_id} of s3://{bucket}/{key}"):
            answer = self._s3.get_object(Bucket=bucket, Key=key, VersionId=version_id)
            try:
                with path.open("wb") as file:
                    for chunk in answer["Body"].iter_chunks(1 << 20):
                        file.write(chunk)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    free = disk_usage(path.parent).free
                    raise UploadTooLargeError(answer["ContentLength"], free) from error
                raise
        return ObjectVersion(key, version_id, answer["LastModified"], answer["ContentLength"])

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = split_uri(uri)
        with _s3_errors(uri):
            try:
                self._s3.upload_file(str(path), bucket, key)
            except S3UploadFailedError as error:
                if isinstance(error.__context__, ClientError):
                    raise error.__context__ from None  # what S3 said: a throttle must be told from a refusal
                raise
