"""What training and transform jobs have in common: a life with an end, and a way to end it early."""

import logging
import threading
from pathlib import Path
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from local.host import Scope
from local.sagemaker.containers import Container
from local.sagemaker.context import Context
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.store import Kind, Record

Outcome = Literal["running", "succeeded", "failed"]
OUTCOMES: dict[str, Outcome] = {"Completed": "succeeded", "Failed": "failed", "Stopped": "failed"}
REASON_LENGTH = 1024
_log = logging.getLogger(__name__)


class JobFailedError(Exception):
    """A job's end, in the words of its FailureReason."""


class Job:
    """The container of a running job, and whether someone asked it to stop."""

    def __init__(self, kind: Kind, name: str) -> None:
        self.kind = kind
        self.name = name
        self._lock = threading.Lock()
        self._container: Container | None = None
        self.stopping = threading.Event()

    def attach(self, container: Container) -> None:
        """From now on a stop ends this container; one that was asked for before ends it now."""
        with self._lock:
            self._container = container
        if self.stopping.is_set():
            container.stop(0)

    def stop(self, grace: float) -> None:
        """Asks the container to end and ends it after the grace period."""
        self.stopping.set()
        with self._lock:
            container = self._container
        if container:
            container.stop(grace)


class Jobs:
    """Running jobs of one kind by scope and name."""

    def __init__(self, ctx: Context, kind: Kind) -> None:
        self._ctx = ctx
        self.kind = kind
        self._jobs: dict[tuple[Scope, str], Job] = {}
        self._status = f"{kind.noun}Status"

    def open(self, scope: Scope, name: str) -> Job:
        """A new job's handle."""
        job = self._jobs[scope, name.lower()] = Job(self.kind, name)
        return job

    def close(self, scope: Scope, name: str) -> None:
        """The job has ended."""
        self._jobs.pop((scope, name.lower()), None)

    def outcome(self, scope: Scope, name: str) -> Outcome:
        """How the job stands; cheap."""
        return OUTCOMES.get(self._ctx.store.value(scope, self.kind, name, self._status), "running")

    def stop(self, scope: Scope, name: str) -> Job | None:
        """The handle of a job that still runs and is now stopping; raises when it has already ended."""
        with self._ctx.store.locked():
            status = self._ctx.store.get(scope, self.kind, name)[self._status]
            job = self._jobs.get((scope, name.lower()))
            if status in OUTCOMES or job is None:
                raise invalid(f"The request was rejected because the {self._word} is in status {status}.")
            if status == "Stopping":
                return None
            job.stopping.set()
            changed: Record = {self._status: "Stopping"}
            self._ctx.store.update(scope, self.kind, name, **changed)
        self._ctx.run(job.stop, self._ctx.stop_grace)
        return job

    @property
    def _word(self) -> str:
        return self.kind.resource.replace("-", " ")


def folder(ctx: Context, scope: Scope, kind: Kind, name: str) -> Path:
    """A job's or endpoint's own folder, which stands for /opt/ml."""
    return ctx.directory / kind.resource / scope.account / scope.region / name


def require_role(ctx: Context, scope: Scope, role_arn: str) -> None:
    """Raises AWS's complaint when the service cannot act as the role."""
    try:
        ctx.host.environment(scope, role_arn)
    except (ClientError, BotoCoreError) as error:
        raise invalid(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'sagemaker.amazonaws.com' to assume the role. ({error})"
        ) from error


def require_one_instance(resources: Record, usage: str) -> None:
    """There is one machine: a second instance is beyond the account's limit."""
    if (count := resources.get("InstanceCount", 1)) > 1:
        raise SageMakerError(
            "ResourceLimitExceeded",
            f"The account-level service limit '{resources.get('InstanceType')} for {usage} job usage' is 1 Instances, "
            f"with current utilization of 0 Instances and a request delta of {count} Instances.",
        )


def reason(text: str) -> str:
    """At most what a FailureReason holds."""
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"


def internal(error: Exception, what: str) -> str:
    """The FailureReason of our own mistakes, which are logged."""
    _log.exception("%s failed", what)
    return reason(f"InternalServerError: We encountered an internal error. Please try again. ({error!r})")
