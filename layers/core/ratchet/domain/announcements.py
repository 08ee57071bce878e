"""What people are told of a run: built from its record alone, so that telling twice tells the same."""

import json
from typing import Any

from ratchet.contracts.base import Finding
from ratchet.contracts.run import Announcement, RunOutcome, TaskError
from ratchet.domain.identity import TRIAL, report_uri
from ratchet.domain.ledger import RunRecord

_LONGEST_CAUSE = 1_000

_SUBJECT = {
    RunOutcome.DEPLOYED: "model deployed",
    RunOutcome.REFUSED: "candidate refused",
    RunOutcome.NOTHING_TO_DO: "nothing to do",
    RunOutcome.FAILED: "run failed",
    RunOutcome.ROLLED_BACK: "champion rolled back",
}

_KIND = {
    RunOutcome.DEPLOYED: "Model Deployed",
    RunOutcome.REFUSED: "Candidate Refused",
    RunOutcome.NOTHING_TO_DO: "Nothing To Do",
    RunOutcome.FAILED: "Run Failed",
    RunOutcome.ROLLED_BACK: "Champion Rolled Back",
}

# Runs that came to an end of their own; write_report hears of them.
_REPORTED = (RunOutcome.DEPLOYED, RunOutcome.REFUSED, RunOutcome.FAILED)

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}

# Which state raises an error, where the error alone says it.
_STATE = {
    "ScoringIncompleteError": "Evaluate Model",
    "EndpointRolledBackError": "Deploy Endpoint",
    "ShadowInconclusiveError": "Compare Shadow",
    "ShadowWorseError": "Compare Shadow",
    "StepOutputMissingError": "Select Candidate",
}

# Where a failed job's own words stand: what it reports itself is often no more than "see the log".
_LOG_GROUP = {
    "TrainingJobName": "/aws/sagemaker/TrainingJobs",
    "TransformJobName": "/aws/sagemaker/TransformJobs",
    "JobName": "/aws-glue/jobs/error",
}

_RERUN = "then start it again with `ratchet run {pipeline} --force`"

_FIX = {
    "DefinitionInvalidError": "Correct pipeline.yaml as the message says and apply it again.",
    "DependencyBusyError": "AWS was busy for longer than the retries; nothing is wrong with the data. Wait, {rerun}.",
    "EndpointFailedError": "Read the endpoint's log group, correct what the container complains of, {rerun}.",
    "EndpointRolledBackError": "The new variant was not healthy: read the endpoint's log group, correct it, {rerun}.",
    "EventInvalidError": "Functions and state machine are of different versions: deploy both from one, {rerun}.",
    "ExecutionStopped": "If nobody stopped the execution on purpose, read its history, {rerun}.",
    "PredictionMismatchError": "Serving answers otherwise than scoring did: correct inference.py, {rerun}.",
    "ShadowInconclusiveError": "Send requests while the shadow bakes, or choose another strategy, {rerun}.",
    "ShadowWorseError": "Read the shadow variant's log in the endpoint's log group, correct it, {rerun}.",
    "ScoringIncompleteError": "Read the transform job's log for the records it could not score, correct them, {rerun}.",
    "StepOutputMissingError": "Read the job's log; somebody may have deleted its output. Look there, {rerun}.",
    "States.Timeout": "A job took longer than its limit: raise train.max_runtime or look for why it hangs, {rerun}.",
}
_FIX_OTHERS = "Read the execution's history and the function's or job's log for the cause, {rerun}."


def stalled(record: RunRecord) -> bool:
    """Whether the run's work failed for the last time: nobody tries it again by himself."""
    return record.outcome is RunOutcome.FAILED and record.retry_at is None and record.failures > 0


def kind_of(record: RunRecord) -> str:
    """The detail-type of the run's announcement."""
    return "Work Stalled" if stalled(record) else _KIND[record.outcome or RunOutcome.FAILED]


def passed_gate(record: RunRecord) -> bool:
    """Whether the candidate was good enough; it may still not be approved."""
    return record.evaluation is not None and record.evaluation.outcome == "PROMOTE"


def sentence_of(record: RunRecord) -> str:
    """The outcome in one sentence."""
    if record.outcome is RunOutcome.FAILED and record.error is not None:
        what_serves = "" if record.unverified_seconds is None else f"; {_what_serves(record)}"
        because = f"{failed_state(record)}: {cause_of(record.error)}{what_serves}"
        return f"{record.run_id} failed in {because}{_what_next(record)}"
    if record.outcome is RunOutcome.DEPLOYED and record.evaluation is not None:
        return record.evaluation.sentence.replace("is promoted", "is deployed", 1)
    if record.outcome is RunOutcome.REFUSED and record.finding is not None and passed_gate(record):
        return f"{record.finding.what} {record.finding.why}"
    if record.evaluation is not None:
        return record.evaluation.sentence
    return record.because or f"{record.run_id} ended {record.outcome}"


def announcement_of(record: RunRecord) -> Announcement:
    """The event's detail."""
    outcome = record.outcome or RunOutcome.FAILED
    links = {"show": f"ratchet show {record.run_id}"}
    if outcome in _REPORTED:
        links |= report_links(record)
    if record.evaluation is not None:
        links["decision"] = record.evaluation.decision_uri
    if record.model_package_arn is not None:
        links["model package"] = record.model_package_arn
    return Announcement(
        pipeline=record.pipeline,
        subject=f"{record.pipeline}: {_subject(record, outcome)}",
        sentence=record.because or sentence_of(record),
        finding=record.finding,
        run_id=record.run_id,
        numbers=_numbers(record),
        links=links,
    )


