"""Takes a grant away from a role of the running stack, through IAM, and gives it back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cli.stack import Stack
from tests.e2e.conftest import physical_id
from tests.template.reading import as_list


@contextmanager
def without(stack: Stack, role: str, grant: str) -> Iterator[None]:
    """Takes an action, or a statement by its Sid, out of the inline policies of a role, named by its logical id."""
    iam: Any = stack.session.client("iam")
    name = physical_id(stack, role)
    before = {
        policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    }
    after = {policy: _reduced(document, grant) for policy, document in before.items()}
    assert after != before, f"{role} never had {grant}"
    try:
        for policy, document in after.items():
            if document["Statement"]:
                iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
            else:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
        yield
    finally:
        for policy, document in before.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


def _reduced(document: dict[str, Any], grant: str) -> dict[str, Any]:
    """A policy without an action or a statement; statements that allowed nothing else are gone."""
    statements = []
    for statement in as_list(document["Statement"]):
        kept = [action for action in as_list(statement["Action"]) if action != grant]
        if kept and statement.get("Sid") != grant:
            statements.append({**statement, "Action": kept})
    return {**document, "Statement": statements}
