"""What is made in a cloud before it is killed, and what a client sees of it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.integration.cloud.account import ALLOW_ALL, Account, until

ROLE = "arn:aws:iam::000000000000:role/survivor"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PASS = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "Result": "passed", "End": True}}}
TEMPLATE = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-a-stack"}}}}


@dataclass(frozen=True)
class Survivor:
    """One service's state: how it comes about, and how it is seen."""

    make: Callable[[Account], Any]
    look: Callable[[Account, Any], Any]


def _items(account: Account) -> None:
    tables = account.client("dynamodb")
    key = {"AttributeName": "key", "KeyType": "HASH"}, {"AttributeName": "order", "KeyType": "RANGE"}
    tables.create_table(
        TableName="survivors",
        KeySchema=list(key),
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind} for name, kind in (("key", "S"), ("order", "N"))
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    tables.update_time_to_live(
        TableName="survivors", TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    for order in range(4):
        tables.put_item(TableName="survivors", Item={"key": {"S": "a"}, "order": {"N": str(order)}})
    tables.delete_item(TableName="survivors", Key={"key": {"S": "a"}, "order": {"N": "2"}})
    tables.update_item(
        TableName="survivors",
        Key={"key": {"S": "a"}, "order": {"N": "1"}},
        UpdateExpression="SET seen = :seen",
        ExpressionAttributeValues={":seen": {"B": b"\x00\xff"}},
    )
    tables.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "survivors", "Item": {"key": {"S": "b"}, "order": {"N": str(order)}}}}
            for order in range(2)
        ]
    )


def _seen_items(account: Account, _: Any) -> Any:
    tables = account.client("dynamodb")
    found = [tables.query(TableName="survivors", **_of(key))["Items"] for key in "ab"]
    live = tables.describe_time_to_live(TableName="survivors")["TimeToLiveDescription"]["TimeToLiveStatus"]
    return found, live, tables.describe_table(TableName="survivors")["Table"]["ItemCount"]


def _of(key: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "#key = :key",
        "ExpressionAttributeNames": {"#key": "key"},
        "ExpressionAttributeValues": {":key": {"S": key}},
    }


def _messages(account: Account) -> str:
    url = str(account.sqs.create_queue(QueueName="survivors", Attributes={"VisibilityTimeout": "3600"})["QueueUrl"])
    for body in ("deleted", "in flight", "waiting"):
        account.sqs.send_message(QueueUrl=url, MessageBody=body)
    deleted = account.message(url)
    account.sqs.delete_message(QueueUrl=url, ReceiptHandle=deleted["ReceiptHandle"])
    assert account.message(url)["Body"] == "in flight"
    return url


def _seen_messages(account: Account, url: str) -> Any:
    attributes = account.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    counted = [attributes["ApproximateNumberOfMessages"], attributes["ApproximateNumberOfMessagesNotVisible"]]
    return attributes["VisibilityTimeout"], sum(map(int, counted))


def _objects(account: Account) -> list[str]:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="survivors")
    s3.put_bucket_versioning(Bucket="survivors", VersioningConfiguration={"Status": "Enabled"})
    return [
        s3.put_object(Bucket="survivors", Key="dir/a b", Body=body, Metadata={"of": "mine"}, Tagging="tag=1")[
            "VersionId"
        ]
        for body in (b"first", b"second")
    ]


def _seen_objects(account: Account, versions: list[str]) -> Any:
    s3 = account.client("s3")
    bodies = [s3.get_object(Bucket="survivors", Key="dir/a b", VersionId=version) for version in versions]
    return (
        [(body["Body"].read(), body["Metadata"], body["ETag"]) for body in bodies],
        s3.get_object_tagging(Bucket="survivors", Key="dir/a b")["TagSet"],
        s3.get_bucket_versioning(Bucket="survivors")["Status"],
    )


def _rule(account: Account) -> None:
    account.events.create_event_bus(Name="survivors")
    account.events.put_rule(Name="survivor", EventBusName="survivors", EventPattern='{"source": ["test"]}')
    target = {"Id": "target", "Arn": account.queue()[1], "RetryPolicy": {"MaximumRetryAttempts": 3}}
    account.events.put_targets(Rule="survivor", EventBusName="survivors", Targets=[target])


def _seen_rule(account: Account, _: Any) -> Any:
    rule = account.events.describe_rule(Name="survivor", EventBusName="survivors")["EventPattern"]
    return rule, account.events.list_targets_by_rule(Rule="survivor", EventBusName="survivors")["Targets"]


def _schedule(account: Account) -> None:
    account.client("scheduler").create_schedule(
        Name="survivor",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:sqs:us-east-1:000000000000:any", "RoleArn": ROLE},
    )


