"""Batch transform jobs: a serving container answers for every record below an S3 prefix."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zlib import crc32

from local.host import Scope
from local.sagemaker import s3
from local.sagemaker.context import Context, milliseconds
from local.sagemaker.errors import invalid
from local.sagemaker.hosting import STARTUP_TIMEOUT, HostingError, ModelFolder, ModelServer, ModelSpec
from local.sagemaker.jobs import Job, JobFailedError, Jobs, folder, internal, reason, require_one_instance
from local.sagemaker.jsonpath import PathError
from local.sagemaker.listing import page, summary
from local.sagemaker.models import Models
from local.sagemaker.records import Cutter, Joiner
from local.sagemaker.store import TRANSFORM_JOB, Record

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_MOST_IN_FLIGHT_MB = 100
_EVENT_FIELDS = (
    "TransformJobName",
    "TransformJobArn",
    "TransformJobStatus",
    "FailureReason",
    "ModelName",
    "MaxConcurrentTransforms",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "TransformResources",
)
_EVENT_TIMES = ("CreationTime", "TransformStartTime", "TransformEndTime")


class TransformJobs:
    """CreateTransformJob and what belongs to it."""

    def __init__(self, ctx: Context, models: Models) -> None:
        self._ctx = ctx
        self._models = models
        self.jobs = Jobs(ctx, TRANSFORM_JOB)
        self.actions = {
            "CreateTransformJob": self.create,
            "DescribeTransformJob": self.describe,
            "ListTransformJobs": self.list_page,
            "StopTransformJob": self.stop,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Checks the request and starts the job on a thread of its own."""
        _refuse_unsupported(request)
        spec = self._models.spec(scope, request["ModelName"])
        name, now = request["TransformJobName"], time.time()
        fields = {field: value for field, value in request.items() if field != "Tags"}
        record = {**fields, "TransformJobStatus": "InProgress", "CreationTime": now, "LastModifiedTime": now}
        arn = self._ctx.store.add(scope, TRANSFORM_JOB, name, record, request.get("Tags"))
        job = self.jobs.open(scope, name)
        self._ctx.run(TransformRun(self._ctx, scope, fields, spec=spec, job=job, jobs=self.jobs).run)
        return {"TransformJobArn": arn}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        record = self._ctx.store.get(scope, TRANSFORM_JOB, request["TransformJobName"])
        del record["LastModifiedTime"]
        return record

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        records = self._ctx.store.all(scope, TRANSFORM_JOB)
        found, more = page(records, request, name="TransformJobName", status="TransformJobStatus")
        fields = ("TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime")
        summaries = [summary(record, *fields, "TransformJobStatus", "FailureReason") for record in found]
        return {"TransformJobSummaries": summaries, **more}

    def stop(self, scope: Scope, request: Record) -> Record:
        """Ends the container; outputs already written stay."""
        name = request["TransformJobName"]
        if self.jobs.stop(scope, name):
            move(self._ctx, scope, name, "Stopping")
        return {}


