"""T4: a role is passed to a service only by who may pass it to that service."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from tests.integration.cloud.account import RUNTIME, Account, archive

PASS = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
QUEUE = "arn:aws:sqs:us-east-1:000000000000:queue"
Call = Callable[[Callable[[str], Any], str, str], Any]
TRAINING = {
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
# What each call needs besides PassRole, and the call itself: client of a service, name, role.
CALLS: dict[str, tuple[str, Call]] = {
    "lambda.amazonaws.com": (
        "lambda:CreateFunction",
        lambda client, name, role: client("lambda").create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": archive({"app.py": "def handler(event, context): ..."})},
        ),
    ),
    "states.amazonaws.com": (
        "states:CreateStateMachine",
        lambda client, name, role: client("stepfunctions").create_state_machine(
            name=name, definition=PASS, roleArn=role
        ),
    ),
    "scheduler.amazonaws.com": (
        "scheduler:CreateSchedule",
        lambda client, name, role: client("scheduler").create_schedule(
            Name=name,
            ScheduleExpression="rate(1 hour)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": QUEUE, "RoleArn": role},
        ),
    ),
    "events.amazonaws.com": (
        "events:PutTargets",
        lambda client, name, role: client("events").put_targets(
            Rule="anything", Targets=[{"Id": "1", "Arn": QUEUE}, {"Id": "2", "Arn": QUEUE, "RoleArn": role}]
        ),
    ),
    "glue.amazonaws.com": (
        "glue:CreateJob",
        lambda client, name, role: client("glue").create_job(
            Name=name,
            Role=role.rsplit("/", 1)[-1],  # Glue takes a name as well
            Command={"Name": "pythonshell", "ScriptLocation": "s3://bucket/script.py", "PythonVersion": "3.9"},
        ),
    ),
    "sagemaker.amazonaws.com": (
        "sagemaker:CreateTrainingJob",
        lambda client, name, role: client("sagemaker").create_training_job(
            TrainingJobName=name, RoleArn=role, **TRAINING
        ),
    ),
}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    account = Account(cloud)
    account.events.put_rule(Name="anything", EventPattern=json.dumps({"source": ["never"]}))
    return account


def caller(account: Account, *statements: dict[str, Any]) -> Callable[[str], Any]:
    """Clients of a user who may do this."""
    user = f"user-{uuid4().hex[:8]}"
    account.iam.create_user(UserName=user)
    account.iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps({"Statement": statements}))
    key = account.iam.create_access_key(UserName=user)["AccessKey"]
    return lambda service: account.cloud.client(
        service, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )


def passing(role: str, service: str) -> dict[str, Any]:
    condition = {"StringEquals": {"iam:PassedToService": service}}
    return {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role, "Condition": condition}


def outcome(account: Account, service: str, statement: dict[str, Any] | None, role: str) -> str:
    """The message of the denial; empty when the call was let through, whatever the service then made of it."""
    action, call = CALLS[service]
    statements = [{"Effect": "Allow", "Action": action, "Resource": "*"}, *([statement] if statement else [])]
    try:
        call(caller(account, *statements), f"passed-{uuid4().hex[:8]}", role)
    except ClientError as error:
        denied = error.response["Error"]
        return denied["Message"] if denied["Code"].startswith("AccessDenied") else ""
    return ""


@pytest.mark.parametrize("service", CALLS)
def test_a_role_is_passed_by_permission_and_to_the_service_it_is_for(account: Account, service: str) -> None:
    role = account.role(service)

    denied = outcome(account, service, None, role)

    assert f"is not authorized to perform: iam:PassRole on resource: {role}" in denied
    assert "no identity-based policy allows the iam:PassRole action" in denied
    assert outcome(account, service, passing(role, service), role) == ""
    assert "iam:PassRole" in outcome(account, service, passing(role, "ec2.amazonaws.com"), role)
    assert "iam:PassRole" in outcome(account, service, passing(f"{role}-other", service), role)


def test_the_action_is_asked_first(account: Account) -> None:
    role = account.role("lambda.amazonaws.com")
    client = caller(account, passing(role, "lambda.amazonaws.com"))

    with pytest.raises(ClientError, match="is not authorized to perform: lambda:CreateFunction"):
        CALLS["lambda.amazonaws.com"][1](client, "f", role)


def test_root_passes_every_role(account: Account) -> None:
    _, call = CALLS["states.amazonaws.com"]

    assert call(account.client, f"by-root-{uuid4().hex[:8]}", account.role("states.amazonaws.com"))["stateMachineArn"]


@pytest.mark.without("T4")
def test_without_the_repair_anyone_passes_any_role(bare: Account) -> None:
    assert outcome(bare, "lambda.amazonaws.com", None, bare.role("lambda.amazonaws.com")) == ""
