"""S3's event for an object version, as Ratchet itself sends it."""

from typing import Any

from ratchet.domain import identity
from ratchet.domain.ports import ObjectVersion


def object_created(bucket: str, version: ObjectVersion, by: str) -> dict[str, Any]:
    """The event S3 would have sent, as far as Ratchet reads it; the same whenever it is made for the same version."""
    return {
        "version": "0",
        "id": identity.content_hash([bucket, version.key, version.version_id])[:32],
        "detail-type": "Object Created",
        "source": f"ratchet.{by}",
        "time": version.modified.isoformat(),
        "detail": {
            "bucket": {"name": bucket},
            "object": {"key": version.key, "size": version.size, "version-id": version.version_id},
            "reason": by,
        },
    }
