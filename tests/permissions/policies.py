"""What the roles of the stack may do: their policies as deployed, asked outside of the cloud."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator

from cli.stack import Stack
from local.cloud.recording import Call
from tests.permissions.parts import name_of
from tests.template.reading import as_list

Statement = dict[str, Any]


@dataclass(frozen=True)
class Role:
    """A role of the stack, with the statements of its own policies by name."""

    logical_id: str
    statements: dict[str, Statement]

    @property
    def policy(self) -> "Policy":
        """What the statements allow together."""
        return Policy(self.statements.values())


class Policy:
    """Statements as the policy engine of the embedded cloud reads them."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self.parsed = iam_evaluator.parse_policy_document({"Statement": list(statements)})


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
    return {name: Role(logical_id, dict(_statements(iam, name))) for name, logical_id in names.items()}


def allows(policy: Policy, call: Call) -> bool:
    """Whether the policy alone would have allowed the call."""
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
    return bool(iam_evaluator.evaluate(request, [policy.parsed]).decision == "Allow")


def _statements(iam: Any, role: str) -> Iterator[tuple[str, Statement]]:
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for statement in as_list(document["Statement"]):
            yield name_of(statement, policy), statement
