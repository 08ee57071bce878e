"""Which calls to AWS each Task of the workflows makes, and on which road a pipeline comes to it."""

from dataclasses import dataclass
from enum import StrEnum

INVOKE = "lambda:InvokeFunction"
PUT_EVENTS = "events:PutEvents"
START = "states:StartExecution"
GET, QUERY, TRANSACT = "dynamodb:GetItem", "dynamodb:Query", "dynamodb:TransactWriteItems"
READ, WRITE, LIST = "s3:GetObject", "s3:PutObject", "s3:ListBucket"


class Road(StrEnum):
    """What is done so that an execution comes to a state; the value is what then happens when nothing fails."""

    DEPLOYED = "deployed"
    REFUSED = "refused by the gate"
    TRIED = "deployed after a trial endpoint"
    APPROVED = "deployed after a person's approval"
    SHADOWED = "deployed after a shadow"
    REJECTED = "upload rejected"
    LARGE = "deployed, the upload was judged by a job"
    FAILED = "deployed at the second attempt: the first one timed out"
    KEPT = "deployed, the event was kept in the dead-letter queue first"
    FOUND = "deployed, the model had been made already"
    LARGE_KEPT = "deployed, the large validation's event was kept first"


@dataclass(frozen=True)
class Does:
    """A Task: its own call, the road to it, and what its function calls in turn, told once of a function."""

    call: str
    road: Road = Road.DEPLOYED
    inner: tuple[str, ...] = ()


TASKS: dict[str, dict[str, Does]] = {
    "ingest": {
        "Validate Data": Does(
            INVOKE,
            inner=(
                GET,
                TRANSACT,
                "s3:GetObjectVersion",
                READ,
                WRITE,
            ),
        ),
        "Announce Acceptance": Does(PUT_EVENTS),
        "Start Run": Does(
            INVOKE,
            inner=(
                GET,
                TRANSACT,
                START,
            ),
        ),
        "Announce Rejection": Does(PUT_EVENTS, Road.REJECTED),
        "Start Large Validation": Does(START, Road.LARGE),
        "Keep Event": Does("sqs:SendMessage", Road.KEPT),
    },
    "validate_large": {
        "Validate Large Data": Does("glue:StartJobRun", Road.LARGE),
        "Ingest Again": Does(START, Road.LARGE),
        "Keep Event": Does("sqs:SendMessage", Road.LARGE_KEPT),
    },
    "retrain": {
        "Check Idempotency": Does(
            INVOKE,
            inner=(
                GET,
                QUERY,
                TRANSACT,
                READ,
                WRITE,
                LIST,
            ),
        ),
        "Preprocess Data": Does("glue:StartJobRun"),
        "Train Candidate": Does("sagemaker:CreateTrainingJob"),
        "Select Candidate": Does(
            INVOKE,
            inner=(
                GET,
                TRANSACT,
                "sagemaker:DescribeTrainingJob",
            ),
        ),
        "Create Model": Does("sagemaker:CreateModel"),
        "Find Model": Does("sagemaker:DescribeModel", Road.FOUND),
        "Score Model": Does("sagemaker:CreateTransformJob"),
        "Evaluate Model": Does(
            INVOKE,
            inner=(
                GET,
                TRANSACT,
                READ,
                WRITE,
            ),
        ),
        "Write Report": Does(
            INVOKE,
            inner=(
                GET,
                QUERY,
                READ,
                WRITE,
            ),
        ),
        "Close Refused Run": Does(INVOKE, Road.REFUSED),
        "Announce Refusal": Does(PUT_EVENTS, Road.REFUSED),
        "Deploy Trial Endpoint": Does(INVOKE, Road.TRIED),
        "Verify Trial Endpoint": Does(INVOKE, Road.TRIED),
        "Remove Trial Endpoint": Does("sagemaker:DeleteEndpoint", Road.TRIED),
        "Wait For Approval": Does(
            INVOKE,
            Road.APPROVED,
            inner=(
                GET,
                TRANSACT,
                PUT_EVENTS,
            ),
        ),
        "Shadow Champion": Does(INVOKE, Road.SHADOWED),
        "Compare Shadow": Does(
            INVOKE,
            Road.SHADOWED,
            inner=(
                GET,
                TRANSACT,
                "cloudwatch:GetMetricData",
            ),
        ),
        "Register Model": Does("sagemaker:CreateModelPackage"),
        "Deploy Endpoint": Does(
            INVOKE,
            inner=(
                GET,
                TRANSACT,
                "sagemaker:DescribeEndpoint",
                "sagemaker:CreateEndpointConfig",
                "sagemaker:UpdateEndpoint",
            ),
        ),
        "Verify Endpoint": Does(
            INVOKE,
            inner=(
                READ,
                "sagemaker:InvokeEndpoint",
            ),
        ),
        "Promote Champion": Does(
            INVOKE,
            inner=(
                GET,
                TRANSACT,
            ),
        ),
        "Announce Deployment": Does(PUT_EVENTS),
        "Close Failed Run": Does(
            INVOKE,
            Road.FAILED,
            inner=(
                GET,
                TRANSACT,
                "sagemaker:DescribeEndpoint",
                "scheduler:CreateSchedule",
            ),
        ),
        "Announce Failure": Does(PUT_EVENTS, Road.FAILED),
    },
}
