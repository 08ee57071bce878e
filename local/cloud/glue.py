"""The Glue engine in the place of MiniStack's jobs; the Data Catalog and all else of Glue stay MiniStack's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ministack import app
from ministack.services import glue as ministack_glue
from ministack.services.cloudformation import provisioners

from local.cloud import service, tasks
from local.cloud.host import MiniStackHost
from local.cloud.repairs.authority import trusts
from local.cloud.service import Document, Headers, RefusedError, Response
from local.cloud.settings import CloudSettings
from local.glue import GlueEngine, GlueError
from local.glue.api import GLUE
from local.host import Scope

_PRINCIPAL = "glue.amazonaws.com"
_JOB_TYPE = "AWS::Glue::Job"
_RUNS_MODULE = "glue_jobs"
_NAME_LENGTH = 255


def apply(settings: CloudSettings) -> Callable[[], None]:
    """Registers the job actions; what is returned ends their processes."""
    host = MiniStackHost(settings, session_name="GlueJobRunnerSession")
    engine = GlueEngine(host, settings.state / "glue", settings.glue_python)
    adapter = _Adapter(engine)
    app.SERVICE_REGISTRY["glue"] = {**app.SERVICE_REGISTRY["glue"], "sub_modules": (_RUNS_MODULE,)}
    app.SERVICE_HANDLERS["glue"] = adapter.handle
    service.persist(_RUNS_MODULE, engine)
    service.name_resources("glue", adapter.resource_arn)
    _integrate(adapter)
    _provision(adapter)
    return engine.close


class _Adapter:
    """Job actions go to the engine, all others to MiniStack."""

    def __init__(self, engine: GlueEngine) -> None:
        self.engine = engine

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: Any) -> Response:
        """One HTTP request."""
        action = service.action_of(headers)
        if action in self.engine.actions:
            return await service.answer(lambda: self.call(action, service.body_of(body)))
        response: Response = await ministack_glue.handle_request(method, path, headers, body, query)
        return response

    def call(self, action: str, request: Document) -> Document:
        """One job action; a run is refused when Glue could not assume its job's role."""
        scope = service.scope()
        try:
            if action == "StartJobRun":
                self._require_role(scope, request)
            answer = self.engine.call(scope, action, request)
        except GlueError as error:
            raise RefusedError(error.code, error.message, error.status) from error
        if action == "CreateJob" and request.get("Tags"):
            ministack_glue._tags[scope.arn("glue", f"job/{request['Name']}")] = request["Tags"]
        return answer

    def resource_arn(self, _path: str, headers: Headers, body: bytes) -> str | None:
        """The ARN that a policy must name for a job action."""
        action = service.action_of(headers)
        if action not in self.engine.actions:
            return None
        try:
            return self.engine.resource_arn(service.scope(), action, service.body_of(body))
        except RefusedError:
            return "*"

    def _require_role(self, scope: Scope, request: Document) -> None:
        role = self.engine.call(scope, "GetJob", {"JobName": request.get("JobName", "")})["Job"]["Role"]
        role_arn = role if role.startswith("arn:") else f"arn:aws:iam::{scope.account}:role/{role}"
        if not trusts(role_arn, _PRINCIPAL, scope.arn("glue", "*")):
            raise GlueError(
                "InvalidInputException", f"Role {role_arn} should be given assume role permissions for Glue Service."
            )


@dataclass(frozen=True)
class _Run:
    """A job run that a task waits for."""

    adapter: _Adapter
    scope: Scope
    job_name: str
    run_id: str

    def wait(self, timeout: float) -> bool:
        """Whether it has ended, after at most `timeout` seconds."""
        return self.adapter.engine.wait_finished(self.scope, self.job_name, self.run_id, timeout)

    def result(self) -> tuple[bool, Document]:
        """Whether it succeeded, and its description."""
        run = self.adapter.call("GetJobRun", {"JobName": self.job_name, "RunId": self.run_id})["JobRun"]
        return run["JobRunState"] == "SUCCEEDED", run

    def stop(self) -> None:
        """Asks it to end."""
        self.adapter.call("BatchStopJobRun", {"JobName": self.job_name, "JobRunIds": [self.run_id]})


def _integrate(adapter: _Adapter) -> None:
    tasks.register(
        tasks.Integration(
            prefix="arn:aws:states:::glue:",
            model=GLUE.model,
            call=adapter.call,
            job=lambda _, request, answer: _Run(adapter, service.scope(), request["JobName"], answer["JobRunId"]),
            described={"StartJobRun": "JobRun"},
            plain=(),
            error_prefix="Glue",
            base_error="AWSGlueException",
        )
    )


def _provision(adapter: _Adapter) -> None:
    provisioners._RESOURCE_HANDLERS[_JOB_TYPE] = {
        "create": lambda logical_id, properties, stack: _create_job(adapter, logical_id, properties, stack),
        "update": lambda name, old, new, _: _update_job(adapter, name, old, new),
        "delete": lambda name, _: _delete_job(adapter, name),
    }


def _create_job(adapter: _Adapter, logical_id: str, properties: Document, stack: str) -> tuple[str, Document]:
    """Ref is the name."""
    name = properties.get("Name") or provisioners._physical_name(stack, logical_id, max_len=_NAME_LENGTH)
    tags = {"Tags": provisioners._tag_map(properties["Tags"])} if properties.get("Tags") else {}
    shape = GLUE.model.operation_model("CreateJob").input_shape
    service.provisioned(adapter.call, "CreateJob", service.coerced({**properties, **tags, "Name": name}, shape))
    return name, {}


def _update_job(adapter: _Adapter, name: str, old: Document, new: Document) -> tuple[str, Document]:
    definition = {key: value for key, value in new.items() if key not in ("Name", "Tags")}
    update = service.coerced(definition, GLUE.model.shape_for("JobUpdate"))
    service.provisioned(adapter.call, "UpdateJob", {"JobName": name, "JobUpdate": update})
    provisioners._glue_sync_tags(service.scope().arn("glue", f"job/{name}"), old, new, _JOB_TYPE)
    return name, {}


def _delete_job(adapter: _Adapter, name: str) -> None:
    service.provisioned(adapter.call, "DeleteJob", {"JobName": name})
    ministack_glue._tags.pop(service.scope().arn("glue", f"job/{name}"), None)
