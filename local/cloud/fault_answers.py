"""How each service says that it throttles, is broken or denies: on the wire, and to Step Functions."""

import json

from botocore.loaders import Loader
from botocore.model import ServiceModel
from ministack.core.iam_actions import access_denied_response, extract_iam_action

from local.cloud.faults import Call, Fault, Kind
from local.cloud.repairs import roles
from local.cloud.repairs.roles import Request
from local.cloud.service import Headers, Response

_Code = tuple[str, int]  # and the status
_THROTTLED: dict[str, _Code] = {
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "monitoring": ("Throttling", 400),
    "s3": ("SlowDown", 503),
    "scheduler": ("ThrottlingException", 429),
    "sns": ("Throttled", 429),
    "sqs": ("RequestThrottled", 400),
    "": ("ThrottlingException", 400),
}
_BROKEN: dict[str, _Code] = {
    "dynamodb": ("InternalServerError", 500),
    "events": ("InternalException", 500),
    "glue": ("InternalServiceException", 500),
    "kms": ("KMSInternalException", 500),
    "lambda": ("ServiceException", 500),
    "s3": ("InternalError", 500),
    "scheduler": ("InternalServerException", 500),
    "": ("InternalFailure", 500),
}
_BOTOCORE = {"states": "stepfunctions"}
_MOST_TEXT = 64 * 1024  # of a request's body
_loader = Loader()


def request_call(service: str, request: Request, *, role: str, state: str = "", execution: str = "") -> Call:
    """A request as faults are aimed at it."""
    method, path, headers, body, query = request
    content = body.encode() if isinstance(body, str) else body or b""
    action = extract_iam_action(service, method, path, headers, content, query) or f"{service}:"
    text = f"{execution} {method} {path} {json.dumps(query)} {content[:_MOST_TEXT].decode(errors='replace')}"
    return Call(action, role, state, text)


def wire_answer(service: str, call: Call, fault: Fault, headers: Headers, caller_arn: str) -> Response:
    """The answer of an HTTP request that is throttled, denied, or meets the service's own fault."""
    if fault.kind is Kind.DENIED:
        denial: Response = access_denied_response(service, call.action, caller_arn, fault.name, headers=dict(headers))
        return denial
    code, status = _code(service, fault.kind)
    return error_answer(service, code, status, _message(fault), headers)


def error_answer(service: str, code: str, status: int, message: str, headers: Headers) -> Response:
    """An error in the service's protocol."""
    _, answered, body = access_denied_response(
        service, "", "", "fault", error_code=code, message=message, headers=dict(headers)
    )
    return status, answered, body


def task_error(service: str, operation: str, fault: Fault) -> tuple[str, str]:
    """The error and cause of a task whose optimized integration meets the fault."""
    base = roles.base_error(service)
    prefix = base.partition(".")[0]
    if fault.kind is Kind.TIMEOUT:
        return "States.Timeout", ""
    if fault.kind is Kind.LOST:
        return f"{prefix}.SdkClientException", _message(fault)
    code = "AccessDeniedException" if fault.kind is Kind.DENIED else _code(service, fault.kind)[0]
    name = code if code.endswith("Exception") else f"{code}Exception"
    return f"{prefix}.{name}" if _models(service, operation, code) else base, _message(fault)


def _code(service: str, kind: Kind) -> _Code:
    codes = _THROTTLED if kind is Kind.THROTTLE else _BROKEN
    return codes.get(service, codes[""])


def _message(fault: Fault) -> str:
    said = {
        Kind.THROTTLE: "Rate exceeded",
        Kind.DENIED: "User is not authorized to perform this action",
        Kind.LOST: "Unable to execute HTTP request: the target server failed to respond",
    }
    return f"{said.get(fault.kind, 'The service met an internal error')} (injected: {fault.name})"


def _models(service: str, operation: str, code: str) -> bool:
    name = _BOTOCORE.get(service, service)
    model = ServiceModel(_loader.load_service_model(name, "service-2"), name)
    if operation not in model.operation_names:
        return False
    errors = model.operation_model(operation).error_shapes
    return any(code in (shape.name, shape.metadata.get("error", {}).get("code")) for shape in errors)
