"""T28: a policy sees a schedule under its own group; MiniStack takes every schedule for one of the group `default`."""

import json
from collections.abc import Mapping
from typing import Any

from local.cloud.repairs.patching import Function
from local.cloud.repairs.resource_arns import replace_extraction

_NO_GROUP = ":schedule/default/"


def apply() -> None:
    """Names the group of the request: in its body when a schedule is written, in its query when it is read."""
    replace_extraction(_in_its_group, (_NO_GROUP,))


def _in_its_group(original: Function) -> Function:
    def extract(service: str, *request: Any) -> Any:
        _, _, _, body, query, *_ = request
        arn = original(service, *request)
        if service != "scheduler" or _NO_GROUP not in str(arn):
            return arn
        return arn.replace(_NO_GROUP, f":schedule/{_group(body, query)}/", 1)

    return extract


def _group(body: bytes, query: Mapping[str, Any]) -> str:
    asked = query.get("groupName")
    if asked:
        return str(asked[0] if isinstance(asked, list) else asked)
    try:
        return str(json.loads(body or b"{}").get("GroupName") or "default")
    except ValueError:
        return "default"
