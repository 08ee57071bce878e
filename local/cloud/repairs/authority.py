"""May a service do this for a role, or on its own: the questions MiniStack asks of API callers only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.iam_actions import identity_denial_message
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam

from local.cloud.repairs.patching import expect


def check() -> None:
    """RepairError unless the policy engine is the one this module asks."""
    expect(
        iam_evaluator,
        "evaluate_resource_policy",
        "(doc: str | dict | None, ctx: ministack.core.iam_evaluator.EvalContext, service: str | None = None, "
        "named_only: bool = False, direct_only: bool = False) -> ministack.core.iam_evaluator.EvalResult",
    )
    expect(iam_evaluator, "_resource_policy", "(service: str, resource_arn: str) -> tuple | None")
    expect(
        iam_evaluator,
        "_gather_role_policies",
        "(role_name: str, account_id: str) -> list[list[ministack.core.iam_evaluator.ParsedStatement]]",
    )


@dataclass(frozen=True)
class Session:
    """A role as one service has assumed it."""

    role_arn: str
    name: str

    @property
    def arn(self) -> str:
        """The assumed role's ARN, as denials name it."""
        return f"arn:aws:sts::{self._account}:assumed-role/{self._role}/{self.name}"

    def denial(
        self, action: str, resource: str, service: str = "", context: Mapping[str, Any] | None = None
    ) -> str | None:
        """The reason why the role may not perform the action, in AWS's words; None when it may."""
        request = self._request(action, resource, context or {})
        limits = iam_evaluator._permissions_boundary(iam._roles, self._role, self._account)
        policies = iam_evaluator._gather_role_policies(self._role, self._account)
        result = iam_evaluator.evaluate(request, policies, *limits)
        found = iam_evaluator._resource_policy(service or action.partition(":")[0], resource)
        if found is not None:
            result = iam_evaluator.combine_resource_policy(result, request, *found, required=service == "kms")
        if result.decision == "Allow":
            return None
        return str(identity_denial_message(action, self.arn, resource, result.decision == "Deny"))

    def _request(self, action: str, resource: str, context: Mapping[str, Any]) -> Any:
        return iam_evaluator.EvalContext(
            principal_arn=self.arn,
            principal_type="AssumedRole",
            principal_account=self._account,
            action=action,
            resource_arn=resource,
            region=get_region(),
            secure_transport=True,
            service_context={"aws:tagkeys": None, **{key.lower(): value for key, value in context.items()}},
        )

    @property
    def _account(self) -> str:
        return self.role_arn.split(":")[4]

    @property
    def _role(self) -> str:
        return self.role_arn.rsplit("/", 1)[-1]


def trusts(role_arn: str, service: str, source_arn: str) -> bool:
    """Whether the role exists and its trust policy lets the service assume it on behalf of the source."""
    parts = role_arn.split(":")
    role = iam._roles.get_scoped(parts[4], None, role_arn.rsplit("/", 1)[-1]) if len(parts) > 5 else None
    if role is None:
        return False
    policy = role["AssumeRolePolicyDocument"]
    regional = service.replace(".amazonaws.com", f".{get_region()}.amazonaws.com")
    request = _service_request("sts:AssumeRole", role_arn, source_arn)
    decisions = [iam_evaluator.evaluate_resource_policy(policy, request, name).decision for name in (service, regional)]
    return "Deny" not in decisions and "Allow" in decisions


def service_denial(service: str, action: str, resource: str, source_arn: str) -> str | None:
    """Why the resource's own policy does not let the service act for the source; None when it does."""
    found = iam_evaluator._resource_policy(action.partition(":")[0], resource)
    policy = found[0] if found else None
    decision = iam_evaluator.evaluate_resource_policy(
        policy, _service_request(action, resource, source_arn), service
    ).decision
    if decision == "Allow":
        return None
    return (
        f"{service} is not authorized to perform: {action} on resource: {resource} "
        "because no resource-based policy allows the action"
    )


def _service_request(action: str, resource: str, source_arn: str) -> Any:
    # A service is no principal of the account: "*" matches nothing but statements for everyone.
    return iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=get_region(),
        secure_transport=True,
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": get_account_id()},
    )


def parameters(data: Any) -> dict[str, Any]:
    """A task's or a request's parameters as a dict, also when they came as JSON text or not at all."""
    if isinstance(data, bytes | str):
        data = json.loads(data or "{}")
    return data if isinstance(data, dict) else {}
