"""What the roles are granted though no recorded call needs it, with the reason and AWS's page about it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.permissions.parts import Part

_AWS = "https://docs.aws.amazon.com"
_LISTED = f"{_AWS}/service-authorization/latest/reference/list"


@dataclass(frozen=True)
class Unseen:
    """Parts of statements; `roles`, `statement` and `texts` may be patterns of the shell."""

    roles: str
    statement: str
    texts: tuple[str, ...]
    reason: str
    page: str
    code: str = ""  # where ours makes the call, if it is ours

    def covers(self, part: Part, text: str) -> bool:
        """Whether the entry is about a part by one of its texts."""
        return (
            fnmatchcase(part.role, self.roles)
            and fnmatchcase(part.statement, self.statement)
            and fnmatchcase(part.text, text)
        )


# What the embedded cloud does not ask its policies for, and AWS does.
ONLY_AWS = (
    Unseen(
        "*StateMachineRole",
        "Log",
        ("*",),
        "Step Functions sets up the delivery of its log with the machine's role.",
        f"{_AWS}/step-functions/latest/dg/cw-logs.html",
    ),
    Unseen(
        "*FunctionRole",
        "AWSLambdaBasicExecutionRole",
        ("*",),
        "Lambda writes a function's log with the function's role.",
        f"{_AWS}/lambda/latest/dg/lambda-intro-execution-role.html",
    ),
    Unseen(
        "*FunctionRole",
        "AWSXrayWriteOnlyAccess",
        ("*",),
        "A function's traces are sent with its role.",
        f"{_AWS}/lambda/latest/dg/services-xray.html",
    ),
    Unseen(
        "*StateMachineRole",
        "AWSXrayWriteOnlyAccess",
        ("*",),
        "Step Functions sends a machine's traces with its role.",
        f"{_AWS}/step-functions/latest/dg/concepts-xray-tracing.html",
    ),
    Unseen(
        "*FunctionRole",
        "*EventInvokeConfigOnFailureSQSPolicy",
        ("sqs:SendMessage",),
        "Lambda sends what failed asynchronously to the failure destination with the function's role.",
        f"{_AWS}/lambda/latest/dg/invocation-async-retain-records.html",
    ),
    Unseen(
        "ScoreUploadFunctionRole",
        "TakeMessages",
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
        "Lambda polls the queue with the function's role.",
        f"{_AWS}/lambda/latest/dg/services-sqs-configure.html",
    ),
    Unseen(
        "*",
        "TellMissingFromForbidden",
        ("s3:ListBucket", "${DataBucket.Arn}", "${ArtifactsBucket.Arn}"),
        "Without it S3 answers 403 instead of 404 for an object that is not there; nobody calls it.",
        f"{_AWS}/AmazonS3/latest/API/API_HeadObject.html",
    ),
    Unseen(
        "WriteReportFunctionRole",
        "ListScores",
        ("${DataBucket.Arn}",),
        "Without it S3 answers 403 instead of 404 for an upload's report that is not there; nobody calls it.",
        f"{_AWS}/AmazonS3/latest/API/API_HeadObject.html",
    ),
    Unseen(
        "*",
        "Write*",
        ("s3:AbortMultipartUpload",),
        "Clients send large files in parts and abort the upload when one fails.",
        f"{_AWS}/AmazonS3/latest/userguide/mpuoverview.html",
    ),
    Unseen(
        "GlueRole",
        "WriteOutput",
        ("s3:GetObject", "s3:DeleteObject"),
        "Spark's committer reads and deletes what it stages; the embedded cloud runs the script without Spark.",
        f"{_AWS}/glue/latest/dg/create-an-iam-role.html",
    ),
    Unseen(
        "GlueRole",
        "List",
        ("*",),
        "Spark lists the prefixes that it reads and writes; the embedded cloud runs the script without Spark.",
        f"{_AWS}/glue/latest/dg/create-an-iam-role.html",
    ),
    Unseen(
        "GlueRole",
        "Log",
        ("*",),
        "Glue writes a job's log with the job's role.",
        f"{_AWS}/glue/latest/dg/monitor-continuous-logging.html",
    ),
    Unseen(
        "ValidateLargeRole",
        "Log",
        ("*",),
        "Glue writes a job's log with the job's role.",
        f"{_AWS}/glue/latest/dg/monitor-continuous-logging.html",
    ),
    Unseen(
        "GlueRole",
        "Measure",
        ("cloudwatch:PutMetricData",),
        "Glue sends a job's metrics with the job's role.",
        f"{_AWS}/glue/latest/dg/monitoring-awsglue-with-cloudwatch-metrics.html",
    ),
    Unseen(
        "ValidateLargeRole",
        "Measure",
        ("cloudwatch:PutMetricData",),
        "Glue sends a job's metrics with the job's role.",
        f"{_AWS}/glue/latest/dg/monitoring-awsglue-with-cloudwatch-metrics.html",
    ),
    Unseen(
        "TrainingRole",
        "Log",
        ("*",),
        "SageMaker writes the logs of jobs and endpoints with their role.",
        f"{_AWS}/sagemaker/latest/dg/sagemaker-roles.html",
    ),
    Unseen(
        "TrainingRole",
        "Measure",
        ("cloudwatch:PutMetricData",),
        "SageMaker sends the metrics of jobs and endpoints with their role.",
        f"{_AWS}/sagemaker/latest/dg/sagemaker-roles.html",
    ),
    Unseen(
        "TrainingRole",
        "LogInToRegistry",
        ("ecr:GetAuthorizationToken",),
        "SageMaker pulls the image with the role; the embedded cloud runs the code without an image.",
        f"{_AWS}/sagemaker/latest/dg/sagemaker-roles.html",
    ),
    Unseen(
        "TrainingRole",
        "PullImage",
        ("*",),
        "SageMaker pulls the image with the role; the embedded cloud runs the code without an image.",
        f"{_AWS}/sagemaker/latest/dg/sagemaker-roles.html",
    ),
    Unseen(
        "*FunctionRole",
        "RetryAsSchedulerRole",
        ("iam:PassRole",),
        "Whoever makes a schedule passes it a role; the embedded cloud asks for it in Step Functions only.",
        f"{_AWS}/scheduler/latest/UserGuide/security_iam_id-based-policy-examples.html",
    ),
    Unseen(
        "RetrainStateMachineRole",
        "Preprocess",
        ("glue:GetJobRuns", "glue:BatchStopJobRun"),
        "Step Functions follows a job that it waits for, and stops it with the execution.",
        f"{_AWS}/step-functions/latest/dg/connect-glue.html",
    ),
    Unseen(
        "ValidateLargeStateMachineRole",
        "Validate",
        ("glue:GetJobRuns", "glue:BatchStopJobRun"),
        "Step Functions follows a job that it waits for, and stops it with the execution.",
        f"{_AWS}/step-functions/latest/dg/connect-glue.html",
    ),
    Unseen(
        "RetrainStateMachineRole",
        "Train",
        ("sagemaker:StopTrainingJob", "sagemaker:ListTags"),
        "Step Functions knows the jobs that it waits for by their tags, and stops them with the execution.",
        f"{_AWS}/step-functions/latest/dg/connect-sagemaker.html",
    ),
    Unseen(
        "RetrainStateMachineRole",
        "Score",
        ("sagemaker:StopTransformJob", "sagemaker:ListTags"),
        "Step Functions knows the jobs that it waits for by their tags, and stops them with the execution.",
        f"{_AWS}/step-functions/latest/dg/connect-sagemaker.html",
    ),
    Unseen(
        "RetrainStateMachineRole",
        "Register",
        ("arn:aws:sagemaker:…:model-package-group/*",),
        "A package is made in its group: SageMaker asks for both; the embedded cloud asks for the package's ARN.",
        f"{_LISTED}_amazonsagemaker.html",
    ),
    Unseen(
        "*FunctionRole",
        "WakeEndpoint",
        ("arn:aws:sagemaker:…:endpoint-config/*",),
        "An endpoint is made and updated with a configuration: SageMaker asks for both, the embedded cloud for one.",
        f"{_LISTED}_amazonsagemaker.html",
    ),
    Unseen(
        "*FunctionRole",
        "PutChampionBack",
        ("arn:aws:sagemaker:…:endpoint-config/*",),
        "An endpoint is made and updated with a configuration: SageMaker asks for both, the embedded cloud for one.",
        f"{_LISTED}_amazonsagemaker.html",
    ),
)

# What is rare: the code makes these calls, unit tests see them made, but no end-to-end test comes so far.
UNREACHED: tuple[Unseen, ...] = ()


def explained(entries: Iterable[Unseen], parts: Iterable[Part]) -> dict[Part, Unseen]:
    """The entry that is about each part, for parts that have one."""
    every = [*entries]
    found = ((part, next((entry for entry in every if _about(entry, part)), None)) for part in parts)
    return {part: entry for part, entry in found if entry is not None}


def empty_texts(entries: Iterable[Unseen], parts: Iterable[Part]) -> Iterator[str]:
    """The texts of entries that are about nothing in the template."""
    every = [*parts]
    for entry in entries:
        for text in entry.texts:
            if not any(entry.covers(part, text) for part in every):
                yield f"{entry.roles} / {entry.statement} / {text}"


def _about(entry: Unseen, part: Part) -> bool:
    return any(entry.covers(part, text) for text in entry.texts)
