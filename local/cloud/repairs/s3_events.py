"""T21: the EventBridge event of an object in a versioned bucket names its version."""

import json
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, s3

from local.cloud.repairs.patching import Function, replace

_version: ContextVar[str | None] = ContextVar("object_version", default=None)
_FIRE = (
    "(bucket_name: str, key: str, event_name: str, size: int = 0, etag: str = '', "
    "deletion_type: str | None = None, restore_event_data: dict | None = None, version_id: str | None = None, "
    "sequencer: str | None = None, object_extra: dict | None = None, record_extra: dict | None = None) -> None"
)


def apply() -> None:
    """Adds `version-id` to the events; notifications to SQS, SNS and Lambda already carry it."""
    replace(s3, "_fire_s3_event", _FIRE, _remember_version, ("_eb._dispatch_event(eb_event)", '"versionId"'))
    replace(eventbridge, "_dispatch_event", "(event, view=None)", _add_version)


def _remember_version(original: Function) -> Function:
    def fire(*args: Any, **options: Any) -> None:
        token = _version.set(options.get("version_id"))
        try:
            original(*args, **options)
        finally:
            _version.reset(token)

    return fire


def _add_version(original: Function) -> Function:
    def dispatch(event: Any, view: Any = None) -> Any:
        version = _version.get()
        if version and event.get("Source") == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        return original(event, view)

    return dispatch