def failure_finding(record: RunRecord) -> Finding:
    """What failed, in which state, why, and what to do."""
    error = record.error or TaskError(error="Unknown", cause="")
    fix = _FIX.get(error.error, _FIX_OTHERS)
    return Finding(
        what=f"{record.run_id} failed with {error.error}; {_what_serves(record)}.",
        where=f"state {failed_state(record)} of execution {record.execution_arn}{_log_of(error)}",
        why=cause_of(error),
        fix=fix.format(rerun=_RERUN.format(pipeline=record.pipeline)),
    )


def report_links(record: RunRecord) -> dict[str, str]:
    """By command, and in the S3 console: a presigned link would die with the session of its role."""
    links = {"report": f"ratchet report {record.run_id}"}
    if (artifact := _artifact_of(record)) is not None:
        _, partition, _, region, *_ = record.execution_arn.split(":")
        bucket = artifact.removeprefix("s3://").partition("/")[0]
        key = report_uri(bucket, record.pipeline, record.run_id).partition(f"{bucket}/")[2]
        console = f"https://{region}.{_CONSOLES.get(partition, _CONSOLES['aws'])}"
        links["report in S3"] = f"{console}/s3/object/{bucket}?region={region}&prefix={key}"
    return links


def _artifact_of(record: RunRecord) -> str | None:
    """Something of the run's in the artifacts bucket; None for a run that failed before its plan."""
    if record.evaluation is not None:
        return record.evaluation.decision_uri
    return record.plan.train.definition_uri if record.plan and record.plan.train else None


def _what_serves(record: RunRecord) -> str:
    if record.unverified_seconds is None:
        return "what served before serves on"
    return f"its candidate answered for {record.unverified_seconds:.0f} s at most before what served was put back"


def _subject(record: RunRecord, outcome: RunOutcome) -> str:
    return f"work stalled after {record.failures} failures" if stalled(record) else _SUBJECT[outcome]


def _what_next(record: RunRecord) -> str:
    if record.retry_at is not None:
        return (
            f" (failure {record.failures} of this work; it is tried again at {record.retry_at:%Y-%m-%d %H:%M:%S} UTC)"
        )
    if stalled(record):
        return f" (failure {record.failures} of this work; it waits for new data, a new definition or --force)"
    return ""


def failed_state(record: RunRecord) -> str:
    """Where the run stopped: by its error, else by the first thing its record lacks."""
    error = record.error or TaskError(error="", cause="")
    if error.error in ("PredictionMismatchError", "EndpointFailedError"):
        return _asked_state(record, error)
    if error.error in _STATE:
        return _STATE[error.error]
    if record.plan is None:
        return "Check Idempotency"
    job = _document(error.cause)
    if record.selection is None:
        not_training = "Preprocess Data" if "JobName" in job else "Select Candidate"
        return "Train Candidate" if "TrainingJobName" in job else not_training
    if record.evaluation is None:
        return "Score Model" if "TransformJobName" in job else "Evaluate Model"
    return "Deploy Endpoint" if record.deployment is None else "Promote Champion"


def _asked_state(record: RunRecord, error: TaskError) -> str:
    """Two endpoints may fail or answer otherwise: the live one, and a trial before it."""
    rollout = record.plan.rollout if record.plan else None
    trial = "Trial " if rollout is not None and rollout.trial and record.deployment is None else ""
    if error.error == "PredictionMismatchError" or record.deployment is not None:
        return f"Verify {trial}Endpoint"
    return f"Deploy {trial if TRIAL in error.cause else ''}Endpoint"


def cause_of(error: TaskError) -> str:
    """The reason within a cause: Lambda's errorMessage, a job's FailureReason or ErrorMessage, else the text."""
    document = _document(error.cause)
    for name in ("errorMessage", "FailureReason", "ErrorMessage"):
        if isinstance(reason := document.get(name), str) and reason:
            return reason[:_LONGEST_CAUSE]
    return error.cause[:_LONGEST_CAUSE] or f"{error.error} without a cause"


def _log_of(error: TaskError) -> str:
    """The log group and stream of the job that failed, if a job failed."""
    job = _document(error.cause)
    for name, group in _LOG_GROUP.items():
        if name in job:
            return f"; log group {group}, stream {job.get('Id') or job[name]}"
    return ""


def _document(cause: str) -> dict[str, Any]:
    try:
        document = json.loads(cause)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _numbers(record: RunRecord) -> dict[str, float]:
    numbers = {name: round(seconds, 1) for name, seconds in record.timings.items()}
    named = {f"{name}_seconds": value for name, value in numbers.items()}
    if (evaluation := record.evaluation) is not None:
        scores = {"candidate": evaluation.candidate, "champion": evaluation.champion, "naive": evaluation.naive}
        named |= {f"{evaluation.metric} {name}": value for name, value in scores.items() if value is not None}
        named["threshold"] = evaluation.threshold
    if record.plan is not None:
        named["uploads"] = record.plan.uploads
    if record.verification is not None:
        named["latency_p50_ms"] = record.verification.latency_p50_ms
    return named
