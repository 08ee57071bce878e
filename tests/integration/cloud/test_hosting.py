"""Deployment guardrails with real metrics and real alarms: what a bad candidate sets off, and what it does not."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud
from tests.integration.cloud.account import Account, allow, until
from tests.integration.sagemaker.cloud import IMAGE, INFERENCE, archive

SERVING = "return [row"
RAISES = INFERENCE.replace(SERVING, "assert rows[0]['x'] % 5, 'every fifth'; return [row")
SLOW = INFERENCE.replace(SERVING, "import time; time.sleep(0.2); return [row")
INSTANCES = 2
SEEN = "SageMaker Endpoint State Change"


@dataclass(frozen=True)
class Hosting:
    """A bucket for models, a role that may read them and the alarms, and a name for an endpoint."""

    account: Account
    name: str
    role: str

    @property
    def sagemaker(self) -> Any:
        return self.account.client("sagemaker")

    @property
    def cloudwatch(self) -> Any:
        return self.account.client("cloudwatch")

    def config(self, add: int, inference: str = INFERENCE) -> str:
        """The name of a configuration whose model adds a number."""
        name = f"{self.name}-{add}"
        files = {"model.json": json.dumps({"add": add}), "code/inference.py": inference}
        self.account.client("s3").put_object(Bucket=self.name, Key=f"{name}.tar.gz", Body=archive(files))
        environment = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{self.name}/{name}.tar.gz", "Environment": environment}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=self.role, PrimaryContainer=container)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": INSTANCES,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        return name

    def alarm(self, config: str, metric: str, threshold: float, **statistic: str) -> str:
        """The name of an alarm on a metric of what runs under this configuration."""
        name = f"{config}-{metric}"
        dimensions = {"EndpointName": self.name, "VariantName": "AllTraffic", "EndpointConfigName": config}
        self.cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            Period=60,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            **statistic,
        )
        return name

    def settled(self) -> dict[str, Any]:
        """The endpoint, when it is in service."""
        found = until(self._in_service, 60)
        assert found
        return found

    def _in_service(self) -> dict[str, Any] | None:
        found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=self.name)
        return found if found["EndpointStatus"] in ("InService", "Failed") else None

    def update(self, config: str, bake: int, *alarms: str) -> None:
        """A canary of one instance of two."""
        routing = {
            "Type": "CANARY",
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": bake,
        }
        rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}} if alarms else {}
        policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0}
        self.sagemaker.update_endpoint(
            EndpointName=self.name,
            EndpointConfigName=config,
            DeploymentConfig={"BlueGreenUpdatePolicy": policy, **rollback},
        )

    @contextmanager
    def traffic(self, per_second: int = 50) -> Iterator[Counter[Any]]:
        """Steady requests; the answers less the question, and errors by their code."""
        answers: Counter[Any] = Counter()
        done = threading.Event()
        runtime = self.account.client("sagemaker-runtime")

        def ask() -> None:
            number = 0
            while not done.wait(1 / per_second):
                number += 1
                answers[self._ask(runtime, number)] += 1

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield answers
        finally:
            done.set()
            thread.join()

    def _ask(self, runtime: Any, x: int) -> Any:
        kind = "application/jsonlines"
        body = json.dumps({"x": x}).encode()
        try:
            answer = runtime.invoke_endpoint(EndpointName=self.name, Body=body, ContentType=kind, Accept=kind)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return json.loads(answer["Body"].read())["y"] - x


@pytest.fixture
def hosting(cloud: Cloud) -> Iterator[Hosting]:
    """An endpoint whose model adds 1."""
    account, name = Account(cloud), f"hosting-{uuid4().hex[:8]}"
    account.client("s3").create_bucket(Bucket=name)
    rights = allow(["s3:GetObject", "s3:ListBucket"]), allow("cloudwatch:DescribeAlarms")
    made = Hosting(account, name, account.role("sagemaker.amazonaws.com", *rights))
    made.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=made.config(1))
    assert made.settled()["EndpointStatus"] == "InService"
    yield made
    made.settled()
    made.sagemaker.delete_endpoint(EndpointName=name)


def test_a_good_candidate_takes_over_without_a_failed_prediction(hosting: Hosting) -> None:
    candidate = hosting.config(2)
    errors = hosting.alarm(candidate, "Invocation5XXErrors", 0.05, Statistic="Average")
    slow = hosting.alarm(candidate, "ModelLatency", 10_000_000, ExtendedStatistic="p99")
    with hosting.traffic() as answers:
        hosting.update(candidate, 60, errors, slow)
        endpoint = hosting.settled()
        until(lambda: answers[2] > 0)
    assert endpoint["EndpointConfigName"] == candidate
    assert "FailureReason" not in endpoint
    assert set(answers) == {1, 2}, "every request was answered, by the one or the other"


@pytest.mark.parametrize(
    ("inference", "metric", "threshold", "statistic"),
    [
        (RAISES, "Invocation5XXErrors", 0.05, {"Statistic": "Average"}),
        (SLOW, "ModelLatency", 100_000, {"ExtendedStatistic": "p99"}),
    ],
    ids=["raises for a fifth", "slow"],
)
def test_a_bad_candidate_is_rolled_back(
    hosting: Hosting, inference: str, metric: str, threshold: float, statistic: dict[str, str]
) -> None:
    queue, arn = hosting.account.open_queue()
    pattern = {"source": ["aws.sagemaker"], "detail-type": [SEEN], "detail": {"EndpointName": [hosting.name]}}
    hosting.account.rule(pattern, Arn=arn)
    candidate = hosting.config(2, inference)
    alarm = hosting.alarm(candidate, metric, threshold, **statistic)
    with hosting.traffic() as answers:
        hosting.update(candidate, 3600, alarm)
        endpoint = hosting.settled()
        until(lambda: answers[1] > 0)
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", f"{hosting.name}-1")
    assert endpoint["FailureReason"].endswith(f"went into ALARM state: {alarm}.")
    assert statuses(hosting, queue, 3) == {"UPDATING", "ROLLING_BACK", "IN_SERVICE"}


def statuses(hosting: Hosting, queue: str, count: int) -> set[str]:
    """What so many events say, in whichever order they come."""
    told = set()
    for _ in range(count):
        message = hosting.account.received(queue)
        hosting.account.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        told.add(json.loads(message["Body"])["detail"]["EndpointStatus"])
    return told


def test_alarms_are_read_as_the_execution_role(hosting: Hosting) -> None:
    blind = Hosting(hosting.account, hosting.name, hosting.account.role("sagemaker.amazonaws.com", allow("s3:*")))
    candidate = blind.config(3)
    blind.update(candidate, 3600, blind.alarm(candidate, "Invocation5XXErrors", 0.05, Statistic="Average"))
    endpoint = hosting.settled()
    assert endpoint["EndpointConfigName"] == f"{hosting.name}-1"
    assert "cloudwatch:DescribeAlarms" in endpoint["FailureReason"]


def test_what_is_measured_can_be_asked_for(hosting: Hosting) -> None:
    with hosting.traffic() as answers:
        until(lambda: answers.total() >= 20)
    asked = answers.total()
    until(lambda: statistic(hosting, "Invocations", "Sum") == asked)
    assert statistic(hosting, "Invocation5XXErrors", "Average") == 0
    assert statistic(hosting, "InvocationsPerInstance", "Sum") == asked / INSTANCES
    p99 = statistic(hosting, "ModelLatency", "p99")
    assert p99 is not None
    assert 100 < p99 < 1_000_000, "microseconds"


def statistic(hosting: Hosting, metric: str, name: str) -> float | None:
    """Of the last hours, over all of it; None when there is none yet."""
    dimensions = {"EndpointName": hosting.name, "VariantName": "AllTraffic"}
    named = {
        "Namespace": "AWS/SageMaker",
        "MetricName": metric,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }
    answer = hosting.cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": named, "Period": 86_400, "Stat": name}}],
        StartTime=time.time() - 86_400,
        EndTime=time.time() + 60,
    )
    values: list[float] = answer["MetricDataResults"][0]["Values"]
    return values[-1] if values else None
