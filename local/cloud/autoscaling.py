"""Application Auto Scaling as a service of MiniStack, which has none."""

from typing import Any

from ministack import app
from ministack.core import iam_actions, router

from local.autoscaling import AutoScalingEngine, AutoScalingError
from local.cloud import service
from local.cloud.service import Document, Headers, RefusedError, Response

_SERVICE = "application-autoscaling"


def register(engine: AutoScalingEngine) -> None:
    """Routes requests to the engine, and names what they are about to IAM."""
    app.SERVICE_REGISTRY[_SERVICE] = {"module": _SERVICE}
    service.persist(_SERVICE, engine)
    router.SERVICE_PATTERNS[_SERVICE] = {
        "target_prefixes": ["AnyScaleFrontendService."],
        "host_patterns": [r"\.application-autoscaling\."],
        "credential_scope": _SERVICE,
    }
    iam_actions.SERVICE_TO_IAM_NAMESPACE[_SERVICE] = _SERVICE
    iam_actions._BOTOCORE_SERVICE_MAP[_SERVICE] = [_SERVICE]

    def call(headers: Headers, body: bytes) -> Document:
        try:
            return engine.call(service.scope(), service.action_of(headers), service.body_of(body))
        except AutoScalingError as error:
            raise RefusedError(error.code, error.message, error.status) from error

    async def handle(_method: str, _path: str, headers: Headers, body: bytes, _query: Any) -> Response:
        return await service.answer(lambda: call(headers, body))

    def resource_arn(_path: str, _headers: Headers, body: bytes) -> str:
        try:
            return engine.resource_arn(service.scope(), service.body_of(body))
        except RefusedError:
            return "*"

    app.SERVICE_HANDLERS[_SERVICE] = handle
    service.name_resources(_SERVICE, resource_arn)
