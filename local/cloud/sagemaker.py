"""The SageMaker engine as a service of MiniStack: routing, IAM, Step Functions, CloudFormation."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ministack import app
from ministack.core import iam_actions, iam_evaluator, router
from ministack.core.responses import get_region
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from local.autoscaling import AutoScalingEngine
from local.cloud import autoscaling, service, tasks
from local.cloud.host import MiniStackHost
from local.cloud.repairs.authority import trusts
from local.cloud.service import Document, Headers, RefusedError, Response
from local.cloud.settings import CloudSettings
from local.host import Scope
from local.sagemaker import SageMakerEngine, SageMakerError
from local.sagemaker.api import SAGEMAKER

_PRINCIPAL = "sagemaker.amazonaws.com"
_TAGGING = "sagemaker:AddTags"
_INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")
_DESCRIBED = {
    "CreateTrainingJob": "DescribeTrainingJobResponse",
    "CreateTransformJob": "DescribeTransformJobResponse",
}
_PLAIN = frozenset({"CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"})
_ROLE_FIELDS = ("RoleArn", "ExecutionRoleArn")
_GROUP_TYPE = "AWS::SageMaker::ModelPackageGroup"
_GROUP_FIELDS = ("ModelPackageGroupName", "ModelPackageGroupDescription", "Tags")
# Codes that the API's model does not define carry the SDK's base exception in aws-sdk integrations.
_UNMODELLED = (
    "AccessDeniedException",
    "InternalFailure",
    "SerializationException",
    "ThrottlingException",
    "ValidationException",
)


def apply(settings: CloudSettings) -> Callable[[], None]:
    """Registers the service; what is returned ends its processes."""
    host = MiniStackHost(settings, session_name="SageMaker")
    engine = SageMakerEngine(host, settings.state / "sagemaker", settings.training_python, speed=settings.speed)
    adapter = _Adapter(engine)
    app.SERVICE_REGISTRY["sagemaker"] = {"module": "sagemaker"}
    app.SERVICE_HANDLERS["sagemaker"] = adapter.handle
    service.persist("sagemaker", engine)
    _route_and_authorize(adapter)
    _integrate(adapter)
    _provision(adapter)
    autoscaling.register(AutoScalingEngine(engine.has_variant))
    return engine.close


class _Adapter:
    """Requests and calls of any origin, in the scope of the request that is served."""

    def __init__(self, engine: SageMakerEngine) -> None:
        self.engine = engine

    async def handle(self, _method: str, path: str, headers: Headers, body: bytes, _query: Any) -> Response:
        """One HTTP request, control plane or runtime."""
        if invocation := _INVOCATION.fullmatch(path):
            return await asyncio.to_thread(self._invoke, invocation[1], body, headers)
        return await service.answer(lambda: self._control(headers, service.body_of(body)))

    def call(self, action: str, request: Document) -> Document:
        """One action, refused when SageMaker could not assume the role that it names."""
        scope = service.scope()
        try:
            if action in self.engine.actions:
                _require_roles(scope, SAGEMAKER.validate(action, request))
            return self.engine.call(scope, action, request)
        except SageMakerError as error:
            raise RefusedError(error.code, error.message, error.status, error.details) from error

    def resource_arn(self, path: str, headers: Headers, body: bytes) -> str:
        """The ARN that a policy must name for the request; a body that is no JSON names nothing."""
        if invocation := _INVOCATION.fullmatch(path):
            return service.scope().arn("sagemaker", f"endpoint/{invocation[1].lower()}")
        try:
            return self.engine.resource_arn(service.scope(), service.action_of(headers), service.body_of(body))
        except RefusedError:
            return "*"

    def _control(self, headers: Headers, request: Document) -> Document:
        action = service.action_of(headers)
        if action.startswith("Create") and request.get("Tags"):
            self._require_tagging(action, request, headers)
        return self.call(action, request)

    def _require_tagging(self, action: str, request: Document, headers: Headers) -> None:
        """A caller who makes something with tags needs sagemaker:AddTags besides."""
        arn = self.engine.resource_arn(service.scope(), action, request)
        context = iam_actions.request_tag_context("sagemaker", action, json.dumps(request).encode(), {})
        denied = iam_evaluator.enforce(
            router.extract_access_key_id(headers), _TAGGING, "sagemaker", get_region(), arn, context
        )
        if isinstance(denied, iam_evaluator.EvalResult):
            message = iam_actions.identity_denial_message(
                _TAGGING, denied.principal_arn, arn, denied.decision == "Deny"
            )
            raise RefusedError("AccessDeniedException", message)

    def _invoke(self, endpoint: str, body: bytes, headers: Headers) -> Response:
        try:
            status, answered, content = self.engine.invoke_endpoint(service.scope(), endpoint, body, headers)
        except SageMakerError as error:
            return RefusedError(error.code, error.message, error.status, error.details).response()
        return status, dict(answered), content


@dataclass(frozen=True)
class _Job:
    """A training or transform job that a task waits for."""

    engine: SageMakerEngine
    scope: Scope
    action: str
    request: Document

    def wait(self, timeout: float) -> bool:
        """Whether it has ended, after at most `timeout` seconds."""
        return self.engine.wait_finished(self.scope, self.action, self.request, timeout)

    def result(self) -> tuple[bool, Document]:
        """Whether it succeeded, and its description."""
        state, description = self.engine.finished(self.scope, self.action, self.request)
        return state == "succeeded", description

    def stop(self) -> None:
        """Asks it to end."""
        self.engine.stop(self.scope, self.action, self.request)


def _require_roles(scope: Scope, request: Mapping[str, Any]) -> None:
    for role_arn in filter(None, map(request.get, _ROLE_FIELDS)):
        if not trusts(role_arn, _PRINCIPAL, scope.arn("sagemaker", "*")):
            raise RefusedError(
                "ValidationException",
                f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
                f"'{_PRINCIPAL}' to assume the role.",
            )


def _route_and_authorize(adapter: _Adapter) -> None:
    # Both planes sign as "sagemaker"; the runtime has no target header and is known by that signature alone.
    router.SERVICE_PATTERNS["sagemaker"] = {
        "target_prefixes": ["SageMaker."],
        "host_patterns": [r"\.sagemaker\."],
        "credential_scope": "sagemaker",
    }
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    iam_actions._BOTOCORE_SERVICE_MAP["sagemaker"] = ["sagemaker", "sagemaker-runtime"]

    service.name_resources("sagemaker", adapter.resource_arn)


def _integrate(adapter: _Adapter) -> None:
    tasks.register(
        tasks.Integration(
            prefix="arn:aws:states:::sagemaker:",
            model=SAGEMAKER.model,
            call=adapter.call,
            job=lambda action, request, _: _Job(adapter.engine, service.scope(), action, request),
            described=_DESCRIBED,
            plain=_PLAIN,
            error_prefix="SageMaker",
            base_error="AmazonSageMakerException",
        )
    )
    stepfunctions._AWS_SDK_SERVICE_MAP["sagemaker"] = {"target_prefix": "SageMaker", "protocol": "json"}
    stepfunctions._AWS_SDK_ERROR_PREFIX["sagemaker"] = "SageMaker"
    stepfunctions._AWS_SDK_ERROR_CODE_OVERRIDES["sagemaker"] = {
        **dict.fromkeys(_UNMODELLED, "SageMakerException"),
        **{code: f"{code}Exception" for code in ("ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound")},
    }


def _provision(adapter: _Adapter) -> None:
    provisioners._RESOURCE_HANDLERS[_GROUP_TYPE] = {
        "create": lambda _, properties, __: _create_group(adapter, properties),
        "update": lambda arn, old, new, _: _update_group(adapter, arn, old, new),
        "delete": lambda arn, _: _delete_group(adapter, arn),
    }
    create_only = ("ModelPackageGroupName", "ModelPackageGroupDescription")
    provisioners._REPLACING_PROPERTIES[_GROUP_TYPE] = create_only
    provisioners._CUSTOM_NAME_REPLACEMENT[_GROUP_TYPE] = {"name": "ModelPackageGroupName"}
    provisioners._STACK_TAG_PROPERTY[_GROUP_TYPE] = ("Tags", "list")


def _create_group(adapter: _Adapter, properties: Document) -> tuple[str, Document]:
    """Ref is the ARN."""
    _require_supported(properties)
    request = {name: properties[name] for name in _GROUP_FIELDS if name in properties}
    arn: str = service.provisioned(adapter.call, "CreateModelPackageGroup", request)["ModelPackageGroupArn"]
    return arn, _group_attributes(adapter, arn)


def _update_group(adapter: _Adapter, arn: str, old: Document, new: Document) -> tuple[str, Document]:
    _require_supported(new)
    tags = {tag["Key"] for tag in new.get("Tags", [])}
    if gone := [tag["Key"] for tag in old.get("Tags", []) if tag["Key"] not in tags]:
        service.provisioned(adapter.call, "DeleteTags", {"ResourceArn": arn, "TagKeys": gone})
    if tags:
        service.provisioned(adapter.call, "AddTags", {"ResourceArn": arn, "Tags": new["Tags"]})
    return arn, _group_attributes(adapter, arn)


def _delete_group(adapter: _Adapter, arn: str) -> None:
    name = {"ModelPackageGroupName": arn}
    try:
        adapter.call("DescribeModelPackageGroup", name)
    except RefusedError:
        return  # deleted by hand: CloudFormation deletes what is left
    service.provisioned(adapter.call, "DeleteModelPackageGroup", name)


def _group_attributes(adapter: _Adapter, arn: str) -> Document:
    group = service.provisioned(adapter.call, "DescribeModelPackageGroup", {"ModelPackageGroupName": arn})
    names = ("ModelPackageGroupArn", "ModelPackageGroupStatus", "CreationTime")
    return {name: str(group[name]) for name in names}


def _require_supported(properties: Mapping[str, Any]) -> None:
    if unsupported := set(properties) - set(_GROUP_FIELDS):
        raise ValueError(f"{_GROUP_TYPE}: the embedded cloud does not support {', '.join(sorted(unsupported))}.")
