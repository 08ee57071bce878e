"""S3: objects are files already; what is mended here are writes that a full disk or a kill has cut short."""

import shutil
from pathlib import Path
from typing import Any

from ministack.services import s3

from local.cloud.repairs.durability.documents import Record, restored
from local.cloud.repairs.patching import Function, edit, expect, replace

SERVICE = "s3"
_UPLOADS = {"multipart_uploads": s3._multipart_uploads, "completed_multipart_uploads": s3._completed_multipart_uploads}


def install() -> None:
    """An object that cannot be written is not acknowledged, and one that was half written over is whole again."""
    edit(
        s3,
        "_persist_object",
        "(bucket: str, key: str, obj)",
        'logger.warning("Failed to persist S3 object %s/%s: %s", bucket, key, e)',
        "raise",
    )
    expect(s3, "_object_disk_path", "(bucket: str, key: str, account_id: str = None) -> str | None")
    expect(s3, "_version_disk_path", "(bucket: str, key: str, version_id: str, account_id: str = None) -> str | None")
    replace(s3, "get_state", "()", _with_uploads)
    replace(s3, "_restore_state", "(data)", _uploads_restored)


def restore(base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
    """What a clean stop saved, with the settings of buckets and the parts of uploads as journaled."""
    _mend()
    return restored(base, records)


def _with_uploads(original: Function) -> Function:
    return lambda: {**original(), **_UPLOADS}


def _uploads_restored(original: Function) -> Function:
    def restore_state(data: dict[str, Any]) -> None:
        original(data)
        for name, uploads in _UPLOADS.items():
            uploads.update((data or {}).get(name, {}))
        for upload in s3._multipart_uploads._data.values():  # JSON knows no numbers as keys
            upload["parts"] = {int(number): part for number, part in upload["parts"].items()}

    return restore_state


def _mend() -> None:
    """Puts back each version that another one was about to take the place of.

    A version's copy is made first, then its file is written over, then the file beside it says which version it holds:
    a copy of the version that is said to be there is what must be there.
    """
    for (account, name), bucket in list(s3._buckets._data.items()):
        for key, found in list(bucket["objects"].items()):
            if version := found.get("version_id"):
                kept = s3._version_disk_path(name, key, version, account)
                current = s3._object_disk_path(name, key, account)
                if kept and current and Path(kept).is_file():
                    draft = Path(f"{current}.mended.tmp")
                    shutil.copy2(kept, draft)
                    draft.replace(current)
