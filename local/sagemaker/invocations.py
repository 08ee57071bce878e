"""InvokeEndpoint: which container answers, and how its failures look to the caller."""

import time
from collections.abc import Mapping

from local.host import Scope
from local.sagemaker.context import Context
from local.sagemaker.errors import SageMakerError
from local.sagemaker.fleet import Fleet, VariantPlan
from local.sagemaker.hosting import Answer, HostingError
from local.sagemaker.meter import Meter
from local.sagemaker.store import ENDPOINT
from local.sagemaker.traffic import Traffic

REAL_TIME_LIMIT = 6_291_456
SERVERLESS_LIMIT = 4_194_304
_FORWARDED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")


class Invocations:
    """The runtime's side of endpoints."""

    def __init__(self, ctx: Context, traffic: Traffic, meter: Meter) -> None:
        self._ctx = ctx
        self._traffic = traffic
        self._meter = meter

    def invoke(
        self, scope: Scope, name: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a prediction; raises ValidationError or ModelError."""
        began = time.perf_counter()
        lowered = {header.lower(): value for header, value in headers.items()}
        record = self._ctx.store.find(scope, ENDPOINT, name)
        known = record is not None and record["EndpointName"] == name
        fleet = self._traffic.enter((scope, name.lower())) if known else None
        if fleet is None:
            raise SageMakerError("ValidationError", f"Endpoint {name} of account {scope.account} not found.")
        try:
            variant = lowered.get("x-amzn-sagemaker-target-variant") or fleet.pick()
            if variant not in fleet.plans:
                raise SageMakerError("ValidationError", f"Variant {variant} not found for endpoint {name}.")
            _check_size(body, fleet.plans[variant])
            sent = {header: lowered[header] for header in _FORWARDED if header in lowered}
            asked = time.perf_counter()
            answer = _answer(fleet, variant, body, sent)
            model = time.perf_counter() - asked
            self._meter.count(fleet, variant, answer.status, model, time.perf_counter() - began - model)
        finally:
            fleet.leave()
        if not 200 <= answer.status < 400:
            raise _model_error(fleet, answer)
        given = {"Content-Type": answer.content_type, "x-Amzn-Invoked-Production-Variant": variant}
        if answer.attributes:
            given["X-Amzn-SageMaker-Custom-Attributes"] = answer.attributes
        return answer.status, given, answer.body


def _answer(fleet: Fleet, variant: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """The container's answer, or in its place what its absence is called: status 0 when it came too late."""
    try:
        return fleet.invoke(variant, body, headers)
    except HostingError as error:
        return Answer(0 if error.timed_out else 500, "text/plain", str(error).encode())


def _model_error(fleet: Fleet, answer: Answer) -> SageMakerError:
    status, message = answer.status, answer.body.decode(errors="replace")
    scope, group = fleet.scope, f"/aws/sagemaker/Endpoints/{fleet.endpoint}"
    side = "client" if 400 <= status < 500 else "server"
    return SageMakerError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{message}". See '
        f"https://{scope.region}.console.aws.amazon.com/cloudwatch/home?region={scope.region}"
        f"#logEventViewer:group={group} in account {scope.account} for more information.",
        424,
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=scope.arn("logs", f"log-group:{group}"),
    )


def _check_size(body: bytes, plan: VariantPlan) -> None:
    limit = SERVERLESS_LIMIT if plan.serverless else REAL_TIME_LIMIT
    if len(body) > limit:
        raise SageMakerError("413", f"HTTP content length exceeded {limit} bytes.", 413)
