"""Which calls to AWS each Task of the workflows makes, and on which road a pipeline comes to it."""

from dataclasses import dataclass
from enum import StrEnum

INVOKE = "lambda:InvokeFunction"
PUT_EVENTS = "events:PutEvents"


class Road(StrEnum):
    """What is done so that an execution comes to a state; the value is what then happens when nothing fails."""

    DEPLOYED = "deployed"
    REFUSED = "refused by the gate"
    TRIED = "deployed after a trial endpoint"
    APPROVED = "deployed after a person's approval"
    SHADOWED = "deployed after a shadow"
    REJECTED = "upload rejected"
    LARGE = "deployed, the upload was judged by a job"
    FAILED = "deployed at the second attempt: the first one was denied something"
    KEPT = "deployed, the event was kept in the dead-letter queue first"
    FOUND = "deployed, the model had been made already"
    LARGE_KEPT = "deployed, the large validation's event was kept first"


@dataclass(frozen=True)
class Does:
    """A Task: its own call, and the road to it."""

    call: str
    road: Road = Road.DEPLOYED


TASKS: dict[str, dict[str, Does]] = {
    "ingest": {
        "Validate Data": Does(INVOKE),
        "Announce Acceptance": Does(PUT_EVENTS),
        "Start Run": Does(INVOKE),
        "Announce Rejection": Does(PUT_EVENTS, Road.REJECTED),
        "Start Large Validation": Does("states:StartExecution", Road.LARGE),
        "Keep Event": Does("sqs:SendMessage", Road.KEPT),
    },
    "validate_large": {
        "Validate Large Data": Does("glue:StartJobRun", Road.LARGE),
        "Ingest Again": Does("states:StartExecution", Road.LARGE),
        "Keep Event": Does("sqs:SendMessage", Road.LARGE_KEPT),
    },
    "retrain": {
        "Check Idempotency": Does(INVOKE),
        "Preprocess Data": Does("glue:StartJobRun"),
        "Train Candidate": Does("sagemaker:CreateTrainingJob"),
        "Select Candidate": Does(INVOKE),
        "Create Model": Does("sagemaker:CreateModel"),
        "Find Model": Does("sagemaker:DescribeModel", Road.FOUND),
        "Score Model": Does("sagemaker:CreateTransformJob"),
        "Evaluate Model": Does(INVOKE),
        "Write Report": Does(INVOKE),
        "Close Refused Run": Does(INVOKE, Road.REFUSED),
        "Announce Refusal": Does(PUT_EVENTS, Road.REFUSED),
        "Deploy Trial Endpoint": Does(INVOKE, Road.TRIED),
        "Verify Trial Endpoint": Does(INVOKE, Road.TRIED),
        "Remove Trial Endpoint": Does("sagemaker:DeleteEndpoint", Road.TRIED),
        "Wait For Approval": Does(INVOKE, Road.APPROVED),
        "Shadow Champion": Does(INVOKE, Road.SHADOWED),
        "Compare Shadow": Does(INVOKE, Road.SHADOWED),
        "Register Model": Does("sagemaker:CreateModelPackage"),
        "Deploy Endpoint": Does(INVOKE),
        "Verify Endpoint": Does(INVOKE),
        "Promote Champion": Does(INVOKE),
        "Announce Deployment": Does(PUT_EVENTS),
        "Close Failed Run": Does(INVOKE, Road.FAILED),
        "Announce Failure": Does(PUT_EVENTS, Road.FAILED),
    },
}
