"""Least privilege as the template has it: few wildcard resources, no role for the taking; more rules in rules.py."""

import json
from typing import Any

import pytest

from tests.statemachine.definitions import MACHINES, function_of, integration, load, pascal, tasks
from tests.template.reading import Grant, as_list, deployed, functions, grants, reference, resources, template

# (holder, action) -> why AWS lets nobody say which resource.
NO_RESOURCE_LEVEL = {
    "logs:CreateLogDelivery": "log delivery is an account's, not a log group's",
    "logs:GetLogDelivery": "log delivery is an account's, not a log group's",
    "logs:UpdateLogDelivery": "log delivery is an account's, not a log group's",
    "logs:DeleteLogDelivery": "log delivery is an account's, not a log group's",
    "logs:ListLogDeliveries": "log delivery is an account's, not a log group's",
    "logs:PutResourcePolicy": "the policy is the account's",
    "logs:DescribeResourcePolicies": "the policy is the account's",
    "logs:DescribeLogGroups": "Step Functions asks for all before it delivers",
    "cloudwatch:GetMetricData": "metrics are no resources",
    "cloudwatch:PutMetricData": "metrics are no resources; a condition bounds the namespace",
    "ecr:GetAuthorizationToken": "the token is the registry's",
    "application-autoscaling:DescribeScalableTargets": "descriptions are of the account",
    "sagemaker:ListTrainingJobs": "a list is of all jobs",
    "sagemaker:ListTransformJobs": "a list is of all jobs",
    "sagemaker:ListEndpoints": "lists are of the account",
    "sagemaker:ListEndpointConfigs": "lists are of the account",
    "sagemaker:ListModels": "lists are of the account",
    "cloudwatch:DescribeAlarms": "a prefix of names is no resource",
    "states:SendTaskSuccess": "a task token names no resource",
    "states:SendTaskFailure": "a task token names no resource",
}
STATEMENTS = list(grants())
ALLOWED = [grant for grant in STATEMENTS if grant.statement["Effect"] == "Allow"]
IDS = [f"{grant.holder}-{grant.statement.get('Sid', 'trust')}" for grant in ALLOWED]


@pytest.mark.parametrize("grant", ALLOWED, ids=IDS)
def test_every_resource_only_where_aws_offers_no_other(grant: Grant) -> None:
    if "*" in as_list(grant.statement.get("Resource", [])):
        for action in as_list(grant.statement["Action"]):
            assert action in NO_RESOURCE_LEVEL, f"{grant.holder}: name the resource of {action}"
        if "cloudwatch:PutMetricData" in as_list(grant.statement["Action"]):
            assert "cloudwatch:namespace" in json.dumps(grant.statement["Condition"])


@pytest.mark.parametrize("grant", ALLOWED, ids=IDS)
def test_objects_are_granted_below_a_prefix(grant: Grant) -> None:
    actions = as_list(grant.statement["Action"])
    if any(action.endswith("Object") or action.endswith("ObjectVersion") for action in actions):
        for resource in as_list(grant.statement["Resource"]):
            path = resource["Fn::Sub"]
            assert path.endswith("/*")
            assert "Arn}/" in path or "DeploymentBucket" in path
            assert path.count("/") >= 2 or "DeploymentBucket" in path, f"{grant.holder}: grant a prefix, not a bucket"


@pytest.mark.parametrize("grant", ALLOWED, ids=IDS)
def test_a_statement_says_why_it_is_there(grant: Grant) -> None:
    if "Principal" not in grant.statement:
        assert grant.statement.get("Sid"), f"{grant.holder}: name the statement of {grant.statement['Action']}"


