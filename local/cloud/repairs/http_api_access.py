"""T30: the front door of an HTTP API: who may come in, how often, with how much, and what a broken function shows.

MiniStack lets a request with any Authorization header that is no AWS signature into an AWS_IAM route, answers a bad
signature as a REST API does, checks no Lambda permission, knows no throttling, and shows a function's error to callers.
"""

import json
import time
from typing import Any

from ministack import app
from ministack.core.iam_evaluator import SignedRequest, _is_root_key, _signed_request
from ministack.core.router import extract_access_key_id
from ministack.core.sigv4 import parse_header_signature
from ministack.services import apigateway, lambda_svc

from local.cloud.repairs.authority import service_denial
from local.cloud.repairs.patching import Function, edit, expect, replace

Answer = tuple[int, dict[str, str], bytes]
_MAX_BODY_BYTES = 10 * 1024 * 1024
_BROKEN = "Internal Server Error"
_INVOKE = (
    "(integration, api_id, stage, path, method, headers, body, query_params, route_key='$default', "
    "path_params=None, *, authorizer_claims=None, authorizer_scopes=None, authorizer_lambda_context=None, "
    "authorizer_iam=None, owner_account_id=None, owner_region=None, raw_query_string=None)"
)
_READ = "    lambda_response, _ = lambda_svc.lambda_execute_result_to_api_proxy_response(result)\n"
_REFUSE = (
    '    if result.get("error") and not result.get("throttle"):\n'
    f'        return 500, {{"Content-Type": "application/json"}}, b\'{{"message":"{_BROKEN}"}}\'\n'
)


def apply() -> None:
    """Puts the checks before MiniStack's own handling."""
    expect(
        lambda_svc,
        "_get_func_record_for_ref_in_scope",
        "(function_ref: str, *, account_id: str | None = None, region: str | None = None) "
        "-> tuple[dict | None, dict | None, str]",
    )
    edit(apigateway, "_invoke_lambda_proxy", _INVOKE, _READ, _REFUSE + _READ)
    replace(
        app,
        "_handle_execute_api_request",
        "(host: str, path: str, method: str, headers: dict, body: bytes, query_params: dict, "
        "raw_path: str | None = None, raw_query_string: str | None = None)",
        _pin_root,
    )
    replace(
        app,
        "_enforce_execute_api",
        "(api_id: str, stage: str, method: str, execute_path: str, headers: dict, query_params: dict, "
        "iam_action: str = 'execute-api:Invoke')",
        _enforce,
        ("_enforce_data_plane(",),
    )
    replace(
        apigateway,
        "handle_execute",
        "(api_id, stage, path, method, headers, body, query_params, raw_query_string=None)",
        _admit,
    )
    replace(apigateway, "_invoke_lambda_proxy", _INVOKE, _with_permission)


def _answer(status: int, message: str) -> Answer:
    return (
        status,
        {"Content-Type": "application/json"},
        json.dumps({"message": message}, separators=(",", ":")).encode(),
    )


_FORBIDDEN = _answer(403, "Forbidden")


def _pin_root(original: Function) -> Function:
    """MiniStack checks no signature of an account's root: here it is checked like any other."""

    async def handle(host: str, path: str, method: str, *rest: Any, raw_path: str | None = None, **named: Any) -> Any:
        headers, body, query = rest
        key = extract_access_key_id(headers, {})
        if key and _is_root_key(key) and app._parse_execute_api_url(host, path) is not None:
            _signed_request.set(SignedRequest(key, method, raw_path or path, query, headers, body=body))
        return await original(host, path, method, *rest, raw_path=raw_path, **named)

    return handle


def _enforce(original: Function) -> Function:
    def enforce(api_id: str, stage: str, method: str, path: str, *rest: Any, **named: Any) -> Any:
        headers, *_ = rest
        wanted = apigateway.route_authorization_type(api_id, stage, method, path)
        if wanted == "AWS_IAM" and not _is_signed(headers):
            return _FORBIDDEN
        denied = original(api_id, stage, method, path, *rest, **named)
        return _FORBIDDEN if denied and wanted == "AWS_IAM" else denied

    return enforce


def _is_signed(headers: dict[str, str]) -> bool:
    """Whether the request carries a signature for API Gateway; whether it is right is checked later."""
    if _signed_request.get() is None or not headers.get("authorization", "").startswith("AWS4-HMAC-SHA256"):
        return False
    signature = parse_header_signature(headers)
    return not isinstance(signature, tuple) and signature.service == "execute-api"


class _Bucket:
    """The token bucket of one stage."""

    def __init__(self) -> None:
        self.tokens, self.at = float("inf"), time.monotonic()

    def take(self, rate: float, burst: float) -> bool:
        now = time.monotonic()
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def _admit(original: Function) -> Function:
    buckets: dict[tuple[str, str], _Bucket] = {}

    async def handle(api_id: str, stage: str, *rest: Any, **named: Any) -> Any:
        _, _, _, body, *_ = rest
        settings = apigateway.stages_for_api(api_id).get(stage, {}).get("defaultRouteSettings") or {}
        rate, burst = (settings.get(f"Throttling{name}Limit") for name in ("Rate", "Burst"))
        if rate and burst and not buckets.setdefault((api_id, stage), _Bucket()).take(float(rate), float(burst)):
            return _answer(429, "Too Many Requests")
        if len(body or b"") > _MAX_BODY_BYTES:
            return _answer(413, "Request Entity Too Large")
        return await original(api_id, stage, *rest, **named)

    return handle


def _with_permission(original: Function) -> Function:
    async def invoke(
        integration: Any, api_id: str, stage: str, path: str, method: str, *rest: Any, **named: Any
    ) -> Any:
        account, region = named["owner_account_id"], named["owner_region"]
        reference = apigateway._extract_lambda_ref_from_integration_uri(integration.get("integrationUri", ""))
        _, found, _ = lambda_svc._get_func_record_for_ref_in_scope(reference, account_id=account, region=region)
        source = f"arn:aws:execute-api:{region}:{account}:{api_id}/{stage}/{method}{path}"
        if found is None or service_denial(
            "apigateway.amazonaws.com", "lambda:InvokeFunction", found["FunctionArn"], source
        ):
            return _answer(500, _BROKEN)
        return await original(integration, api_id, stage, path, method, *rest, **named)

    return invoke
