"""The one way a function is entered from the HTTP API: errors become statuses, and no answer shows our insides."""

import json
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any

from pydantic import TypeAdapter

from ratchet.contracts.http import HttpAnswer, HttpRequest
from ratchet.domain.errors import (
    ApprovalClosedError,
    ApprovalUnknownError,
    BusyError,
    CallerError,
    EndpointAsleepError,
    ModelFailedError,
    ModelMissingError,
    PipelineUnknownError,
    RatchetError,
    RecordsInvalidError,
    RequestInvalidError,
    RequestTooLargeError,
)
from ratchet.observability import LambdaHandler, UseCaseT, alarm, enter, logger, parse
from ratchet.settings import on_lambda

# What is not listed goes by its family: the caller is wrong 400, the world is busy 503, we are broken 500.
STATUSES: Mapping[type[RatchetError], int] = {
    ApprovalUnknownError: 404,
    PipelineUnknownError: 404,
    ApprovalClosedError: 409,
    ModelMissingError: 409,
    RequestTooLargeError: 413,
    ModelFailedError: 502,
}
_RETRY_AFTER: Mapping[type[RatchetError], int] = {EndpointAsleepError: 60}  # seconds
_REQUEST: TypeAdapter[HttpRequest] = TypeAdapter(HttpRequest)
_REQUEST.rebuild()


def http_door(
    build: Callable[[], UseCaseT],
) -> Callable[[Callable[[HttpRequest, UseCaseT], HttpAnswer]], LambdaHandler[UseCaseT]]:
    """Turns `body(request, use_case) -> answer` into the handler of an HTTP API's route."""
    build_once = cache(build)

    def decorate(body: Callable[[HttpRequest, UseCaseT], HttpAnswer]) -> LambdaHandler[UseCaseT]:
        @wraps(body)
        def handler(event: dict[str, Any], _context: Any, *, use_case: UseCaseT | None = None) -> Any:
            request: HttpRequest = parse(_REQUEST, event)
            request_id = request.request_context.request_id
            logger.append_keys(request_id=request_id, caller=request.caller, **request.path_parameters)
            try:
                answer = body(request, build_once() if use_case is None else use_case)
            except (CallerError, BusyError, ModelFailedError) as error:
                answer = refusal(error)
                logger.info("refused", status=answer.status, error=type(error).__name__, because=str(error))
            except Exception:  # noqa: BLE001  whatever it is, the caller learns nothing of it
                logger.exception("broken")
                alarm("FunctionFailed", 1)
                said = f"Something is broken on our side; the log has it under request {request_id}."
                answer = HttpAnswer(status=500, body={"message": said, "error": "InternalError"})
            return answer.proxied()

        if on_lambda():
            build_once()
        return enter(handler)

    return decorate


def json_body(request: HttpRequest) -> Any:
    """The body as JSON (RFC 8259, so without NaN and Infinity); RequestInvalidError says where it is not."""
    try:
        return json.loads(request.raw().decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RequestInvalidError(f"the body is not JSON: {error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def refusal(error: RatchetError) -> HttpAnswer:
    """The answer to a request that was not served, with the reason and when to try again."""
    family = 503 if isinstance(error, BusyError) else 400
    body: dict[str, Any] = {"message": str(error), "error": type(error).__name__}
    if isinstance(error, RecordsInvalidError):
        body["problems"] = [problem.model_dump() for problem in error.problems]
    retry = {"retry-after": str(_RETRY_AFTER.get(type(error), 1))} if isinstance(error, BusyError) else {}
    return HttpAnswer(status=STATUSES.get(type(error), family), body=body, headers=retry)
