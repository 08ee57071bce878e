"""An engine in the place of one of MiniStack's service modules."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from botocore.model import Shape
from ministack import app
from ministack.core.responses import error_response_json, get_account_id, get_region, json_response

from local.cloud.repairs.patching import Function
from local.cloud.repairs.resource_arns import replace_extraction
from local.host import Scope

Document = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]
Headers = Mapping[str, str]


class Engine(Protocol):
    """What MiniStack's life cycle asks of an engine."""

    def dump(self) -> Document:
        """All state as JSON-ready data."""

    def load(self, state: Document) -> None:
        """Restores what `dump` gave."""

    def reset(self) -> None:
        """Forgets everything."""


class RefusedError(Exception):
    """An engine's error as it goes on the wire."""

    def __init__(self, code: str, message: str, status: int = 400, details: Document | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.details = details or {}

    def response(self) -> Response:
        """The HTTP answer."""
        answer: Response = error_response_json(self.code, self.message, self.status, self.details)
        return answer


class StateModule:
    """What MiniStack saves, restores and resets of a service: an engine's state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get_state(self) -> Document:
        """Saved at a clean stop."""
        return self._engine.dump()

    def load_persisted_state(self, data: Document) -> None:
        """Restored before MiniStack listens."""
        self._engine.load(data)

    def reset(self) -> None:
        """Called by `POST /_ministack/reset`."""
        self._engine.reset()


def scope() -> Scope:
    """The account and region of the request that this thread serves."""
    return Scope(get_account_id(), get_region())


def persist(name: str, engine: Engine) -> None:
    """Makes the engine's state part of what MiniStack saves, restores and resets, as service module `name`."""
    app._loaded_modules[name] = StateModule(engine)
    app._state_map[name] = name


async def answer(act: Callable[[], Document | None]) -> Response:
    """Runs an engine's action off the event loop and puts its outcome on the wire."""
    try:
        response: Response = json_response(await asyncio.to_thread(act) or {})
    except RefusedError as refusal:
        return refusal.response()
    return response


def name_resources(service: str, arn_of: Callable[[str, Headers, bytes], str | None]) -> None:
    """Lets `arn_of` say, from path, headers and body, which ARN a policy must name for a request to the service."""

    def with_ours(original: Function) -> Function:
        def extract(asked: str, *request: Any) -> Any:
            _, path, headers, body, *_ = request
            return (arn_of(path, headers, body) if asked == service else None) or original(asked, *request)

        return extract

    replace_extraction(with_ours)


def action_of(headers: Headers) -> str:
    """The action that a JSON-protocol request names."""
    return headers.get("x-amz-target", "").rpartition(".")[2]


def body_of(body: bytes | str) -> Document:
    """The request's parameters; raises RefusedError when the body is no JSON object."""
    try:
        request = json.loads(body or "{}")
    except ValueError:
        raise RefusedError("SerializationException", "Start of structure or map found where not expected.") from None
    if not isinstance(request, dict):
        raise RefusedError("SerializationException", "Start of structure or map found where not expected.")
    return request


def provisioned(call: Callable[[str, Document], Document], action: str, request: Document) -> Document:
    """An action's answer for CloudFormation, which shows a ValueError as the resource's reason of failure."""
    try:
        return call(action, request)
    except RefusedError as refusal:
        raise ValueError(f"{refusal.message} (Error Code: {refusal.code})") from refusal


def coerced(value: Any, shape: Shape | None) -> Any:
    """A template's value in the API's types: CloudFormation hands over numbers and booleans as text."""
    if shape is None:
        return value
    if shape.type_name == "structure":
        members: Mapping[str, Shape] = shape.members  # type: ignore[attr-defined]
        return {name: coerced(item, members.get(name)) for name, item in value.items()}
    if shape.type_name == "list":
        return [coerced(item, shape.member) for item in value]  # type: ignore[attr-defined]
    if shape.type_name == "map":
        return {name: coerced(item, shape.value) for name, item in value.items()}  # type: ignore[attr-defined]
    if isinstance(value, str) and shape.type_name in _FROM_TEXT:
        return _FROM_TEXT[shape.type_name](value)
    return str(value) if shape.type_name == "string" and isinstance(value, int | float) else value


_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": lambda text: text.lower() == "true",
}
