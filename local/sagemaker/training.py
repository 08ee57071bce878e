"""Training jobs: a script runs under the container contract (/opt/ml, SM_* variables) with data from S3."""

import contextlib
import math
import re
import shutil
import signal
import time
from collections.abc import Mapping
from typing import Any

from local.host import Scope
from local.sagemaker import s3
from local.sagemaker.containers import Container, base_environment
from local.sagemaker.context import Context, milliseconds
from local.sagemaker.contract import HOST, SCRIPT_MODE, arguments, prepare, program, source_directory
from local.sagemaker.errors import invalid
from local.sagemaker.jobs import (
    OUTCOMES,
    Job,
    JobFailedError,
    Jobs,
    folder,
    internal,
    reason,
    require_one_instance,
    require_role,
)
from local.sagemaker.listing import page, summary
from local.sagemaker.store import TRAINING_JOB, Record

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_DAY = 86_400
_MESSAGES = {
    "Starting": "Launching requested ML instances",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}
_EVENT_FIELDS = (
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "FailureReason",
    "ModelArtifacts",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
)
_EVENT_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime")


class TrainingJobs:
    """CreateTrainingJob and what belongs to it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.jobs = Jobs(ctx, TRAINING_JOB)
        self.actions = {
            "CreateTrainingJob": self.create,
            "DescribeTrainingJob": self.describe,
            "ListTrainingJobs": self.list_page,
            "StopTrainingJob": self.stop,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Checks the request and starts the job on a thread of its own."""
        _refuse_unsupported(request)
        require_role(self._ctx, scope, request["RoleArn"])
        name, now = request["TrainingJobName"], time.time()
        fields = {field: value for field, value in request.items() if field != "Tags"}
        record = {
            **fields,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "SecondaryStatusTransitions": [],
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        arn = self._ctx.store.add(scope, TRAINING_JOB, name, record, request.get("Tags"))
        job = self.jobs.open(scope, name)
        self._ctx.run(TrainingRun(self._ctx, scope, fields, job=job, jobs=self.jobs).run)
        return {"TrainingJobArn": arn}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, TRAINING_JOB, request["TrainingJobName"])

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        records = self._ctx.store.all(scope, TRAINING_JOB)
        found, more = page(records, request, name="TrainingJobName", status="TrainingJobStatus", descending=False)
        fields = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime")
        summaries = [summary(record, *fields, "TrainingJobStatus", "SecondaryStatus") for record in found]
        return {"TrainingJobSummaries": summaries, **more}

    def stop(self, scope: Scope, request: Record) -> Record:
        """SIGTERM now, SIGKILL after the grace period; what the script has saved by then is uploaded."""
        name = request["TrainingJobName"]
        if self.jobs.stop(scope, name):
            move(self._ctx, scope, name, "Stopping", status="Stopping")
        return {}


class TrainingRun:
    """One job, from its first download to its last upload."""

    def __init__(self, ctx: Context, scope: Scope, request: Record, *, job: Job, jobs: Jobs) -> None:
        self._ctx = ctx
        self._scope = scope
        self._request = request
        self._job = job
        self._jobs = jobs
        self._name: str = request["TrainingJobName"]
        self._base = folder(ctx, scope, TRAINING_JOB, self._name)
        self._started = time.time()

    def run(self) -> None:
        """Ends in Completed, Stopped or Failed, whatever happens."""
        try:
            final = self._train()
        except s3.DataError as error:
            final = {"end": "Failed", "FailureReason": reason(f"ClientError: {error}")}
        except JobFailedError as error:
            final = {"end": "Failed", "FailureReason": reason(str(error))}
        except Exception as error:  # noqa: BLE001 - the job must not stay InProgress
            final = {"end": "Failed", "FailureReason": internal(error, self._name)}
        shutil.rmtree(self._base, ignore_errors=True)
        ended = time.time()
        seconds = max(1, math.ceil(ended - self._started))
        times = {"TrainingEndTime": ended, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        self._move(final.pop("end"), **times, **final)
        self._jobs.close(self._scope, self._name)

    def _train(self) -> Record:
        self._move("Starting")
        shutil.rmtree(self._base, ignore_errors=True)
        for part in ("input/config", "input/data", "model", "output/data", "code"):
            (self._base / part).mkdir(parents=True)
        self._started = time.time()
        self._move("Downloading", TrainingStartTime=self._started)
        client = self._ctx.host.client(self._scope, "s3", self._request["RoleArn"])
        self._download(client)
        if self._job.stopping.is_set():
            return {"end": "Stopped"}
        self._move("Training")
        container, overtime = self._execute()
        self._upload(client, "output/data", "output.tar.gz")
        stopped = "MaxRuntimeExceeded" if overtime else "Stopped" if self._job.stopping.is_set() else None
        if container.code and not stopped:
            raise JobFailedError(self._failure(container))
        self._move("Uploading")
        artefact = self._upload(client, "model", "model.tar.gz", always=True)
        metrics = self._metrics(container)
        return {
            "end": stopped or "Completed",
            "ModelArtifacts": {"S3ModelArtifacts": artefact},
            **({"FinalMetricDataList": metrics} if metrics else {}),
        }

    def _download(self, client: Any) -> None:
        for channel in self._request.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            try:
                s3.download_all(client, source, self._base / "input/data" / channel["ChannelName"])
            except s3.DataError as error:
                raise s3.DataError(f"Data download failed:{error}") from error
        s3.extract(client, source_directory(self._request), self._base / "code")

    def _execute(self) -> tuple[Container, bool]:
        script = self._base / "code" / program(self._request)
        if not script.is_file():
            raise JobFailedError(f"AlgorithmError: {script.name} is not in sagemaker_submit_directory")
        container = self._ctx.start(
            [str(script), *arguments(self._request)],
            cwd=self._base / "code",
            env=self._environment(),
            log=self._base / "output/log",
        )
        stream = f"{self._name}/{HOST}-{int(self._started)}"
        shipped = self._ctx.ship_logs(self._scope, container, LOG_GROUP, stream)
        self._job.attach(container)
        limit = self._request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DAY)
        overtime = container.wait(limit) is None
        if overtime:
            container.stop(self._ctx.stop_grace)
        shipped.join()
        return container, overtime

    def _environment(self) -> dict[str, str]:
        return {
            **base_environment(),
            "HOME": str(self._base),
            **self._ctx.host.environment(self._scope, self._request["RoleArn"]),
            **prepare(self._request, self._scope, self._base),
            **self._request.get("Environment", {}),
        }

    def _failure(self, container: Container) -> str:
        with contextlib.suppress(FileNotFoundError):
            written = (self._base / "output/failure").read_text(errors="replace").strip()
            return f"AlgorithmError: {written[:900]}, exit code: {container.code}"
        code = container.code or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code: {code}"
        return f'AlgorithmError: ExecuteUserScriptError:\nErrorMessage "{container.tail(800)}"\n{cause}'

    def _upload(self, client: Any, part: str, archive: str, *, always: bool = False) -> str | None:
        source = self._base / part
        if not always and not any(source.iterdir()):
            return None
        uri = s3.join(self._request["OutputDataConfig"]["S3OutputPath"], self._name, "output", archive)
        s3.upload_folder(client, source, self._base / archive, uri)
        return uri

    def _metrics(self, container: Container) -> list[Record]:
        """The last value of each metric that the job's output shows."""
        text = container.log.read_text(errors="replace")
        found = []
        for definition in self._request["AlgorithmSpecification"].get("MetricDefinitions", []):
            values = list(re.finditer(definition["Regex"], text))
            with contextlib.suppress(ValueError, IndexError):
                value = float(values[-1].group(1))
                found.append({"MetricName": definition["Name"], "Value": value, "Timestamp": time.time()})
        return found

    def _move(self, secondary: str, **fields: Any) -> None:
        status = {"MaxRuntimeExceeded": "Stopped"}.get(secondary, secondary)
        if status not in OUTCOMES:
            status = "Stopping" if self._job.stopping.is_set() else "InProgress"
        move(self._ctx, self._scope, self._name, secondary, status=status, **fields)


