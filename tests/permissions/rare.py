"""What is rare: the code makes these calls, unit tests see them made, but no end-to-end test comes so far."""

from tests.permissions.unseen import Unseen

_LISTED = "https://docs.aws.amazon.com/service-authorization/latest/reference/list"

RARE = (
    Unseen(
        "RequestApprovalFunctionRole",
        "AnswerToken",
        ("states:SendTaskSuccess",),
        "A retry of the request, whose first try was answered meanwhile.",
        f"{_LISTED}_awsstepfunctions.html",
        "layers/core/ratchet/domain/approving.py: self.workflow.task_succeeded(approval.task_token, answer)",
    ),
    Unseen(
        "CloseRunFunctionRole",
        "StopLeftover*",
        ("sagemaker:Stop*", "glue:BatchStopJobRun", "arn:aws:sagemaker:…:*-job/*"),
        "A run that ended by its timeout leaves jobs at work, and close_run is the first to come.",
        f"{_LISTED}_amazonsagemaker.html",
        "layers/core/ratchet/domain/leftovers.py: stop",
    ),
    Unseen(
        "PredictFunctionRole",
        "WakeEndpoint",
        ("sagemaker:UpdateEndpoint", "sagemaker:DeleteEndpoint"),
        "An endpoint that is awake, but not on the champion or failed, is brought back to it.",
        f"{_LISTED}_amazonsagemaker.html",
        "layers/core/ratchet/domain/settling.py: endpoints.delete(name)",
    ),
    Unseen(
        "ScoreUploadFunctionRole",
        "WakeEndpoint",
        ("sagemaker:UpdateEndpoint", "sagemaker:DeleteEndpoint"),
        "An endpoint that is awake, but not on the champion or failed, is brought back to it.",
        f"{_LISTED}_amazonsagemaker.html",
        "layers/core/ratchet/domain/settling.py: endpoints.delete(name)",
    ),
    Unseen(
        "ReconcileFunctionRole",
        "AnswerToken",
        ("states:SendTaskFailure",),
        "A deployment that failed, and whose event was lost.",
        f"{_LISTED}_awsstepfunctions.html",
        "layers/core/ratchet/domain/resuming.py: workflow.task_failed(",
    ),
    Unseen(
        "ReconcileFunctionRole",
        "NameAlarm",
        ("cloudwatch:DescribeAlarmHistory",),
        "A change that an alarm rolled back, and whose event was lost.",
        f"{_LISTED}_amazoncloudwatch.html",
        "layers/core/ratchet/domain/resuming.py: self.endpoints.tripped(",
    ),
)
