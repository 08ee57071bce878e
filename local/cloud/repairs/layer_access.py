"""T33: lambda:GetLayerVersion decides who reads a layer version; MiniStack asks for lambda:ListLayers on the layer."""

import re
from typing import Any

from ministack.core import iam_actions

from local.cloud.repairs.patching import Function, replace
from local.cloud.repairs.resource_arns import replace_extraction

_VERSION = re.compile(r"/layers/[^/]+/versions/(\d+)$")


def apply() -> None:
    """Names the action and the version of GetLayerVersion; the other actions on layers stay as they are."""
    replace(iam_actions, "_lambda_action", "(method: str, path: str) -> str | None", _action, ('return "ListLayers"',))
    replace_extraction(_resource)


def _action(original: Function) -> Function:
    def action(method: str, path: str) -> Any:
        return "GetLayerVersion" if method == "GET" and _VERSION.search(path) else original(method, path)

    return action


def _resource(original: Function) -> Function:
    def extract(service: str, method: str, path: str, *request: Any) -> Any:
        arn = original(service, method, path, *request)
        version = _VERSION.search(path) if service == "lambda" else None
        return f"{arn}:{version[1]}" if version else arn

    return extract
