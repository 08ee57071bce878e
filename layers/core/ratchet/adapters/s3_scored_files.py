"""Predictions in S3: written once for each version of a file, and never over those of a newer one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.domain.ports import Scored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_SOURCE = "source-version"


class S3ScoredFiles:
    """The ScoredFiles port over one bucket."""

    def __init__(self, bucket: str, client: "S3Client | None" = None) -> None:
        self._bucket = bucket
        self._s3: S3Client = client or boto3.client("s3", config=CLIENT_CONFIG)

    def source_of(self, key: str) -> Scored | None:
        head = self._head(key)
        return Scored(head["ETag"], head["Metadata"].get(_SOURCE, "")) if head else None

    def latest_version(self, key: str) -> str | None:
        head = self._head(key)
        return str(head["VersionId"]) if head else None

    def put(self, path: Path, key: str, version_id: str, model: str, replaces: Scored | None) -> bool:
        condition: Any = {"IfMatch": replaces.etag} if replaces else {"IfNoneMatch": "*"}
        try:
            with busy_errors(), path.open("rb") as body:
                self._s3.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    Metadata={_SOURCE: version_id, "model": model},
                    **condition,
                )
        except ClientError as error:
            if error_code(error) in _CHANGED:
                return False
            raise
        return True

    def _head(self, key: str) -> Any:
        try:
            with busy_errors():
                return self._s3.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error_code(error) in _MISSING:
                return None
            raise