def _topic(account: Account) -> str:
    sns = account.client("sns")
    topic = str(sns.create_topic(Name="survivor")["TopicArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=account.queue()[1])
    return topic


def _key(account: Account) -> tuple[str, bytes]:
    kms = account.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    return key, kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]


def _alarm(account: Account) -> None:
    account.client("cloudwatch").put_metric_alarm(
        AlarmName="survivor",
        Namespace="Test",
        MetricName="value",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )


def _seen_alarm(account: Account, _: Any) -> Any:
    (alarm,) = account.client("cloudwatch").describe_alarms(AlarmNames=["survivor"])["MetricAlarms"]
    return alarm["MetricName"], alarm["Threshold"]


def _values(account: Account) -> None:
    for value in (1.0, 2.5):
        data = [{"MetricName": "survivor", "Value": value, "Dimensions": [{"Name": "of", "Value": "mine"}]}]
        account.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=data)


def _seen_values(account: Account, _: Any) -> Any:
    now = time.time()
    (point,) = account.client("cloudwatch").get_metric_statistics(
        Namespace="Test",
        MetricName="survivor",
        Dimensions=[{"Name": "of", "Value": "mine"}],
        StartTime=now - 3600,
        EndTime=now + 60,
        Period=86400,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return point["Sum"], point["SampleCount"]


def _function(account: Account) -> str:
    arn = account.function("def handler(event, context):\n    print('seen', event)\n    return event")
    assert account.invoke(arn, "before") == "before"
    return arn


def _seen_function(account: Account, arn: str) -> Any:
    return account.invoke(arn, "again"), "seen before" in account.logged(arn)


def _execution(account: Account) -> tuple[str, str]:
    account.iam.create_role(RoleName="survivor", AssumeRolePolicyDocument=json.dumps(TRUST))
    account.iam.put_role_policy(
        RoleName="survivor",
        PolicyName="inline",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [ALLOW_ALL]}),
    )
    machine = account.machine(PASS, ROLE)
    execution = account.start(machine, {"given": 1})
    account.end(execution)
    return machine, execution


def _seen_execution(account: Account, made: tuple[str, str]) -> Any:
    machine, execution = made
    events = account.states.get_execution_history(executionArn=execution)["events"]
    ended = account.ended(execution) or {}
    again = account.end(account.start(machine))["status"]
    policy = account.iam.get_role_policy(RoleName="survivor", PolicyName="inline")["PolicyDocument"]
    return ended["status"], ended["input"], ended["output"], [event["type"] for event in events], again, policy


def _stack(account: Account) -> None:
    stacks = account.client("cloudformation")
    stacks.create_stack(StackName="survivor", TemplateBody=json.dumps(TEMPLATE))
    until(lambda: stacks.describe_stacks(StackName="survivor")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")


def _seen_stack(account: Account, _: Any) -> Any:
    stacks = account.client("cloudformation")
    resources = stacks.list_stack_resources(StackName="survivor")["StackResourceSummaries"]
    status = stacks.describe_stacks(StackName="survivor")["Stacks"][0]["StackStatus"]
    queue = account.sqs.get_queue_url(QueueName="of-a-stack")["QueueUrl"]
    return status, [resource["PhysicalResourceId"] for resource in resources], queue


def _glue_job(account: Account) -> None:
    account.client("glue").create_job(
        Name="survivor",
        Role=account.role("glue.amazonaws.com"),
        Command={"Name": "pythonshell", "ScriptLocation": "s3://any/script.py", "PythonVersion": "3.9"},
    )


SURVIVORS = {
    "items": Survivor(_items, _seen_items),
    "messages": Survivor(_messages, _seen_messages),
    "objects": Survivor(_objects, _seen_objects),
    "rule": Survivor(_rule, _seen_rule),
    "schedule": Survivor(
        _schedule, lambda account, _: account.client("scheduler").get_schedule(Name="survivor")["ScheduleExpression"]
    ),
    "topic": Survivor(
        _topic,
        lambda account, topic: account.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"],
    ),
    "parameter": Survivor(
        lambda account: account.client("ssm").put_parameter(Name="/survivor", Value="value", Type="String"),
        lambda account, _: account.client("ssm").get_parameter(Name="/survivor")["Parameter"]["Value"],
    ),
    "key": Survivor(
        _key, lambda account, made: account.client("kms").decrypt(KeyId=made[0], CiphertextBlob=made[1])["Plaintext"]
    ),
    "alarm": Survivor(_alarm, _seen_alarm),
    "values": Survivor(_values, _seen_values),
    "function": Survivor(_function, _seen_function),
    "execution": Survivor(_execution, _seen_execution),
    "stack": Survivor(_stack, _seen_stack),
    "package group": Survivor(
        lambda account: account.client("sagemaker").create_model_package_group(ModelPackageGroupName="survivor"),
        lambda account, _: account.client("sagemaker").describe_model_package_group(ModelPackageGroupName="survivor")[
            "ModelPackageGroupArn"
        ],
    ),
    "job": Survivor(_glue_job, lambda account, _: account.client("glue").get_job(JobName="survivor")["Job"]["Command"]),
}
