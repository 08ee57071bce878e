"""Puts the script of `local.cloud.faults` before every call that comes over HTTP, and before every delivery."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from ministack import app
from ministack.core import iam_evaluator, router
from ministack.services import eventbridge

from local.cloud import fault_processes, fault_tasks
from local.cloud.fault_answers import error_answer, request_call, wire_answer
from local.cloud.fault_processes import end_cloud
from local.cloud.faults import DELIVERY, Call, Faults, FaultScriptError, Kind
from local.cloud.repairs.patching import Function, replace
from local.cloud.repairs.roles import Request
from local.cloud.service import Response
from local.cloud.settings import CloudSettings

_DISPATCH = "(method: str, path: str, headers: dict, body: bytes, query_params: dict, request_id: str)"
_HANG_UP = "ratchet.hang_up"
_NO_ANSWER: Response = (0, {}, b"")


def apply(settings: CloudSettings) -> None:
    """Wraps all doors of the cloud. The script is off after every start; what has struck stays written down."""
    settings.faults_file.unlink(missing_ok=True)
    faults = Faults(settings)
    replace(app, "_dispatch_service_request", _DISPATCH, lambda dispatch: _at_http(faults, dispatch))
    replace(app, "_send_response", "(send, status, headers, body, *, head=False)", _hang_up_instead)
    replace(HTTPStream, "app_send", "(self, message: 'ASGISendEvent | None') -> 'None'", _hang_up)
    signature = "(target, event, rule, view=None)"
    replace(eventbridge, "_invoke_target", signature, lambda deliver: _at_deliveries(faults, deliver))
    fault_tasks.apply(faults)
    fault_processes.apply(faults)


# -- over HTTP ----------------------------------------------------------------------------------------------------


def _at_http(faults: Faults, dispatch: Function) -> Function:
    async def at_http(*request: Any) -> Response:
        async def perform() -> Response:
            response: Response = await dispatch(*request)
            return response

        return await _guarded(faults, Request(*request[:5]), perform) if faults.on else await perform()

    return at_http


async def _guarded(faults: Faults, request: Request, perform: Callable[[], Awaitable[Response]]) -> Response:
    method, path, headers, body, query = request
    service = router.detect_service(method, path, headers, app._routing_params(method, path, headers, body, query))
    caller = iam_evaluator.request_caller_arn(headers, query)
    call = request_call(service, request, role=_role(caller))
    try:
        fault = faults.strike(call)
    except FaultScriptError as error:
        return error_answer(service, "InternalFailure", 500, str(error), headers)
    if fault is not None and fault.kind is Kind.CLOUD_KILLED:
        end_cloud(fault)
    if fault is None or fault.kind is Kind.CLOUD_KILLED:
        return await perform()
    await asyncio.sleep(fault.seconds)
    if fault.kind in (Kind.LOST, Kind.DUPLICATE):
        await perform()
    if fault.kind in (Kind.SLOW, Kind.DUPLICATE):
        return await perform()
    silent = fault.kind in (Kind.LOST, Kind.TIMEOUT)
    return _NO_ANSWER if silent else wire_answer(service, call, fault, headers, caller)


def _role(arn: str) -> str:
    kind, _, name = arn.rpartition(":")[2].partition("/")
    return name.partition("/")[0] if kind == "assumed-role" else ""


def _hang_up_instead(send_response: Function) -> Function:
    async def send(to: Callable[..., Any], status: int, headers: Any, body: Any, *, head: bool = False) -> None:
        if status == _NO_ANSWER[0]:
            await to({"type": _HANG_UP})
        else:
            await send_response(to, status, headers, body, head=head)

    return send


def _hang_up(app_send: Function) -> Function:
    async def send(self: HTTPStream, message: Any) -> None:
        if message is None or message["type"] != _HANG_UP:
            await app_send(self, message)
            return
        self.state = ASGIHTTPState.CLOSED
        await self.send(StreamClosed(stream_id=self.stream_id))  # with nothing said before it: the connection closes

    return send


# -- deliveries ---------------------------------------------------------------------------------------------------


def _at_deliveries(faults: Faults, deliver: Function) -> Function:
    def at_deliveries(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        about = (
            f"{rule.get('Name', '')} {target.get('Arn', '')} {event.get('Source', '')} {event.get('DetailType', '')}"
        )
        text = f"{about} {event.get('Detail', '')}"
        fault = faults.strike(Call(DELIVERY, "", "", text)) if faults.on else None
        if fault is not None and fault.kind is Kind.CLOUD_KILLED:
            end_cloud(fault)
        elif fault is not None:
            deliver(target, event, rule, view)
        deliver(target, event, rule, view)

    return at_deliveries
