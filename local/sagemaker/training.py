"""Training jobs: a script runs under the container contract (/opt/ml, SM_* variables) with data from S3."""

import contextlib
import json
import math
import os
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
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.jobs import OUTCOMES, Job, JobFailedError, Jobs, folder, internal, reason, require_role
from local.sagemaker.listing import page, summary
from local.sagemaker.store import TRAINING_JOB, Record

HOST = "algo-1"
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
        self._hyperparameters = {name: _unquoted(value) for name, value in request.get("HyperParameters", {}).items()}
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
        s3.extract(client, self._hyperparameters["sagemaker_submit_directory"], self._base / "code")

    def _execute(self) -> tuple[Container, bool]:
        environment, arguments = self._contract()
        script = self._base / "code" / self._hyperparameters["sagemaker_program"]
        if not script.is_file():
            raise JobFailedError(f"AlgorithmError: {script.name} is not in sagemaker_submit_directory")
        container = self._ctx.start(
            [str(script), *arguments],
            cwd=self._base / "code",
            env=environment,
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

    def _contract(self) -> tuple[dict[str, str], list[str]]:
        """The variables and arguments of sagemaker-training-toolkit; writes the files of input/config."""
        base, user = str(self._base), _of_the_user(self._hyperparameters)
        channels = {channel["ChannelName"]: _channel(channel) for channel in self._request.get("InputDataConfig", [])}
        resources = {
            "current_host": HOST,
            "hosts": [HOST],
            "current_instance_type": self._request["ResourceConfig"].get("InstanceType", ""),
            "current_group_name": "homogeneousCluster",
            "network_interface_name": "eth0",
        }
        written = {
            "hyperparameters": self._request.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": resources,
        }
        for file, content in written.items():
            (self._base / "input/config" / f"{file}.json").write_text(json.dumps(content))
        arguments = _arguments(user)
        program = self._hyperparameters["sagemaker_program"]
        module = program.removesuffix(".py")
        facts = {
            "hosts": [HOST],
            "current_host": HOST,
            "current_instance_type": resources["current_instance_type"],
            "network_interface_name": "eth0",
            "hps": user,
            "user_args": arguments,
            "user_entry_point": program,
            "framework_params": {},
            "framework_module": "",
            "resource_config": resources,
            "input_data_config": channels,
            "channels": sorted(channels),
            "module_name": module,
            "module_dir": self._hyperparameters["sagemaker_submit_directory"],
            "log_level": 20,
            "num_cpus": os.cpu_count() or 1,
            "num_gpus": 0,
            "input_dir": f"{base}/input",
            "input_config_dir": f"{base}/input/config",
            "model_dir": f"{base}/model",
            "output_dir": f"{base}/output",
            "output_data_dir": f"{base}/output/data",
            "output_intermediate_dir": f"{base}/output/intermediate",
            **{f"channel_{name}": f"{base}/input/data/{name}" for name in channels},
            **{f"hp_{name}": value for name, value in user.items()},
        }
        environment = {
            **base_environment(),
            "HOME": base,
            **self._ctx.host.environment(self._scope, self._request["RoleArn"]),
            "SAGEMAKER_BASE_DIR": base,
            "SAGEMAKER_REGION": self._scope.region,
            "TRAINING_JOB_NAME": self._name,
            "TRAINING_JOB_ARN": TRAINING_JOB.arn(self._scope, self._name),
            "CURRENT_HOST": HOST,
            **{f"SM_{name.upper()}": _text(value) for name, value in facts.items()},
            "SM_TRAINING_ENV": _text(facts),
            **self._request.get("Environment", {}),
        }
        return environment, arguments

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
    hyperparameters = request.get("HyperParameters", {})
    if not {"sagemaker_program", "sagemaker_submit_directory"} <= hyperparameters.keys():
        raise invalid(
            "Only script mode runs here: HyperParameters must name sagemaker_program and sagemaker_submit_directory."
        )
    for definition in request["AlgorithmSpecification"].get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise invalid(f"The regular expression of metric {definition['Name']} is not valid: {error}.") from error
    count, kind = request["ResourceConfig"].get("InstanceCount", 1), request["ResourceConfig"].get("InstanceType")
    if count > 1:
        raise SageMakerError(
            "ResourceLimitExceeded",
            f"The account-level service limit '{kind} for training job usage' is 1 Instances, with current utilization "
            f"of 0 Instances and a request delta of {count} Instances.",
        )
    modes = [request["AlgorithmSpecification"]["TrainingInputMode"]]
    modes += [channel["InputMode"] for channel in request.get("InputDataConfig", []) if "InputMode" in channel]
    if "Pipe" in modes:
        raise invalid("Input mode Pipe is not supported here: use File or FastFile.")
    for channel in request.get("InputDataConfig", []):
        if channel["DataSource"].get("S3DataSource", {}).get("S3DataType") not in ("S3Prefix", "ManifestFile"):
            raise invalid(
                f"Channel {channel['ChannelName']} must have an S3DataSource of type S3Prefix or ManifestFile."
            )
    if "CheckpointConfig" in request:
        raise invalid("CheckpointConfig is not supported here.")
    if request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        raise invalid("OutputDataConfig.CompressionType NONE is not supported here.")


def _unquoted(value: str) -> Any:
    """A hyperparameter as the toolkit reads it: JSON where it is JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _of_the_user(hyperparameters: Record) -> Record:
    return {name: value for name, value in hyperparameters.items() if not name.startswith("sagemaker_")}


def _arguments(hyperparameters: Record) -> list[str]:
    """`--name value` in the order of names, a one-letter name with one dash."""
    result = []
    for name, value in sorted(hyperparameters.items()):
        pairs = ",".join(f"{key}={item}" for key, item in sorted(value.items())) if isinstance(value, dict) else value
        result += [f"--{name}" if len(name) > 1 else f"-{name}", str(pairs)]
    return result


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _channel(channel: Record) -> Record:
    """A channel as input/config/inputdataconfig.json has it."""
    source = channel["DataSource"]["S3DataSource"]
    return {
        "TrainingInputMode": "File",
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
    }
