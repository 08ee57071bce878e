"""T2, T4: a state machine does only what its role may do, and fails with the error AWS would give."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from tests.integration.cloud.account import ALLOW_ALL, Account, allow

STATES = "states.amazonaws.com"
HELLO = "def handler(event, context):\n    return event\n"
PASS = {"Type": "Pass", "End": True}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


@pytest.fixture(scope="module")
def function(account: Account) -> str:
    return account.function(HELLO)


@pytest.fixture(scope="module")
def table(account: Account) -> str:
    account.client("dynamodb").create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return "ledger"


def task(resource: str, **parameters: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}


def refusal(action: str, resource: str) -> str:
    reason = f"because no identity-based policy allows the {action} action"
    return f" is not authorized to perform: {action} on resource: {resource} {reason}"


def assert_refused(ended: dict[str, Any], error: str, action: str, resource: str) -> None:
    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert ended["cause"].startswith("User: arn:aws:sts::000000000000:assumed-role/")
    assert ended["cause"].endswith(refusal(action, resource))


@pytest.mark.parametrize("suffix", ["", ".waitForTaskToken"])
def test_invoking_a_function_needs_permission(account: Account, function: str, suffix: str) -> None:
    state = task(f"arn:aws:states:::lambda:invoke{suffix}", FunctionName=function, Payload={"a": 1})
    if not suffix:
        may = account.role(STATES, allow("lambda:InvokeFunction", function))
        assert account.run_states({}, may, Start=state)["output"]["Payload"] == {"a": 1}

    ended = account.run_states({}, account.role(STATES), Start=state)

    assert_refused(ended, "Lambda.AWSLambdaException", "lambda:InvokeFunction", function)


def test_a_function_named_by_its_arn_alone(account: Account, function: str) -> None:
    ended = account.run_states({}, account.role(STATES), Start=task(function))

    assert_refused(ended, "Lambda.AWSLambdaException", "lambda:InvokeFunction", function)


def test_another_functions_permission_does_not_help(account: Account, function: str) -> None:
    role = account.role(STATES, allow("lambda:InvokeFunction", account.function(HELLO)))
    state = task("arn:aws:states:::lambda:invoke", FunctionName=function.rsplit(":", 1)[-1])

    assert_refused(
        account.run_states({}, role, Start=state), "Lambda.AWSLambdaException", "lambda:InvokeFunction", function
    )


def test_a_denied_task_can_be_caught(account: Account, function: str) -> None:
    state = {**task(function), "Catch": [{"ErrorEquals": ["Lambda.AWSLambdaException"], "Next": "Caught"}]}

    assert account.run_states({}, account.role(STATES), Start=state, Caught=PASS)["status"] == "SUCCEEDED"


def test_dynamodb(account: Account, table: str) -> None:
    arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}"
    state = task("arn:aws:states:::dynamodb:putItem", TableName=table, Item={"id": {"S": "1"}})

    assert (
        account.run_states({}, account.role(STATES, allow("dynamodb:PutItem", arn)), Start=state)["status"]
        == "SUCCEEDED"
    )
    ended = account.run_states({}, account.role(STATES, allow("dynamodb:GetItem", arn)), Start=state)

    assert_refused(ended, "DynamoDB.AmazonDynamoDBException", "dynamodb:PutItem", arn)


def test_sqs(account: Account) -> None:
    url, arn = account.queue()
    state = task("arn:aws:states:::sqs:sendMessage", QueueUrl=url, MessageBody="m")

    assert (
        account.run_states({}, account.role(STATES, allow("sqs:SendMessage", arn)), Start=state)["status"]
        == "SUCCEEDED"
    )
    assert_refused(
        account.run_states({}, account.role(STATES), Start=state), "SQS.AmazonSQSException", "sqs:SendMessage", arn
    )


def test_sns(account: Account) -> None:
    arn = account.client("sns").create_topic(Name="topic")["TopicArn"]
    state = task("arn:aws:states:::sns:publish", TopicArn=arn, Message="m")

    assert account.run_states({}, account.role(STATES, allow("sns:Publish", arn)), Start=state)["status"] == "SUCCEEDED"


def test_sns_without_a_policy_of_the_topic_that_lets_the_account_in(account: Account) -> None:
    sns = account.client("sns")
    arn = sns.create_topic(Name="closed")["TopicArn"]
    nobody = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sns:Publish", "Resource": arn}
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps({"Statement": [nobody]}))

    ended = account.run_states(
        {}, account.role(STATES), Start=task("arn:aws:states:::sns:publish", TopicArn=arn, Message="m")
    )

    assert_refused(ended, "SNS.AuthorizationErrorException", "sns:Publish", arn)


def test_events(account: Account) -> None:
    arn = "arn:aws:events:us-east-1:000000000000:event-bus/default"
    state = task("arn:aws:states:::events:putEvents", Entries=[{"Source": "s", "DetailType": "t", "Detail": {}}])
    state["Parameters"]["Entries"][0]["Detail"] = "{}"

    assert (
        account.run_states({}, account.role(STATES, allow("events:PutEvents", arn)), Start=state)["status"]
        == "SUCCEEDED"
    )
    ended = account.run_states({}, account.role(STATES), Start=state)

    assert_refused(ended, "EventBridge.AmazonEventBridgeException", "events:PutEvents", arn)


def test_start_execution(account: Account) -> None:
    child = account.machine({"StartAt": "A", "States": {"A": PASS}})
    state = task("arn:aws:states:::states:startExecution", StateMachineArn=child, Input={})

    assert (
        account.run_states({}, account.role(STATES, allow("states:StartExecution", child)), Start=state)["status"]
        == "SUCCEEDED"
    )
    ended = account.run_states({}, account.role(STATES), Start=state)

    assert_refused(ended, "StepFunctions.AWSStepFunctionsException", "states:StartExecution", child)


@pytest.mark.parametrize(
    ("resource", "parameters", "error", "action", "arn"),
    [
        ("s3:getBucketVersioning", {"Bucket": "b"}, "S3.S3Exception", "s3:GetBucketVersioning", "arn:aws:s3:::b"),
        (
            "dynamodb:query",
            {"TableName": "t"},
            "DynamoDb.DynamoDbException",
            "dynamodb:Query",
            "arn:aws:dynamodb:us-east-1:000000000000:table/t",
        ),
        ("glue:getJobs", {}, "Glue.AccessDeniedException", "glue:GetJobs", "*"),
        (
            "sfn:startExecution",
            {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:m"},
            "Sfn.SfnException",
            "states:StartExecution",
            "arn:aws:states:us-east-1:000000000000:stateMachine:m",
        ),
    ],
)
def test_sdk_integrations(
    account: Account, resource: str, parameters: dict[str, Any], error: str, action: str, arn: str
) -> None:
    state = task(f"arn:aws:states:::aws-sdk:{resource}", **parameters)

    assert_refused(account.run_states({}, account.role(STATES), Start=state), error, action, arn)


def test_an_sdk_integration_with_permission(account: Account) -> None:
    role = account.role(STATES, allow("sqs:ListQueues"))

    assert account.run_states({}, role, Start=task("arn:aws:states:::aws-sdk:sqs:listQueues"))["status"] == "SUCCEEDED"


def test_branches_act_as_the_role_too(account: Account, function: str) -> None:
    branch = {"StartAt": "Inside", "States": {"Inside": task(function)}}
    parallel = {"Type": "Parallel", "Branches": [branch], "End": True}

    assert account.run_states({}, account.role(STATES), Start=parallel)["error"] == "Lambda.AWSLambdaException"


def test_a_role_that_step_functions_may_not_assume(account: Account) -> None:
    role = account.role("lambda.amazonaws.com", ALLOW_ALL)

    with pytest.raises(ClientError, match=r"Neither the global service principal states\.amazonaws\.com") as refused:
        account.machine({"StartAt": "A", "States": {"A": PASS}}, role)

    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_trust_withdrawn_after_the_machine_was_made(account: Account) -> None:
    role = account.role(STATES, ALLOW_ALL)
    machine = account.machine({"StartAt": "A", "States": {"A": PASS}}, role)
    nobody = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    account.iam.update_assume_role_policy(
        RoleName=role.rsplit("/", 1)[-1], PolicyDocument=json.dumps({"Statement": [nobody]})
    )

    execution = account.start(machine)
    ended = account.end(execution)

    assert ended["status"] == "FAILED"
    assert "not authorized to assume" in ended["cause"]


def test_trust_in_machines_of_one_name_only(account: Account) -> None:
    name = f"role-{account.cloud.settings.port}"
    source = {"ArnLike": {"aws:SourceArn": "arn:aws:states:us-east-1:000000000000:stateMachine:chosen*"}}
    trust = {"Effect": "Allow", "Principal": {"Service": STATES}, "Action": "sts:AssumeRole", "Condition": source}
    role = account.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"][
        "Arn"
    ]
    definition = json.dumps({"StartAt": "A", "States": {"A": PASS}})

    account.states.create_state_machine(name="chosen-one", definition=definition, roleArn=role)

    with pytest.raises(ClientError, match="Neither the global service principal"):
        account.states.create_state_machine(name="another", definition=definition, roleArn=role)


def test_waiting_for_an_execution_needs_a_managed_rule(account: Account) -> None:
    child = account.machine({"StartAt": "A", "States": {"A": PASS}})
    state = task("arn:aws:states:::states:startExecution.sync:2", StateMachineArn=child, Input={})
    start = allow("states:*")
    rule = "arn:aws:events:us-east-1:000000000000:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"
    managed = allow(["events:PutTargets", "events:PutRule", "events:DescribeRule"], rule)

    assert account.run_states({}, account.role(STATES, start, managed), Start=state)["status"] == "SUCCEEDED"
    with pytest.raises(ClientError, match="is not authorized to create managed-rule"):
        account.run_states({}, account.role(STATES, start), Start=state)


def test_after_a_nested_execution_the_parents_role_counts_again(account: Account, function: str) -> None:
    child = account.machine({"StartAt": "A", "States": {"A": PASS}})
    managed = allow(["states:*", "events:*"])
    nested = task("arn:aws:states:::states:startExecution.sync:2", StateMachineArn=child, Input={})
    nested = {**nested, "Next": "Then"}
    del nested["End"]

    ended = account.run_states({}, account.role(STATES, managed), First=nested, Then=task(function))

    assert_refused(ended, "Lambda.AWSLambdaException", "lambda:InvokeFunction", function)


@pytest.mark.without("T2")
def test_without_the_repair_a_role_may_do_anything(bare: Account) -> None:
    state = task("arn:aws:states:::lambda:invoke", FunctionName=bare.function(HELLO))

    assert bare.run_states({}, bare.role(STATES), Start=state)["status"] == "SUCCEEDED"
