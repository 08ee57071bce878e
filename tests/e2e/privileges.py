"""What the roles of the stack may do: their policies as deployed, asked outside of the cloud."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator

from cli.stack import Stack
from local.cloud.recording import Call

Statement = dict[str, Any]


@dataclass(frozen=True)
class Role:
    """A role of the stack, with the statements of its own policies."""

    logical_id: str
    statements: tuple[Statement, ...]


def roles_of(stack: Stack) -> dict[str, Role]:
    """The stack's roles by name, as they are deployed."""
    pages = stack.session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    names = {
        resource["PhysicalResourceId"]: resource["LogicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::IAM::Role"
    }
    iam: Any = stack.session.client("iam")
    return {name: Role(logical_id, tuple(_statements(iam, name))) for name, logical_id in names.items()}


def allows(statements: Sequence[Statement], call: Call) -> bool:
    """Whether the statements alone would have allowed the call."""
    request = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::000000000000:assumed-role/{call.role}/session",
        principal_type="AssumedRole",
        principal_account="000000000000",
        action=call.action,
        resource_arn=call.resource,
        region="us-east-1",
        secure_transport=True,
        service_context=dict(call.context),
    )
    parsed = iam_evaluator.parse_policy_document({"Statement": list(statements)}) if statements else []
    return bool(iam_evaluator.evaluate(request, [parsed]).decision == "Allow")


def as_list(value: Any) -> list[Any]:
    """IAM writes one or many."""
    return value if isinstance(value, list) else [value]


def _statements(iam: Any, role: str) -> Iterator[Statement]:
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield from as_list(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"])
