"""T34: a policy names the alarm of a request; MiniStack finds it in the old query protocol only."""

import json
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local.cloud.repairs.patching import Function
from local.cloud.repairs.resource_arns import replace_extraction


def apply() -> None:
    """Finds AlarmName, or the first of AlarmNames, in the JSON that boto3 sends today."""
    replace_extraction(_resource)


def _resource(original: Function) -> Function:
    def extract(service: str, method: str, path: str, headers: dict[str, str], body: bytes, *scope: Any) -> Any:
        name = _alarm(headers, body) if service == "monitoring" else None
        if name is None:
            return original(service, method, path, headers, body, *scope)
        return f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"

    return extract


def _alarm(headers: dict[str, str], body: bytes) -> str | None:
    try:
        asked = json.loads(body) if "json" in headers.get("content-type", "") else None
    except ValueError:
        return None
    if not isinstance(asked, dict):
        return None
    return asked.get("AlarmName") or next(iter(asked.get("AlarmNames") or ()), None)
