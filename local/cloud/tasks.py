"""Step Functions' optimized integrations with our engines, `.sync` included."""

import json
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.model import OperationModel, ServiceModel, Shape
from ministack.services import stepfunctions

from local.cloud.repairs.patching import Function, replace
from local.cloud.service import Document, RefusedError

# How often a waiting task looks whether its execution was stopped; the job's end wakes it at once.
_ABORT_CHECK_SECONDS = 0.1
_execution: ContextVar[str] = ContextVar("step_functions_execution", default="")


class Job(Protocol):
    """Something a `.sync` task waits for."""

    def wait(self, timeout: float) -> bool:
        """Whether it has ended, after at most `timeout` seconds."""

    def result(self) -> tuple[bool, Document]:
        """Whether it succeeded, and its description."""

    def stop(self) -> None:
        """Asks it to end."""


@dataclass(frozen=True)
class Integration:
    """One service's integration.

    `described` names, for each action that may be waited for, the model's shape of what such a task answers; `plain`
    are the actions that may only be called. Errors that the model does not define are `base_error`.
    """

    prefix: str
    model: ServiceModel
    call: Callable[[str, Document], Document]
    job: Callable[[str, Document, Document], Job]
    described: Mapping[str, str]
    plain: Collection[str]
    error_prefix: str
    base_error: str

    def run(self, resource: str, request: Any) -> Document:
        """A task of `arn:aws:states:::<service>:<action>[.sync]`."""
        name, _, pattern = resource.removeprefix(self.prefix).partition(".")
        action = name[:1].upper() + name[1:]
        patterns: dict[str, Collection[str]] = {"": {*self.plain, *self.described}, "sync": self.described}
        if action not in patterns.get(pattern, ()):
            raise stepfunctions._ExecutionError("States.Runtime", f"The resource {resource} is not supported.")
        _end_if_aborted()
        try:
            answer = self.call(action, request)
        except RefusedError as refusal:
            raise stepfunctions._ExecutionError(self._error_name(action, refusal.code), refusal.message) from refusal
        if not pattern:
            return _in_milliseconds(answer, self.model.operation_model(action).output_shape)
        return self._await(self.job(action, request, answer), self.model.shape_for(self.described[action]))

    def _await(self, job: Job, described: Shape) -> Document:
        while not job.wait(_ABORT_CHECK_SECONDS):
            if _aborted():
                stop_job(job)
                raise Aborted
        succeeded, description = job.result()
        document = _in_milliseconds(description, described)
        if not succeeded:
            raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(document))
        return document

    def _error_name(self, action: str, code: str) -> str:
        """The exception's class in the SDK that Step Functions uses: modelled errors have one of their own."""
        name = code if code.endswith("Exception") else f"{code}Exception"
        return f"{self.error_prefix}.{name if _models(self.model.operation_model(action), code) else self.base_error}"


class Aborted(SystemExit):
    """Ends the threads of an execution that was stopped: no state catches it, and a thread ends on it silently."""


def stop_job(job: Job) -> None:
    """What becomes of the job of an execution that was stopped."""
    job.stop()


def apply() -> None:
    """Lets tasks know their execution, and keeps a stopped execution stopped."""
    replace(stepfunctions, "_run_execution", "(exec_arn)", _known_to_its_tasks)
    replace(stepfunctions, "_fail_execution", "(execution, error, cause)", _unless_ended)


def register(integration: Integration) -> None:
    """Adds the integration to those that Step Functions finds by prefix."""
    stepfunctions._SERVICE_DISPATCH[integration.prefix] = integration.run


def _known_to_its_tasks(original: Function) -> Function:
    def run(exec_arn: str) -> None:
        token = _execution.set(exec_arn)
        try:
            original(exec_arn)
        except Aborted:
            return
        finally:
            _execution.reset(token)

    return run


def _unless_ended(original: Function) -> Function:
    def fail(execution: Document, error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            original(execution, error, cause)

    return fail


def _aborted() -> bool:
    execution = stepfunctions._executions.get(_execution.get())
    return execution is not None and execution["status"] != "RUNNING"


def _end_if_aborted() -> None:
    if _aborted():
        raise Aborted


def _models(operation: OperationModel, code: str) -> bool:
    return any(code in (shape.name, shape.metadata.get("error", {}).get("code")) for shape in operation.error_shapes)


def _in_milliseconds(answer: Document, shape: Shape | None) -> Document:
    """The answer as Step Functions shows it: times are milliseconds since the epoch."""
    shown: Document = _shown(answer, shape)
    return shown


def _shown(value: Any, shape: Shape | None) -> Any:
    if shape is None or value is None:
        return value
    if shape.type_name == "structure":
        members = shape.members  # type: ignore[attr-defined]
        return {name: _shown(item, members.get(name)) for name, item in value.items()}
    if shape.type_name == "list":
        return [_shown(item, shape.member) for item in value]  # type: ignore[attr-defined]
    if shape.type_name == "timestamp":
        return round(value * 1000)
    return value
