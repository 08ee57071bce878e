"""Faults from a script: each kind, through each door, in the service's own words, and only what it is aimed at."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from local.cloud.faults import Fault, FaultScriptError, Kind, Script, injected, strikes
from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import Account, until

ONCE = Config(retries={"total_max_attempts": 1})
ECHO = "def handler(event, context):\n    return event\n"
SLOW_ECHO = (
    "import time\ndef handler(event, context):\n    time.sleep(1)\n    return event\n"  # a kill comes before its end
)
WRITER = """
import tempfile
def handler(event, context):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * 100_000)
        file.flush()
    return "written"
"""


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def fault(kind: Kind, call: str, **more: Any) -> Fault:
    """A fault with a name that no other has."""
    return Fault(name=f"fault-{uuid4().hex[:12]}", kind=kind, call=call, **more)


def table(account: Account) -> str:
    name = f"table-{uuid4().hex[:12]}"
    account.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {  # action → client, operation, parameters
    "dynamodb:ListTables": ("dynamodb", "list_tables", {}),
    "s3:ListAllMyBuckets": ("s3", "list_buckets", {}),
    "sqs:ListQueues": ("sqs", "list_queues", {}),
    "sns:ListTopics": ("sns", "list_topics", {}),
    "lambda:ListFunctions": ("lambda", "list_functions", {}),
    "states:ListStateMachines": ("stepfunctions", "list_state_machines", {}),
    "sagemaker:ListTrainingJobs": ("sagemaker", "list_training_jobs", {}),
    "glue:GetJobs": ("glue", "get_jobs", {}),
    "events:ListRules": ("events", "list_rules", {}),
    "scheduler:ListSchedules": ("scheduler", "list_schedules", {}),
    "kms:ListKeys": ("kms", "list_keys", {}),
    "cloudwatch:DescribeAlarms": ("cloudwatch", "describe_alarms", {}),
    "logs:DescribeLogGroups": ("logs", "describe_log_groups", {}),
    "iam:ListRoles": ("iam", "list_roles", {}),
}
WORDS = {
    ("dynamodb", Kind.THROTTLE): "ProvisionedThroughputExceededException",
    ("lambda", Kind.THROTTLE): "TooManyRequestsException",
    ("s3", Kind.THROTTLE): "SlowDown",
    ("sagemaker", Kind.THROTTLE): "ThrottlingException",
    ("dynamodb", Kind.ERROR): "InternalServerError",
    ("lambda", Kind.ERROR): "ServiceException",
    ("s3", Kind.ERROR): "InternalError",
    ("dynamodb", Kind.DENIED): "AccessDeniedException",
    ("s3", Kind.DENIED): "AccessDenied",
}


def call(account: Account, action: str) -> Any:
    service, operation, parameters = CALLS[action]
    return getattr(account.cloud.client(service, config=ONCE), operation)(**parameters)


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize("kind", [Kind.THROTTLE, Kind.ERROR, Kind.DENIED])
def test_each_service_says_it_in_its_own_words(account: Account, action: str, kind: Kind) -> None:
    struck = fault(kind, action)
    with injected(account.cloud.settings, struck):
        with pytest.raises(ClientError) as failed:
            call(account, action)
        call(account, action)  # once only
    error, answer = failed.value.response["Error"], failed.value.response["ResponseMetadata"]
    assert error["Code"] not in ("", "Unknown", str(answer["HTTPStatusCode"])), "botocore could not read it"
    service = CALLS[action][0]
    assert error["Code"] == WORDS.get((service, kind), error["Code"])
    assert (answer["HTTPStatusCode"] >= 500) is (kind is Kind.ERROR or error["Code"] == "SlowDown")
    assert [strike.number for strike in strikes(account.cloud.settings, struck.name)] == [1]


def test_a_lost_answer_is_of_a_call_that_was_made_and_a_timeout_of_one_that_was_not(account: Account) -> None:
    for kind, made in ((Kind.LOST, True), (Kind.TIMEOUT, False)):
        sqs, name = account.cloud.client("sqs", config=ONCE), f"queue-{uuid4().hex[:12]}"
        with (
            injected(account.cloud.settings, fault(kind, "sqs:CreateQueue", contains=(name,))),
            pytest.raises(ConnectionClosedError),
        ):
            sqs.create_queue(QueueName=name)
        assert bool(sqs.list_queues(QueueNamePrefix=name).get("QueueUrls")) is made


def test_an_sdk_tries_again_and_never_notices(account: Account) -> None:
    struck = fault(Kind.LOST, "dynamodb:ListTables", times=2)
    with injected(account.cloud.settings, struck):
        account.client("dynamodb").list_tables()
    assert len(strikes(account.cloud.settings, struck.name)) == 2


def test_slow_is_slow(account: Account) -> None:
    impatient = Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    sqs = account.cloud.client("sqs", config=impatient)
    with (
        injected(account.cloud.settings, fault(Kind.SLOW, "sqs:ListQueues", seconds=1)),
        pytest.raises(Exception, match=r"[Rr]ead timeout"),
    ):
        sqs.list_queues()
    sqs.list_queues()


def test_it_is_aimed_by_number_and_content(account: Account) -> None:
    aimed, other = table(account), table(account)
    dynamodb = account.cloud.client("dynamodb", config=ONCE)
    with injected(account.cloud.settings, fault(Kind.ERROR, "dynamodb:*", contains=(aimed, "key-"), first=2, times=2)):
        outcomes = []
        for number in range(5):
            dynamodb.get_item(TableName=other, Key={"id": {"S": f"key-{number}"}})
            try:
                dynamodb.get_item(TableName=aimed, Key={"id": {"S": f"key-{number}"}})
                outcomes.append(True)
            except ClientError:
                outcomes.append(False)
    assert outcomes == [True, False, False, True, True]


def test_it_is_aimed_by_the_callers_role(account: Account) -> None:
    source = (
        "import boto3\ndef handler(event, context):\n    return len(boto3.client('sqs').list_queues(MaxResults=1))\n"
    )
    function = account.function(source, Timeout=20)
    role = account.functions.get_function(FunctionName=function)["Configuration"]["Role"].rpartition("/")[2]
    with injected(account.cloud.settings, fault(Kind.DENIED, "sqs:ListQueues", caller=role, times=9)):
        account.sqs.list_queues()
        answer = account.invoke(function)
    assert answer["errorType"] == "ClientError"
    assert "AccessDenied" in answer["errorMessage"]


TASK_ERRORS = {
    Kind.THROTTLE: "Lambda.TooManyRequestsException",
    Kind.ERROR: "Lambda.ServiceException",
    Kind.DENIED: "Lambda.AWSLambdaException",
    Kind.LOST: "Lambda.SdkClientException",
    Kind.TIMEOUT: "States.Timeout",
    Kind.KILLED: "Runtime.ExitError",
}


@pytest.mark.parametrize("kind", TASK_ERRORS)
def test_a_task_fails_with_the_name_that_step_functions_gives_it(account: Account, kind: Kind) -> None:
    function, mark = account.function(SLOW_ECHO if kind is Kind.KILLED else ECHO), uuid4().hex
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "TimeoutSeconds": 30,
        "End": True,
    }
    aim = {} if kind is Kind.KILLED else {"state": "Ask"}
    struck = fault(kind, "lambda:InvokeFunction", contains=(mark,), **aim)
    with injected(account.cloud.settings, struck):
        ended = account.run_states({"mark": mark}, Ask=task)
        again = account.run_states({"mark": mark}, Ask=task)
    assert ended["status"] == "FAILED"
    assert ended["error"] == TASK_ERRORS[kind]
    assert again["status"] == "SUCCEEDED"


OTHER_TASKS: tuple[tuple[str, dict[str, Any], Kind, str], ...] = (  # resource, parameters, kind, error
    ("sagemaker:createModel", {"ModelName": "m"}, Kind.THROTTLE, "AmazonSageMakerException"),
    ("glue:startJobRun.sync", {"JobName": "j"}, Kind.ERROR, "InternalServiceException"),
    ("glue:startJobRun.sync", {"JobName": "j"}, Kind.THROTTLE, "AWSGlueException"),
    ("aws-sdk:sagemaker:describeModel", {"ModelName": "m"}, Kind.THROTTLE, "SageMakerException"),
    ("aws-sdk:sagemaker:describeModel", {"ModelName": "m"}, Kind.ERROR, "SageMakerException"),
    ("aws-sdk:sagemaker:describeModel", {"ModelName": "m"}, Kind.LOST, "SdkClientException"),
    ("sqs:sendMessage", {"QueueUrl": "u", "MessageBody": "b"}, Kind.DENIED, "AmazonSQSException"),
    ("events:putEvents", {"Entries": []}, Kind.ERROR, "InternalException"),
)


@pytest.mark.parametrize(("resource", "parameters", "kind", "error"), OTHER_TASKS)
def test_tasks_of_other_services(
    account: Account, resource: str, parameters: dict[str, Any], kind: Kind, error: str
) -> None:
    service, operation = resource.removeprefix("aws-sdk:").removesuffix(".sync").split(":")
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}
    with injected(
        account.cloud.settings,
        fault(kind, f"{service}:{operation[0].upper()}{operation[1:]}", state="Do", caller="role-"),
    ):
        ended = account.run_states({}, Do=task)
    assert ended["error"].partition(".")[2] == error


def test_a_duplicate_is_performed_twice(account: Account) -> None:
    source = f"test.{uuid4().hex[:8]}"
    url, arn = account.open_queue()
    account.rule({"source": [source]}, Arn=arn)
    with injected(account.cloud.settings, fault(Kind.DUPLICATE, "events:Deliver", contains=(source, '"number": 1'))):
        for number in range(2):
            account.put_event(source, {"number": number})
    bodies = []
    for _ in range(3):
        message = account.received(url)
        account.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        bodies.append('"number": 1' in message["Body"] or '"number":1' in message["Body"])
    assert sorted(bodies) == [False, True, True]
    assert account.message(url) == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit")
def test_a_full_disk_fails_what_writes_and_is_empty_again_afterwards(account: Account) -> None:
    writer, echo, mark = account.function(WRITER), account.function(ECHO), uuid4().hex
    for function, error in ((writer, "OSError"), (echo, None)):
        assert account.invoke(function) in ("written", None)  # the environment is warm
        name = function.rpartition(":")[2]
        with injected(account.cloud.settings, fault(Kind.DISK_FULL, "lambda:InvokeFunction", contains=(name, mark))):
            answer = account.invoke(function, {"mark": mark})
        assert (answer["errorType"] if error else answer) == (error or {"mark": mark})
    assert account.invoke(writer) == "written"


def test_a_wrong_script_fails_every_call_and_says_why(account: Account) -> None:
    file = account.cloud.settings.faults_file
    file.write_text("faults:\n- {name: a, kind: lightning, call: 'sqs:ListQueues'}\n")
    try:
        with pytest.raises(ClientError, match=r"faults\.0\.kind.*'throttle'.*Correct it"):
            account.cloud.client("sqs", config=ONCE).list_queues()
    finally:
        file.unlink()
    account.sqs.list_queues()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("faults: [", "neither JSON nor YAML"),
        ("faults: [{kind: slow, call: 'a:B', seconds: 1}]", "faults.0.name: Field required"),
        ("faults: [{name: a, kind: slow, call: 'a:B'}]", "slow needs seconds above 0"),
        ("faults: [{name: a, kind: slow, call: sagemaker, seconds: 1}]", "faults.0.call"),
        ("faults: [{name: a, kind: error, call: 'a:B', frist: 2}]", "faults.0.frist: Extra inputs"),
        ("faults: [{name: a, kind: killed, call: 's3:GetObject'}]", "killed strikes lambda:InvokeFunction"),
        ("faults: [{name: a, kind: throttle, call: 'events:Deliver'}]", "a delivery is duplicated"),
        ("faults: [{name: a, kind: error, call: 'a:B'}, {name: a, kind: error, call: 'a:C'}]", "a stands there twice"),
        ("faults: [{name: a, kind: error, call: 'a:B', times: 0}]", "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_with_a_script_is_said(tmp_path: Path, script: str, complaint: str) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(script)
    with pytest.raises(FaultScriptError, match=complaint):
        Script.read(file)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path))
    cloud.up()
    yield cloud
    cloud.down()


def test_the_whole_cloud_is_killed_and_a_start_turns_the_script_off(own: Cloud) -> None:
    struck = fault(Kind.CLOUD_KILLED, "sqs:ListQueues")
    with injected(own.settings, struck):
        with pytest.raises(Exception, match=r"[Cc]onnect"):
            own.client("sqs", config=ONCE).list_queues()
        until(lambda: not own.status().running)
        own.up()
        own.client("sqs").list_queues()
        assert not own.settings.faults_file.exists()
    assert [strike.kind for strike in strikes(own.settings, struck.name)] == [Kind.CLOUD_KILLED]
