"""A stack whose buckets and schedules moto keeps, its ledger in memory, its functions answering from a table."""

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from cli.stack import Outputs, Stack, Target
from ratchet.adapters.memory_ledger import MemoryLedger

OUTPUTS = {
    "DataBucketName": "data",
    "ArtifactsBucketName": "artifacts",
    "LedgerTableName": "ledger",
    "EventBusName": "ratchet-test",
    "NotificationTopicArn": "arn:aws:sns:us-east-1:123456789012:people",
    "IngestStateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:ingest",
    "RetrainStateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:retrain",
    "StartRunFunctionName": "start-run",
    "StartRunFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:start-run",
    "WriteReportFunctionName": "write-report",
    "ReconcileFunctionName": "reconcile",
    "CleanupEndpointsFunctionName": "cleanup-endpoints",
    "ApiUrl": "https://api.execute-api.us-east-1.amazonaws.com",
    "TrainingImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5",
    "ResourcePrefix": "ratchet-dev",
    "Stage": "dev",
    "ScheduleGroupName": "ratchet-dev",
    "SchedulerRoleArn": "arn:aws:iam::123456789012:role/scheduler",
    "SchedulerDeadLetterQueueArn": "arn:aws:sqs:us-east-1:123456789012:scheduler-dlq",
    "IngestDeadLetterQueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/ingest-dlq",
}


class FakeFunctions:
    """Answers an invocation with what the table holds, and keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "start-run": {"started": True, "run_id": "traffic-g1", "because": "traffic-g1 was started."},
            "reconcile": {},
            "write-report": {"report_uri": "s3://artifacts/reports/traffic/traffic-g1/report.html", "size": 1},
        }
        self.errors: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, Any]] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803  boto3's names
        self.asked.append((FunctionName, json.loads(Payload)))
        if FunctionName in self.errors:
            error = json.dumps(self.errors[FunctionName]).encode()
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(error)}
        return {"Payload": io.BytesIO(json.dumps(self.answers[FunctionName]).encode())}


@pytest.fixture
def functions() -> FakeFunctions:
    """The stack's functions."""
    return FakeFunctions()


@pytest.fixture
def stack(functions: FakeFunctions, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A deployed stack; every command that connects gets this one."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        for bucket in ("data", "artifacts"):
            session.client("s3").create_bucket(Bucket=bucket)
            session.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        session.client("scheduler").create_schedule_group(Name="ratchet-dev")
        made = Stack("ratchet-dev", session, Target.LOCAL)
        made.outputs = Outputs.of("ratchet-dev", OUTPUTS)
        made.ledger = MemoryLedger()
        made.functions = functions  # type: ignore[assignment]
        made.poll_seconds = 0.01
        monkeypatch.setattr(Stack, "connect", lambda context: made)
        yield made


@pytest.fixture
def runner() -> CliRunner:
    """Runs the command in this process."""
    return CliRunner()
