"""Lets a test do a function's work with the function's own grants, at a time that has not come yet, say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from cli.stack import Stack
from tests.e2e.conftest import physical_id


@contextmanager
def acting_as(stack: Stack, role: str) -> Iterator[Stack]:
    """The stack as one of its roles, named by its logical id, sees it: the role's policies judge every call.

    The role trusts the account for a moment, as else only its service may take it on.
    """
    iam: Any = stack.session.client("iam")
    name = physical_id(stack, role)
    taken = iam.get_role(RoleName=name)["Role"]
    trust = taken["AssumeRolePolicyDocument"]
    account = {"AWS": f"arn:aws:iam::{taken['Arn'].split(':')[4]}:root"}
    everyone = [*trust["Statement"], {"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole"}]
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps({**trust, "Statement": everyone}))
    try:
        sts: Any = stack.session.client("sts")
        given = sts.assume_role(RoleArn=taken["Arn"], RoleSessionName="test")["Credentials"]
        actor = Stack(stack.name, _Session(stack.session, given), stack.target)
        actor.outputs = stack.outputs  # nobody but people may ask for them
        yield actor
    finally:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))


class _Session(boto3.Session):
    """Clients with a role's credentials at the place of another session's."""

    def __init__(self, place: boto3.Session, given: dict[str, Any]) -> None:
        super().__init__(region_name=place.region_name)
        self._client: Any = place.client
        self._given = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }

    def client(self, *service: Any, **options: Any) -> Any:
        return self._client(*service, **options, **self._given)
