"""The deployed stack a command talks to: where it is, its outputs, its clients and its ledger."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.api import Api
from cli.errors import CommandError
from local.cloud.process import Cloud, CloudSettings
from local.cloud.settings import REPOSITORY
from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.s3_store import S3Store
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.adapters.step_functions import StepFunctions
from ratchet.domain.ledger import Ledger, PipelineState

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

DEFAULT_PORT = 4566
LONGEST_INVOCATION = 900 + 10  # seconds; botocore gives up after 60 and then invokes once more
LOCAL_STACK = "ratchet-local"
AWS_STACK = "ratchet-dev"


class Target(StrEnum):
    """The two places a stack can be in."""

    LOCAL = "local"
    AWS = "aws"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True)
class Choice:
    """The stack that the command line names, before anything is asked of it."""

    name: str | None
    target: Target

    @classmethod
    def of(cls, context: typer.Context) -> Self:
        """The choice that the options before the command made."""
        chosen = context.find_object(cls)
        return chosen if chosen is not None else cls(None, Target.LOCAL)


@dataclass(frozen=True)
class Outputs:
    """The stack's outputs: all that a client knows of a deployment."""

    data_bucket_name: str
    artifacts_bucket_name: str
    ledger_table_name: str
    event_bus_name: str
    notification_topic_arn: str
    ingest_state_machine_arn: str
    retrain_state_machine_arn: str
    start_run_function_name: str
    start_run_function_arn: str
    write_report_function_name: str
    reconcile_function_name: str
    cleanup_endpoints_function_name: str
    api_url: str
    training_image_uri: str
    resource_prefix: str
    stage: str
    schedule_group_name: str
    scheduler_role_arn: str
    scheduler_dead_letter_queue_arn: str
    ingest_dead_letter_queue_url: str

    @classmethod
    def of(cls, stack: str, outputs: Mapping[str, str]) -> Self:
        """The outputs by CloudFormation's names; CommandError names those that are missing."""
        wanted = {field.name: _pascal(field.name) for field in fields(cls)}
        if missing := [name for name in wanted.values() if name not in outputs]:
            raise CommandError(
                f"The stack {stack} lacks the outputs {', '.join(missing)}: it is no Ratchet stack, or an older one. "
                "Name another with --stack, or deploy this version again."
            )
        return cls(**{field: outputs[name] for field, name in wanted.items()})


class Stack:
    """A stack of one account and region, and clients of what it made."""

    def __init__(self, name: str, session: boto3.Session, target: Target) -> None:
        self.name = name
        self.session = session
        self.target = target
        self.poll_seconds = 0.15 if target is Target.LOCAL else 2.0

    @classmethod
    def connect(cls, context: typer.Context) -> Self:
        """The stack the command line asks for: the embedded cloud's, unless AWS was asked for in so many words."""
        choice = Choice.of(context)
        if choice.target is Target.AWS:
            return cls(choice.name or AWS_STACK, boto3.Session(), Target.AWS)
        return cls.of_cloud(running_cloud(), choice.name)

    @classmethod
    def of_cloud(cls, cloud: Cloud, name: str | None = None) -> Self:
        """A stack in a running embedded cloud."""
        return cls(name or LOCAL_STACK, cloud.session(), Target.LOCAL)

    @cached_property
    def outputs(self) -> Outputs:
        """What the deployment says of itself."""
        try:
            stacks = self.session.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise CommandError(
                f"There is no stack {self.name} {self.where}. Deploy it first "
                f"({'`ratchet deploy`' if self.target is Target.LOCAL else '`sam build` and `sam deploy`'}), "
                "or name another with --stack."
            ) from error
        return Outputs.of(self.name, {o["OutputKey"]: o["OutputValue"] for o in stacks[0].get("Outputs", [])})

    @cached_property
    def queue_urls(self) -> dict[str, str]:
        """The stack's queues by logical id."""
        pages = (
            self.session.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        )
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in resources
            if resource["ResourceType"] == "AWS::SQS::Queue"
        }

    @property
    def where(self) -> str:
        """For people: which cloud this is."""
        if self.target is Target.LOCAL:
            return "on the embedded cloud"
        return f"on AWS in {self.session.region_name or 'no region'}"

    @cached_property
    def s3(self) -> "S3Client":
        return self.session.client("s3")

    @cached_property
    def functions(self) -> "LambdaClient":
        return self.session.client("lambda", config=Config(read_timeout=LONGEST_INVOCATION))

    @cached_property
    def executions(self) -> "SFNClient":
        return self.session.client("stepfunctions")

    @cached_property
    def queues(self) -> "SQSClient":
        return self.session.client("sqs")

    @cached_property
    def scheduler(self) -> "EventBridgeSchedulerClient":
        return self.session.client("scheduler")

    @cached_property
    def predictions(self) -> "SageMakerRuntimeClient":
        return self.session.client("sagemaker-runtime")

    @cached_property
    def api(self) -> Api:
        """The HTTP API, called as whoever runs the command."""
        return Api(self.outputs.api_url, self.session)

    @cached_property
    def endpoints(self) -> SageMakerEndpoints:
        watching = self.session.client("cloudwatch"), self.session.client("application-autoscaling")
        return SageMakerEndpoints(self.session.client("sagemaker"), self.predictions, *watching)

    @cached_property
    def workflow(self) -> StepFunctions:
        machines = self.outputs.retrain_state_machine_arn, self.outputs.ingest_state_machine_arn
        return StepFunctions(*machines, client=self.executions)

    @cached_property
    def store(self) -> S3Store:
        return S3Store(self.s3)

    @cached_property
    def caller(self) -> str:
        """The ARN of whoever runs the command."""
        return self.session.client("sts").get_caller_identity()["Arn"]

    @cached_property
    def ledger(self) -> Ledger:
        return DynamoDbLedger(self.outputs.ledger_table_name, self.session.client("dynamodb"))

    def endpoint_name(self, pipeline: str) -> str:
        """The endpoint that the champion serves at; the one a first champion would, while there is none."""
        state = self.ledger.pipeline(pipeline)
        if state is not None and state.champion is not None:
            return state.champion.endpoint_name
        return f"{self.outputs.resource_prefix}-{pipeline}"

    def pipeline(self, name: str) -> PipelineState:
        """The pipeline's state; CommandError when no definition was ever applied."""
        if (state := self.ledger.pipeline(name)) is None:
            known = ", ".join(sorted(state.pipeline for state in self.ledger.pipelines())) or "none yet"
            raise CommandError(
                f"The stack {self.name} has no pipeline {name} (it has: {known}). "
                "Apply its definition first: `ratchet apply pipelines/<name>`."
            )
        return state


def embedded_cloud(port: int | None = None) -> Cloud:
    """The embedded cloud of this working copy, or of the folder RATCHET_CLOUD names, on the port it last used."""
    state = Path(os.environ.get("RATCHET_CLOUD", REPOSITORY / ".ratchet/cloud"))
    settings = CloudSettings(port=port or DEFAULT_PORT, state=state)
    if port is None and settings.started_file.exists():
        started = json.loads(settings.started_file.read_text())
        settings = replace(settings, port=started["port"], account=started["account"], region=started["region"])
    return Cloud(settings)


def running_cloud() -> Cloud:
    """The embedded cloud of this working copy; CommandError when it is down."""
    cloud = embedded_cloud()
    if not cloud.status().healthy:
        raise CommandError(
            "The embedded cloud is not running. Start it with `ratchet local up` and deploy with `ratchet deploy`, "
            "or write `ratchet --aws …` to talk to AWS."
        )
    return cloud


def _pascal(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))
