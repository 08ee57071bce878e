"""T10, T13, T36: what is refused or applied when a stack or a machine is made."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from tests.integration.cloud.account import ALLOW_ALL, RUNTIME, Account, until

PASS = {"Type": "Pass", "End": True}
TASK = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sqs:listQueues"}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def machine(start: str = "A", **states: Mapping[str, Any]) -> dict[str, Any]:
    return {"StartAt": start, "States": states}


REFUSED = {
    "start": (machine("B", A=PASS), "MISSING_TRANSITION_TARGET: Missing 'StartAt' target: B at /StartAt"),
    "next": (machine(A={"Type": "Pass", "Next": "B"}), "Missing 'Next' target: B at /States/A/Next"),
    "catch": (
        machine(A={**TASK, "End": True, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}]}),
        "Missing 'Next' target: B at /States/A/Catch[0]/Next",
    ),
    "choice": (
        machine(A={"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "B"}]}),
        "Missing 'Next' target: B at /States/A/Choices[0]/Next",
    ),
    "unreachable": (machine(A=PASS, B=PASS), 'State "B" is not reachable. at /States/B'),
    "no end": (machine(A={"Type": "Pass"}), "[Next, End] at /States/A"),
    "type": (machine(A={"Type": "Task?"}), "at /States/A/Type"),
    "field": (machine(A={**PASS, "Retry": []}), "Field 'Retry' is not supported at /States/A/Retry"),
    "placeholder": (
        machine(A={"Type": "Task", "Resource": "${Forgotten}", "End": True}),
        "Value is not a valid resource ARN: ${Forgotten} at /States/A/Resource",
    ),
    "template": (
        machine(A={**PASS, "Parameters": {"a": [{"b.$": "c"}]}}),
        "The value for the field 'b.$' must be a valid JSONPath or a valid intrinsic function call",
    ),
    "all": (
        machine(A={**TASK, "End": True, "Retry": [{"ErrorEquals": ["States.ALL", "E"]}]}),
        "States.ALL must appear alone",
    ),
    "branch": (
        machine(A={"Type": "Parallel", "Branches": [machine(B={"Type": "Pass", "Next": "C"})], "End": True}),
        "Missing 'Next' target: C at /States/A/Branches[0]/States/B/Next",
    ),
    "map": (
        machine(A={"Type": "Map", "ItemProcessor": machine(B={"Type": "Pass", "Next": "C"}), "End": True}),
        "Missing 'Next' target: C at /States/A/ItemProcessor/States/B/Next",
    ),
}
EACH = {"Type": "Map", "ItemProcessor": machine("B", B=PASS), "End": True}
APART = {**EACH, "ItemProcessor": {**machine("B", B=PASS), "ProcessorConfig": {"Mode": "DISTRIBUTED"}}}
READER = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "MANIFEST"}}
IGNORED = "The embedded cloud would ignore the field '{}', which AWS acts upon at /States/A/{}"
SILENT = {
    "batches": (machine(A={**APART, "ItemBatcher": {"MaxItemsPerBatch": 2}}), IGNORED.replace("{}", "ItemBatcher")),
    "results": (machine(A={**APART, "ResultWriter": {"Resource": "x"}}), IGNORED.replace("{}", "ResultWriter")),
    "tolerance": (
        machine(A={**APART, "ToleratedFailureCountPath": "$.n"}),
        IGNORED.replace("{}", "ToleratedFailureCountPath"),
    ),
    "concurrency": (machine(A={**EACH, "MaxConcurrencyPath": "$.n"}), IGNORED.replace("{}", "MaxConcurrencyPath")),
    "credentials": (
        machine(A={**TASK, "Credentials": {"RoleArn": "arn:aws:iam::1:role/r"}, "End": True}),
        IGNORED.replace("{}", "Credentials"),
    ),
    "assign": (machine(A={**PASS, "Assign": {"a": 1}}), IGNORED.replace("{}", "Assign")),
    "parallel in JSONata": (
        machine(
            A={
                "Type": "Parallel",
                "QueryLanguage": "JSONata",
                "Branches": [machine("B", B=PASS)],
                "Output": "{% 1 %}",
                "End": True,
            }
        ),
        IGNORED.replace("{}", "Output"),
    ),
    "inline reader": (machine(A={**EACH, "ItemReader": READER}), "Field 'ItemReader' is not supported in inline Maps"),
    "reader": (machine(A={**APART, "ItemReader": READER}), "not MANIFEST by arn:aws:states:::s3:getObject"),
    "language": (
        machine(A={**PASS, "QueryLanguage": "JSONata", "Parameters": {}}),
        "Field 'Parameters' is not supported in JSONata states",
    ),
    "other language": (machine(A={**PASS, "Output": 1}), "Field 'Output' is not supported in JSONPath states"),
    "comparison": (
        machine(
            A={"Type": "Choice", "Choices": [{"Not": {"Variable": "$.a", "StringEqual": "b"}, "Next": "B"}]}, B=PASS
        ),
        "A rule needs a Variable and one comparison, but has ['StringEqual', 'Variable'] at "
        "/States/A/Choices[0]/Not[0]",
    ),
    "escape": (
        machine(A={"Type": "Choice", "Choices": [{"Variable": "$.a", "StringMatches": "a\\*b", "Next": "B"}]}, B=PASS),
        "The embedded cloud knows no escapes in StringMatches at /States/A/Choices[0]/StringMatches",
    ),
    "element": (machine(A={**PASS, "ResultPath": "$.a[0]"}), "sets no elements of arrays by ResultPath"),
    "condition": (
        machine(A={"Type": "Choice", "QueryLanguage": "JSONata", "Choices": [{"Next": "B"}]}, B=PASS),
        "The field 'Condition' is required but was missing",
    ),
    "wait": (machine(A={"Type": "Wait", "End": True}), "Exactly one of"),
    "heartbeat": (
        machine(A={**TASK, "TimeoutSeconds": 5, "HeartbeatSeconds": 5, "End": True}),
        "HeartbeatSeconds must be smaller than TimeoutSeconds",
    ),
    "branches": (machine(A={"Type": "Parallel", "Branches": [], "End": True}), "The field 'Branches' should have"),
    "processor": (machine(A={"Type": "Map", "End": True}), "The field 'ItemProcessor' is required"),
}
WAITING = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"


@pytest.mark.parametrize("name", [*REFUSED, *SILENT])
def test_a_definition_that_cannot_run_is_refused(account: Account, name: str) -> None:
    definition, reason = {**REFUSED, **SILENT}[name]

    with pytest.raises(ClientError) as refused:
        account.machine(definition)

    error = refused.value.response["Error"]
    assert error["Code"] == "InvalidDefinition"
    assert error["Message"].startswith("Invalid State Machine Definition: '")
    assert reason in error["Message"]


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({"Type": "Task", "Resource": WAITING, "End": True}, f"does not support '{WAITING}' service integration"),
        (APART, "Express state machine does not support Distributed Map"),
    ],
)
def test_an_express_machine_waits_for_nothing(account: Account, states: dict[str, Any], reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        account.machine(machine(A=states), kind="EXPRESS")
    properties = {
        "RoleArn": account.role("states.amazonaws.com", ALLOW_ALL),
        "DefinitionString": json.dumps(machine(A=states)),
        "StateMachineType": "EXPRESS",
    }
    assert (
        reason in stack(account, Machine={"Type": "AWS::StepFunctions::StateMachine", "Properties": properties})[1][0]
    )


def test_text_that_is_no_json(account: Account) -> None:
    with pytest.raises(ClientError, match="INVALID_JSON_DESCRIPTION"):
        account.states.create_state_machine(
            name="text", definition="{", roleArn=account.role("states.amazonaws.com", ALLOW_ALL)
        )


def test_an_update_is_refused_too_and_changes_nothing(account: Account) -> None:
    arn = account.machine(machine(A=PASS))

    with pytest.raises(ClientError, match="Missing 'Next' target"):
        account.states.update_state_machine(stateMachineArn=arn, definition=json.dumps(REFUSED["next"][0]))

    found = account.states.describe_state_machine(stateMachineArn=arn)["definition"]
    assert json.loads(found) == machine(A=PASS)


def test_the_definition_can_be_validated_without_making_it(account: Account) -> None:
    validate = account.states.validate_state_machine_definition

    assert validate(definition=json.dumps(machine(A=PASS)))["result"] == "OK"
    found = validate(definition=json.dumps(REFUSED["next"][0]))
    assert found["result"] == "FAIL"
    assert found["diagnostics"][0]["location"] == "/States/A/Next"


def stack(account: Account, **resources: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A new stack's final status, and the reasons of what failed."""
    name, cloudformation = f"stack-{uuid4().hex[:12]}", account.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    return settle(cloudformation, name)


