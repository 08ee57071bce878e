"""The engine: one call per API action, and the life of everything that runs."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.host import Host, Scope
from local.sagemaker.api import SAGEMAKER
from local.sagemaker.containers import Launcher
from local.sagemaker.context import Context
from local.sagemaker.endpoint_configs import EndpointConfigs
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.invocations import Invocations
from local.sagemaker.jobs import OUTCOMES, Jobs, Outcome
from local.sagemaker.models import Models
from local.sagemaker.registry import ModelPackageGroups, ModelPackages, bare
from local.sagemaker.store import ENDPOINT, KINDS, MODEL_PACKAGE, TRAINING_JOB, TRANSFORM_JOB, Kind, Record, Store
from local.sagemaker.tags import Tags
from local.sagemaker.traffic import Traffic
from local.sagemaker.training import TrainingJobs
from local.sagemaker.transform import TransformJobs

Action = Callable[[Scope, Record], Record]
STOP_GRACE = 120.0
_RESTARTED = "InternalServerError: the service was restarted while the job ran."
_log = logging.getLogger(__name__)


class SageMakerEngine:
    """SageMaker's training, transform, registry and hosting, with processes as containers.

    `directory` holds the working folders, `python` is the container's interpreter. With `warm`, containers are forked
    from a process that has imported the container's libraries already. `speed` divides the waits of deployments.
    """

    def __init__(
        self,
        host: Host,
        directory: Path,
        python: Path,
        *,
        warm: bool = True,
        stop_grace: float = STOP_GRACE,
        speed: float = 1.0,
    ) -> None:
        self._host = host
        self._directory = directory
        self._stop_grace = stop_grace
        self._speed = speed
        directory.mkdir(parents=True, exist_ok=True)
        self._launcher = Launcher(python, directory, warm=warm)
        self._begin()

    @property
    def actions(self) -> frozenset[str]:
        """The API actions that `call` answers."""
        return frozenset(self._actions)

    def call(self, scope: Scope, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to an API call, JSON with times as epoch seconds; raises SageMakerError."""
        if action not in self._actions:
            known = action in SAGEMAKER.model.operation_names
            code, word = (
                ("NotImplemented", "not implemented here") if known else ("UnknownOperationException", "unknown")
            )
            raise SageMakerError(code, f"The action {action} is {word}.", 501 if known else 400)
        return self._actions[action](scope, SAGEMAKER.validate(action, request))

    def invoke_endpoint(
        self, scope: Scope, name: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a prediction; raises SageMakerError (ValidationError, ModelError, 413)."""
        return self._invocations.invoke(scope, name, body, headers)

    def has_variant(self, scope: Scope, endpoint: str, variant: str) -> bool:
        """Whether the endpoint exists and has a production variant of this name."""
        found = self._ctx.store.find(scope, ENDPOINT, endpoint) or {}
        return any(shown["VariantName"] == variant for shown in found.get("ProductionVariants", []))

    def resource_arn(self, scope: Scope, action: str, request: Mapping[str, Any]) -> str:
        """The ARN that an IAM policy must name for this call; `*` for actions without resource-level permission."""
        if action in ("AddTags", "ListTags", "DeleteTags"):
            return str(request.get("ResourceArn", "*"))
        if action.startswith("List"):
            return "*"
        if action == "CreateModelPackage" and "ModelPackageGroupName" in request:
            return MODEL_PACKAGE.arn(scope, f"{bare(str(request['ModelPackageGroupName']))}/*")
        if action == "UpdateModelPackage":
            return str(request.get("ModelPackageArn", "*"))
        # The longest name first: CreateModelPackageGroup is no CreateModel.
        for kind in sorted(KINDS, key=lambda kind: -len(kind.noun)):
            if action.endswith(kind.noun) and kind.name_field in request:
                return kind.arn(scope, bare(str(request[kind.name_field])))
        return "*"

    def finished(self, scope: Scope, action: str, request: Mapping[str, Any]) -> tuple[Outcome, dict[str, Any]]:
        """How the job that `CreateTrainingJob` or `CreateTransformJob` started stands, and its description."""
        jobs, name = self._job(action, request)
        described = self._actions[f"Describe{jobs.kind.noun}"](scope, {jobs.kind.name_field: name})
        return jobs.outcome(scope, name), described

    def wait_finished(self, scope: Scope, action: str, request: Mapping[str, Any], timeout: float) -> bool:
        """Waits until that job has ended; False when it still runs after `timeout` seconds."""
        ctx = self._ctx
        jobs, name = self._job(action, request)
        with ctx.store.locked() as changed:
            return changed.wait_for(lambda: ctx.closed.is_set() or jobs.outcome(scope, name) != "running", timeout)

    def stop(self, scope: Scope, action: str, request: Mapping[str, Any]) -> None:
        """Stops that job; one that has ended already is left as it is."""
        jobs, name = self._job(action, request)
        try:
            self._actions[f"Stop{jobs.kind.noun}"](scope, {jobs.kind.name_field: name})
        except SageMakerError as error:
            _log.info("%s was not stopped: %s", name, error.message)

    def dump(self) -> dict[str, Any]:
        """All records, as JSON can hold them."""
        return self._ctx.store.dump()

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up what `dump` gave: running jobs have failed, endpoints are started again."""
        self.reset()
        self._ctx.store.load(dict(state))
        for kind in (TRAINING_JOB, TRANSFORM_JOB):
            for scope, record in self._ctx.store.everywhere(kind):
                if record[f"{kind.noun}Status"] not in OUTCOMES:
                    self._fail(scope, kind, record)
        self._endpoints.restore()

    def reset(self) -> None:
        """Ends every container and forgets everything."""
        self._end()
        shutil.rmtree(self._directory / "training-job", ignore_errors=True)
        shutil.rmtree(self._directory / "transform-job", ignore_errors=True)
        shutil.rmtree(self._directory / "endpoint", ignore_errors=True)
        self._begin()

    def close(self) -> None:
        """Ends every process that was started."""
        self._end()
        self._launcher.close()

    def _begin(self) -> None:
        self._ctx = Context(self._host, Store(), self._launcher, self._directory, self._stop_grace, self._speed)
        packages = ModelPackages(self._ctx)
        models = Models(self._ctx, packages)
        configs = EndpointConfigs(self._ctx, models)
        self._training = TrainingJobs(self._ctx)
        self._transform = TransformJobs(self._ctx, models)
        traffic = Traffic()
        self._endpoints = Endpoints(self._ctx, configs, traffic)
        self._invocations = Invocations(self._ctx, traffic)
        parts = (
            self._training,
            self._transform,
            models,
            packages,
            ModelPackageGroups(self._ctx),
            configs,
            self._endpoints,
            Tags(self._ctx),
        )
        self._actions: dict[str, Action] = {name: function for part in parts for name, function in part.actions.items()}

    def _end(self) -> None:
        self._ctx.closed.set()
        with self._ctx.store.locked() as changed:
            changed.notify_all()
        self._launcher.end_all()
        self._endpoints.close()
        self._ctx.join(timeout=10)

    def _job(self, action: str, request: Mapping[str, Any]) -> tuple[Jobs, str]:
        if action == "CreateTrainingJob":
            return self._training.jobs, str(request["TrainingJobName"])
        if action == "CreateTransformJob":
            return self._transform.jobs, str(request["TransformJobName"])
        raise invalid(f"{action} starts no job.")

    def _fail(self, scope: Scope, kind: Kind, record: Record) -> None:
        fields: Record = {f"{kind.noun}Status": "Failed", "FailureReason": _RESTARTED, "LastModifiedTime": time.time()}
        if kind is TRAINING_JOB:
            fields["SecondaryStatus"] = "Failed"
        self._ctx.store.update(scope, kind, record[kind.name_field], **fields)