def move(ctx: Context, scope: Scope, name: str, secondary: str, *, status: str, **fields: Any) -> None:
    """Writes a job's next secondary status into its history and tells the world."""
    now = time.time()
    with ctx.store.locked():
        transitions = ctx.store.get(scope, TRAINING_JOB, name)["SecondaryStatusTransitions"]
        if transitions:
            transitions[-1]["EndTime"] = now
        entry = {"Status": secondary, "StartTime": now, "StatusMessage": _message(secondary, fields)}
        if status in OUTCOMES:
            entry["EndTime"] = now
        record = ctx.store.update(
            scope,
            TRAINING_JOB,
            name,
            TrainingJobStatus=status,
            SecondaryStatus=secondary,
            SecondaryStatusTransitions=[*transitions, entry],
            LastModifiedTime=now,
            **fields,
        )
    detail = summary(record, *_EVENT_FIELDS)
    detail.update({field: milliseconds(record[field]) for field in _EVENT_TIMES if field in record})
    detail["SecondaryStatusTransitions"] = [
        {**step, **{end: milliseconds(step[end]) for end in ("StartTime", "EndTime") if end in step}}
        for step in record["SecondaryStatusTransitions"]
    ]
    detail["Tags"] = ctx.store.tags(record["TrainingJobArn"])
    ctx.emit(scope, "Training Job", record["TrainingJobArn"], detail)


def _message(secondary: str, fields: Mapping[str, Any]) -> str:
    return str(fields.get("FailureReason", _MESSAGES.get(secondary, "")))


def _refuse_unsupported(request: Record) -> None:
    """What the API knows and this engine does not do is refused, not ignored."""
    for needed in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if needed not in request:
            raise invalid(f"{needed} is required for a training job.")
    if not request.get("HyperParameters", {}).keys() >= SCRIPT_MODE:
        raise invalid(f"Only script mode runs here: HyperParameters must name {' and '.join(sorted(SCRIPT_MODE))}.")
    if "CheckpointConfig" in request:
        raise invalid("CheckpointConfig is not supported here.")
    if request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        raise invalid("OutputDataConfig.CompressionType NONE is not supported here.")
    _check_metrics(request["AlgorithmSpecification"].get("MetricDefinitions", []))
    _check_inputs(request["AlgorithmSpecification"]["TrainingInputMode"], request.get("InputDataConfig", []))
    require_one_instance(request["ResourceConfig"], "training")


def _check_metrics(definitions: list[Record]) -> None:
    for definition in definitions:
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise invalid(f"The regular expression of metric {definition['Name']} is not valid: {error}.") from error


def _check_inputs(mode: str, channels: list[Record]) -> None:
    if "Pipe" in (mode, *(channel.get("InputMode") for channel in channels)):
        raise invalid("Input mode Pipe is not supported here: use File or FastFile.")
    for channel in channels:
        if channel["DataSource"].get("S3DataSource", {}).get("S3DataType") not in ("S3Prefix", "ManifestFile"):
            name = channel["ChannelName"]
            raise invalid(f"Channel {name} must have an S3DataSource of type S3Prefix or ManifestFile.")
