"""The ingest workflow: from an S3 event to a verdict."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from ratchet.contracts.base import BucketName, Contract, Finding, ForeignContract
from ratchet.contracts.run import Announcement


class S3Bucket(ForeignContract):
    """`detail.bucket` of an S3 event on EventBridge."""

    name: BucketName


class S3Object(ForeignContract):
    """`detail.object`; keys are not URL-encoded on EventBridge."""

    key: str = Field(min_length=1)
    size: int = 0
    etag: str = ""
    version_id: str = Field(alias="version-id")


class ObjectCreatedDetail(ForeignContract):
    """`detail` of "Object Created"."""

    bucket: S3Bucket
    object: S3Object


class ObjectCreatedEvent(ForeignContract):
    """The EventBridge event "Object Created" of a versioned bucket, as the ingest execution receives it."""

    id: str
    time: str
    detail: ObjectCreatedDetail


class VerdictOutcome(StrEnum):
    """What becomes of an object version."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    DUPLICATE = "DUPLICATE"  # the same bytes were judged before under the same contract
    IGNORED = "IGNORED"  # an empty folder a console made: not data
    LARGE = "LARGE"  # no verdict yet: the workflow validate_large judges it


class LargeUpload(Contract):
    """An execution of the workflow validate_large: whoever asks for the same upload names the same one."""

    execution_name: str
    event: dict[str, Any]  # "Object Created" with what Ratchet reads of it, the same for every delivery


class ValidateDataResult(Contract):
    """The verdict on an object version; a rejection is an answer, not an error."""

    outcome: VerdictOutcome
    pipeline: str
    upload_id: str = ""  # empty while LARGE: nobody has read it yet
    verdict_id: str = ""
    rows: int = 0  # of the file, the bad ones included
    bad_rows: int = 0
    finding: Finding | None = None  # set when rejected, now or before
    report_uri: str | None = None
    large: LargeUpload | None = None
    announcement: Announcement

    @property
    def quarantined_percent(self) -> float:
        """The share of an accepted upload's rows that were put aside."""
        return 100 * self.bad_rows / self.rows if self.outcome is VerdictOutcome.ACCEPTED and self.rows else 0.0