def test_a_role_is_passed_only_to_the_service_it_is_for() -> None:
    passing = [grant for grant in ALLOWED if "iam:PassRole" in as_list(grant.statement["Action"])]
    assert passing
    for grant in passing:
        assert reference(grant.statement["Resource"]) in resources("AWS::IAM::Role")
        role = str(reference(grant.statement["Resource"]))
        service = {"TrainingRole": "sagemaker.amazonaws.com", "SchedulerRole": "scheduler.amazonaws.com"}[role]
        assert grant.statement["Condition"] == {"StringEquals": {"iam:PassedToService": service}}


TRUSTING = [grant for grant in ALLOWED if "Principal" in grant.statement]


@pytest.mark.parametrize("grant", TRUSTING, ids=[grant.holder for grant in TRUSTING])
def test_a_service_is_trusted_only_on_behalf_of_this_account(grant: Grant) -> None:
    assert list(grant.statement["Principal"]) == ["Service"]
    if grant.statement["Principal"]["Service"] == "glue.amazonaws.com":
        assert "Condition" not in grant.statement, "Glue sends no aws:SourceAccount: the job could not start"
        return
    assert grant.statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_every_function_has_a_role_of_its_own() -> None:
    roles = [reference(function["Role"]) for function in resources("AWS::Lambda::Function", deployed()).values()]
    assert len(set(roles)) == len(roles) == len(functions())


def test_managed_policies_are_only_those_that_sam_adds_for_logs_and_traces() -> None:
    attached = {
        json.dumps(arn).rsplit("/", 1)[-1].rstrip('"}')
        for role in resources("AWS::IAM::Role", deployed()).values()
        for arn in role.get("ManagedPolicyArns", ())
    }
    assert attached == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"}
    assert "ManagedPolicyArns" not in json.dumps(template())


# What a Task needs beside its own call: https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
SYNC = {
    "glue:startJobRun.sync": {"glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"},
    "sagemaker:createTrainingJob.sync": {
        "sagemaker:CreateTrainingJob",
        "sagemaker:DescribeTrainingJob",
        "sagemaker:StopTrainingJob",
        "sagemaker:AddTags",
        "sagemaker:ListTags",
        "events:PutTargets",
        "events:PutRule",
        "events:DescribeRule",
        "iam:PassRole",
    },
    "sagemaker:createTransformJob.sync": {
        "sagemaker:CreateTransformJob",
        "sagemaker:DescribeTransformJob",
        "sagemaker:StopTransformJob",
        "sagemaker:AddTags",
        "sagemaker:ListTags",
        "events:PutTargets",
        "events:PutRule",
        "events:DescribeRule",
    },
    "sagemaker:createModel": {"sagemaker:CreateModel", "sagemaker:AddTags", "iam:PassRole"},
    "aws-sdk:sagemaker:describeModel": {"sagemaker:DescribeModel"},
    "aws-sdk:sagemaker:deleteEndpoint": {"sagemaker:DeleteEndpoint"},
    "aws-sdk:sagemaker:createModelPackage": {"sagemaker:CreateModelPackage"},
    "events:putEvents": {"events:PutEvents"},
    "states:startExecution": {"states:StartExecution"},
    "sqs:sendMessage": {"sqs:SendMessage"},
}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_workflow_may_do_what_its_states_do_and_nothing_else(machine: str) -> None:
    holder = f"{pascal(machine)}StateMachine"
    needed: set[str] = set()
    invoked: set[str | None] = set()
    for place in tasks(load(machine)):
        if function := function_of(place.state):
            needed.add("lambda:InvokeFunction")
            invoked.add(function)
        else:
            needed |= SYNC[integration(place.state)]
    statements = [grant.statement for grant in ALLOWED if grant.holder == holder]
    granted = {action for statement in statements for action in as_list(statement["Action"])}
    assert {action for action in granted if not action.startswith("logs:")} == needed
    assert {reference(arn) for arn in _resources_of("lambda:InvokeFunction", statements)} == invoked


def _resources_of(action: str, statements: list[dict[str, Any]]) -> list[Any]:
    return [
        resource
        for statement in statements
        if action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]
