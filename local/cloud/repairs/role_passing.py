"""T4: who hands a role to a service must be allowed to pass it (iam:PassRole, with iam:PassedToService).

For callers of the API here, and for state machines in `roles`. Root may pass every role, as it may do everything.
"""

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id

from local.cloud.repairs.patching import Function, expect, replace

# Where each action's parameters name roles; the service they are passed to is the action's own.
_FIELDS: Mapping[str, str] = {
    "events:PutRule": "RoleArn",
    "events:PutTargets": "Targets.RoleArn",
    "glue:CreateJob": "Role",
    "glue:UpdateJob": "JobUpdate.Role",
    "lambda:CreateFunction": "Role",
    "lambda:UpdateFunctionConfiguration": "Role",
    "sagemaker:CreateEndpointConfig": "ExecutionRoleArn",
    "sagemaker:CreateHyperParameterTuningJob": "TrainingJobDefinition.RoleArn",
    "sagemaker:CreateModel": "ExecutionRoleArn",
    "sagemaker:CreateProcessingJob": "RoleArn",
    "sagemaker:CreateTrainingJob": "RoleArn",
    "scheduler:CreateSchedule": "Target.RoleArn",
    "scheduler:UpdateSchedule": "Target.RoleArn",
    "states:CreateStateMachine": "roleArn",
    "states:UpdateStateMachine": "roleArn",
}
_ENFORCE = (
    "(access_key_id: str, iam_action: str, service: str, region: str, resource_arn: str = '*', "
    "service_context: dict[str, typing.Any] | None = None) -> "
    "ministack.core.iam_evaluator.EvalResult | ministack.core.iam_evaluator.AuthError | None"
)
_DISPATCH = "(method: str, path: str, headers: dict, body: bytes, query_params: dict, request_id: str)"


@dataclass
class _Request:
    """A request on its way, and the passing of a role that it was denied."""

    body: bytes
    service: str = ""
    role: str = ""
    denied: Any = None


_request: ContextVar[_Request | None] = ContextVar("request_with_roles", default=None)


def apply() -> None:
    """Asks for the right to pass a role once the action itself is allowed."""
    replace(app, "_dispatch_service_request", _DISPATCH, _dispatch, ("import AuthError, enforce",))
    replace(iam_evaluator, "enforce", _ENFORCE, _enforce)
    expect(
        iam_actions,
        "access_denied_response",
        "(service: str, action: str, principal_arn: str, request_id: str, *, error_code: str = '', message: str = '', "
        "headers: dict | None = None, resource_arn: str = '*', explicit_deny: bool = False, "
        "resource_policy_arn: str = '') -> tuple",
    )


def takes_roles(action: str) -> bool:
    """Whether the action's parameters may name roles."""
    return action in _FIELDS


def passed_roles(action: str, parameters: Any) -> Iterator[str]:
    """The ARNs of the roles that the parameters of an action that takes roles hand over."""
    for role in _values(parameters, _FIELDS[action].split(".")):
        yield role if role.startswith("arn:") else f"arn:aws:iam::{get_account_id()}:role/{role}"


def passed_to(action: str) -> str:
    """The service that gets the roles of an action, as `iam:PassedToService` names it."""
    return f"{action.partition(':')[0]}.amazonaws.com"


def _values(document: Any, path: list[str]) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _values(item, path)
    elif not path:
        if isinstance(document, str) and document:
            yield document
    elif isinstance(document, dict):
        yield from _values(document.get(path[0]), path[1:])


def _dispatch(original: Function) -> Function:
    async def dispatch(*given: Any) -> Any:
        _, _, headers, body, _, request_id = given
        request = _Request(body)
        token = _request.set(request)
        try:
            answer = await original(*given)
        finally:
            _request.reset(token)
        if request.denied is None:
            return answer
        return iam_actions.access_denied_response(
            request.service,
            "iam:PassRole",
            request.denied.principal_arn,
            request_id,
            headers=headers,
            message=_message(request),
        )

    return dispatch


def _message(request: _Request) -> str:
    reason = (
        "with an explicit deny in an identity-based policy"
        if request.denied.decision == "Deny"
        else "because no identity-based policy allows the iam:PassRole action"
    )
    who = f"User: {request.denied.principal_arn} is not authorized to perform: iam:PassRole"
    return f"{who} on resource: {request.role} {reason}"


def _enforce(original: Function) -> Function:
    def enforce(access_key_id: str, iam_action: str, service: str, region: str, *more: Any, **request: Any) -> Any:
        denied, passing = original(access_key_id, iam_action, service, region, *more, **request), _request.get()
        if denied is not None or passing is None or not takes_roles(iam_action):
            return denied
        context = {"iam:PassedToService": passed_to(iam_action)}
        for role in passed_roles(iam_action, _parsed(passing.body)):
            refusal = original(access_key_id, "iam:PassRole", "iam", region, resource_arn=role, service_context=context)
            if refusal is not None:
                passing.service, passing.role, passing.denied = service, role, refusal
                return refusal
        return None

    return enforce


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:  # the service will refuse it
        return {}