class TransformRun:
    """One job, from its container's start to its last output."""

    def __init__(self, ctx: Context, scope: Scope, request: Record, *, spec: ModelSpec, job: Job, jobs: Jobs) -> None:
        self._ctx = ctx
        self._scope = scope
        self._request = request
        self._spec = spec
        self._job = job
        self._jobs = jobs
        self._name: str = request["TransformJobName"]
        self._base = folder(ctx, scope, TRANSFORM_JOB, self._name)
        self._cutter = Cutter(request)
        self._joiner = Joiner(request)
        client_config = request.get("ModelClientConfig", {})
        self._timeout: int = client_config.get("InvocationsTimeoutInSeconds", 600)
        self._retries: int = client_config.get("InvocationsMaxRetries", 3)

    def run(self) -> None:
        """Ends in Completed, Stopped or Failed, whatever happens."""
        move(self._ctx, self._scope, self._name, "InProgress", TransformStartTime=time.time())
        failure = self._failure()
        status = "Stopped" if self._job.stopping.is_set() else "Failed" if failure else "Completed"
        if status == "Failed":
            self._ctx.log(self._scope, LOG_GROUP, f"{self._stream}/data-log", failure.splitlines())
        shutil.rmtree(self._base, ignore_errors=True)
        told = {"FailureReason": reason(failure)} if status == "Failed" else {}
        move(self._ctx, self._scope, self._name, status, TransformEndTime=time.time(), **told)
        self._jobs.close(self._scope, self._name)

    def _failure(self) -> str:
        try:
            self._transform()
        except s3.DataError as error:
            return f"ClientError: {error}"
        except JobFailedError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the job must not stay InProgress
            return internal(error, self._name)
        return ""

    def _transform(self) -> None:
        shutil.rmtree(self._base, ignore_errors=True)
        client = self._ctx.host.client(self._scope, "s3", self._spec.role_arn)
        objects = s3.find(client, self._request["TransformInput"]["DataSource"]["S3DataSource"])
        model = ModelFolder(self._ctx, self._scope, self._spec, self._base)
        server = ModelServer(self._ctx, self._scope, model, extra=self._environment())
        self._job.attach(server.container)
        shipped = self._ctx.ship_logs(self._scope, server.container, LOG_GROUP, self._stream)
        try:
            self._wait_ready(server)
            for uri, relative in objects:
                self._transform_object(client, server, uri, relative)
        finally:
            server.close()
            shipped.join()

    def _wait_ready(self, server: ModelServer) -> None:
        try:
            server.wait_ready(STARTUP_TIMEOUT)
        except HostingError as error:
            tail = server.container.tail(700)
            raise JobFailedError(
                f"AlgorithmError: The container did not pass the ping health check: {error}\n{tail}"
            ) from error

    def _transform_object(self, client: Any, server: ModelServer, uri: str, relative: str) -> None:
        try:
            batches = list(self._cutter.batches(s3.read(client, uri)))
            with ThreadPoolExecutor(self._request.get("MaxConcurrentTransforms") or 1) as pool:
                parts = list(pool.map(lambda batch: self._answered(server, batch, relative), batches))
        except s3.DataError as error:
            raise s3.DataError(f"{relative}: {error}") from error
        target = s3.join(self._request["TransformOutput"]["S3OutputPath"], f"{relative}.out")
        s3.upload(client, target, b"".join(parts))

    def _answered(self, server: ModelServer, batch: list[bytes], relative: str) -> bytes:
        body = self._joiner.body(batch)
        for attempt in range(self._retries + 1):
            try:
                answer = server.invoke(body, dict(self._headers()), self._timeout)
            except HostingError as error:
                problem = f"AlgorithmError: {relative}: no answer from the container: {error}"
            else:
                if answer.status < 400:
                    return self._joiner.results(batch, answer.body)
                blame = "ClientError" if answer.status < 500 else "AlgorithmError"
                problem = (
                    f"{blame}: {relative}: {answer.status} from the container: {answer.body.decode(errors='replace')}"
                )
                if answer.status < 500:
                    break
            if attempt == self._retries or self._job.stopping.is_set() or server.container.code is not None:
                break
        raise JobFailedError(problem)

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield "Content-Type", self._request["TransformInput"].get("ContentType") or "application/octet-stream"
        if accept := self._request["TransformOutput"].get("Accept"):
            yield "Accept", accept

    def _environment(self) -> dict[str, str]:
        return {"SAGEMAKER_BATCH": "true", **self._request.get("Environment", {})}

    @property
    def _stream(self) -> str:
        return f"{self._name}/i-{crc32(self._name.encode()):017x}"


def move(ctx: Context, scope: Scope, name: str, status: str, **fields: Any) -> None:
    """Writes a job's next status and tells the world."""
    record = ctx.store.update(
        scope, TRANSFORM_JOB, name, TransformJobStatus=status, LastModifiedTime=time.time(), **fields
    )
    detail = summary(record, *_EVENT_FIELDS)
    detail.update({field: milliseconds(record[field]) for field in _EVENT_TIMES if field in record})
    detail["Tags"] = ctx.store.tags(record["TransformJobArn"])
    ctx.emit(scope, "Transform Job", record["TransformJobArn"], detail)


def _refuse_unsupported(request: Record) -> None:
    """What AWS refuses, and what the API knows and this engine does not do."""
    source = request["TransformInput"]
    payload, concurrent = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms", 1)
    if payload > _MOST_IN_FLIGHT_MB or payload * concurrent > _MOST_IN_FLIGHT_MB:
        raise invalid(
            f"MaxPayloadInMB ({payload}) times MaxConcurrentTransforms ({concurrent}) "
            f"must not exceed {_MOST_IN_FLIGHT_MB} MB."
        )
    if source["DataSource"]["S3DataSource"]["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise invalid("TransformInput must be of type S3Prefix or ManifestFile.")
    if source.get("SplitType", "None") not in ("None", "Line"):
        raise invalid(f"SplitType {source['SplitType']} is not supported here: use Line or None.")
    if (
        "BatchStrategy" in request
        and source.get("SplitType", "None") == "None"
        and request["BatchStrategy"] == "MultiRecord"
    ):
        raise invalid("BatchStrategy MultiRecord needs a SplitType: set SplitType to Line.")
    require_one_instance(request["TransformResources"], "transform")
    try:
        Joiner(request)
    except PathError as error:
        raise invalid(f"DataProcessing: {error}.") from error
