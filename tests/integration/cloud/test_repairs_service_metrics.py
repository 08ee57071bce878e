"""T31, T32: queues and executions measure themselves, and alarms of a stack may calculate with what they measure."""

import json
from typing import Any

import pytest

from local.cloud.process import Cloud
from local.cloud.repairs import alarm_math
from tests.integration.cloud.account import Account, allow, until

STACK = {
    "Resources": {
        "First": {"Type": "AWS::SQS::Queue"},
        "Second": {"Type": "AWS::SQS::Queue"},
        "Letters": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "AlarmName": "letters",
                "Metrics": [
                    {"Id": "all", "Expression": "SUM(METRICS())", "ReturnData": True},
                    *(
                        {
                            "Id": queue.lower(),
                            "ReturnData": False,
                            "MetricStat": {
                                "Metric": {
                                    "Namespace": "AWS/SQS",
                                    "MetricName": "ApproximateNumberOfMessagesVisible",
                                    "Dimensions": [
                                        {"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}
                                    ],
                                },
                                "Period": 60,
                                "Stat": "Maximum",
                            },
                        }
                        for queue in ("First", "Second")
                    ),
                ],
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "notBreaching",
            },
        },
    }
}
FAILING = {"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "Broken"}}}


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def deploy(account: Account) -> dict[str, str]:
    formation = account.client("cloudformation")
    formation.create_stack(StackName="measured", TemplateBody=json.dumps(STACK))
    formation.get_waiter("stack_create_complete").wait(StackName="measured", WaiterConfig={"Delay": 1})
    resources = formation.list_stack_resources(StackName="measured")["StackResourceSummaries"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}


def state(account: Account) -> str:
    alarms = account.client("cloudwatch").describe_alarms(AlarmNames=["letters"])["MetricAlarms"]
    return str(alarms[0]["StateValue"])


def test_an_alarm_sums_the_letters_of_two_queues(account: Account) -> None:
    made = deploy(account)
    account.sqs.send_message(QueueUrl=made["First"], MessageBody="1")
    until(lambda: state(account) == "OK")
    account.sqs.send_message(QueueUrl=made["Second"], MessageBody="2")
    until(lambda: state(account) == "ALARM")
    account.sqs.purge_queue(QueueUrl=made["First"])
    until(lambda: state(account) == "OK")


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
def test_an_execution_that_fails_is_counted(account: Account, kind: str) -> None:
    machine = account.machine(FAILING, kind=kind)
    account.start(machine)
    until(lambda: summed(account, machine, "ExecutionsFailed") == 1)
    assert summed(account, machine, "ExecutionsStarted") == 1
    assert summed(account, machine, "ExecutionsTimedOut") == 0


def test_what_a_machine_invokes_is_measured_by_function_and_of_all_together(account: Account) -> None:
    before = of_functions(account)
    function = account.function("def handler(event, context):\n    return 1 / event['by']\n")
    task = {"Type": "Task", "Resource": function, "End": True}

    for by in (1, 0):
        account.run_states({"by": by}, A=task)
    account.functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    account.run_states({"by": 1}, A=task)

    assert of_functions(account, function) == {"Invocations": 2, "Errors": 1, "Throttles": 1}
    after = of_functions(account)
    assert {name: after[name] - before[name] for name in after} == {"Invocations": 2, "Errors": 1, "Throttles": 1}
    (durations,) = statistics(account, "AWS/Lambda", "Duration", {"FunctionName": name_of(function)}, "SampleCount")
    assert durations["SampleCount"] == 2


def of_functions(account: Account, function: str = "") -> dict[str, float]:
    """The sums of one function's metrics, or of all functions'."""
    dimensions = {"FunctionName": name_of(function)} if function else {}
    return {
        metric: sum(point["Sum"] for point in statistics(account, "AWS/Lambda", metric, dimensions))
        for metric in ("Invocations", "Errors", "Throttles")
    }


def name_of(function: str) -> str:
    return function.rsplit(":", 1)[-1]


def summed(account: Account, machine: str, metric: str) -> float:
    return float(sum(point["Sum"] for point in stored(account, metric, machine)))


def stored(account: Account, metric: str, machine: str) -> list[dict[str, Any]]:
    return statistics(account, "AWS/States", metric, {"StateMachineArn": machine})


def statistics(
    account: Account, namespace: str, metric: str, dimensions: dict[str, str], statistic: Any = "Sum"
) -> list[dict[str, Any]]:
    answer = account.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=0,
        EndTime=4_000_000_000,
        Period=86_400,
        Statistics=[statistic],
    )
    return list(answer["Datapoints"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("SUM(METRICS())", [3.0, 2.0]),
        ("MAX([first, second])", [2.0, 2.0]),
        ("AVG(METRICS())", [1.5, 2.0]),
        ("100 * first / second", [50.0, None]),
        ("first / 0", [None, None]),
        ("ANOMALY_DETECTION_BAND(first, 2)", [None, None]),
        ("__import__('os')", [None, None]),
        ("first +", [None, None]),
    ],
)
def test_an_expression_is_calculated_period_by_period(expression: str, expected: list[float | None]) -> None:
    known: dict[str, alarm_math.Series] = {"first": [1.0, None], "second": [2.0, 2.0]}
    metrics: list[dict[str, Any]] = [
        {"Id": "e", "Expression": expression, "ReturnData": True},
        *({"Id": name, "ReturnData": False, "MetricStat": {"Metric": name, "Stat": "Sum"}} for name in known),
    ]
    assert alarm_math.values(metrics, 2, lambda metric, _: known[metric]) == expected


def test_a_policy_names_the_alarm(account: Account) -> None:
    assert described(account) == ["letters-mine"]


def described(account: Account) -> list[str]:
    """What a function finds that may look at one alarm only."""
    account.client("cloudwatch").put_metric_alarm(
        AlarmName="letters-mine",
        Namespace="A",
        MetricName="B",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    right = allow("cloudwatch:DescribeAlarms", "arn:aws:cloudwatch:us-east-1:000000000000:alarm:letters-*")
    source = """
import boto3
def handler(event, context):
    found = boto3.client("cloudwatch").describe_alarms(AlarmNames=["letters-mine"])
    return [alarm["AlarmName"] for alarm in found["MetricAlarms"]]
"""
    function = account.function(source, Role=account.role("lambda.amazonaws.com", right))
    found: list[str] = account.invoke(function)
    return found


@pytest.mark.without("T31", "T32", "T34")
def test_without_the_repairs(bare: Account) -> None:
    machine = bare.machine(FAILING)
    bare.end(bare.start(machine))
    assert stored(bare, "ExecutionsFailed", machine) == []
    function = bare.function("def handler(event, context): return 1")
    bare.run_states({}, A={"Type": "Task", "Resource": function, "End": True})
    assert of_functions(bare, function)["Invocations"] == 0
    formation = bare.client("cloudformation")
    formation.create_stack(StackName="measured", TemplateBody=json.dumps(STACK))
    assert "AccessDenied" in str(described(bare))
    assert "not supported" in until(lambda: failure(formation))


def failure(formation: Any) -> str:
    events = formation.describe_stack_events(StackName="measured")["StackEvents"]
    return next((event.get("ResourceStatusReason", "") for event in events if "metric math" in str(event)), "")