def settle(cloudformation: Any, name: str) -> tuple[str, list[str]]:
    def status() -> str:
        found = str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
        return "" if found.endswith("IN_PROGRESS") else found

    ended = until(status)
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return ended, [event["ResourceStatusReason"] for event in events if event["ResourceStatus"].endswith("E_FAILED")]


def test_a_stack_with_such_a_definition_rolls_back(account: Account) -> None:
    properties = {
        "RoleArn": account.role("states.amazonaws.com", ALLOW_ALL),
        "DefinitionString": json.dumps(REFUSED["placeholder"][0]),
        "DefinitionSubstitutions": {"Other": "arn:aws:lambda:us-east-1:000000000000:function:f"},
    }

    status, reasons = stack(account, Machine={"Type": "AWS::StepFunctions::StateMachine", "Properties": properties})

    assert status == "ROLLBACK_COMPLETE"
    assert any("Value is not a valid resource ARN: ${Forgotten}" in reason for reason in reasons)


def table(name: str, **more: Any) -> dict[str, Any]:
    properties = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
    }
    return {"Type": "AWS::DynamoDB::Table", "Properties": {**properties, **more}}


def test_a_tables_time_to_live_and_backups(account: Account) -> None:
    name = f"table-{uuid4().hex[:8]}"
    status, _ = stack(
        account,
        Table=table(
            name,
            TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True},
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        ),
    )

    dynamodb = account.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert status == "CREATE_COMPLETE"
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_functions_reserved_concurrency(account: Account) -> None:
    name = f"function-{uuid4().hex[:8]}"
    properties = {
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Handler": "index.handler",
        "Role": account.role("lambda.amazonaws.com"),
        "Code": {"ZipFile": "def handler(event, context): return 1"},
    }
    template = {"Type": "AWS::Lambda::Function", "Properties": {**properties, "ReservedConcurrentExecutions": 2}}
    status, _ = stack(account, Function=template)

    assert status == "CREATE_COMPLETE"
    assert account.functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 2


@pytest.mark.without("T10", "T13", "T36")
def test_without_the_repairs(bare: Account) -> None:
    assert bare.machine(REFUSED["next"][0])
    assert bare.run(SILENT["batches"][0], [1, 2, 3])["output"] == [1, 2, 3]  # three items, no batches
    stack(bare, Table=table("t", TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True}))
    ttl = bare.client("dynamodb").describe_time_to_live(TableName="t")["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "DISABLED"
