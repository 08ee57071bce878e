"""InvokeEndpoint: which container answers, which others hear of it, and how failures look to the caller."""

import random
import threading
import time
from collections.abc import Mapping

from local.host import Scope
from local.sagemaker.capture import Call, Capture
from local.sagemaker.context import Context
from local.sagemaker.errors import SageMakerError
from local.sagemaker.fleet import Fleet
from local.sagemaker.hosting import Answer, HostingError
from local.sagemaker.meter import Meter
from local.sagemaker.plans import VariantPlan
from local.sagemaker.store import ENDPOINT
from local.sagemaker.traffic import Traffic
from local.sagemaker.variant import BusyError

REAL_TIME_LIMIT = 6_291_456
SERVERLESS_LIMIT = 4_194_304
# Copies for shadow variants that are under way at once; what comes on top of them is not copied.
MOST_COPIES = 32
_FORWARDED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")


class Invocations:
    """The runtime's side of endpoints."""

    def __init__(self, ctx: Context, traffic: Traffic) -> None:
        self._ctx = ctx
        self._traffic = traffic
        self._meter = Meter(ctx)
        self._capture = Capture(ctx)
        self._copies = threading.BoundedSemaphore(MOST_COPIES)

    def invoke(
        self, scope: Scope, name: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a prediction; raises ValidationError, ModelError or ThrottlingException."""
        began = time.perf_counter()
        call = Call(body, {header.lower(): value for header, value in headers.items()})
        record = self._ctx.store.find(scope, ENDPOINT, name)
        known = record is not None and record["EndpointName"] == name
        fleet = self._traffic.enter((scope, name.lower())) if known else None
        if fleet is None:
            raise SageMakerError("ValidationError", f"Endpoint {name} of account {scope.account} not found.")
        try:
            variant = _chosen(fleet, call)
            captured = self._capture.wanted(fleet)
            self._copy(fleet, variant, call, captured=captured)
            answer = self._ask(fleet, variant.name, call, began)
            if captured and 200 <= answer.status < 300:
                self._capture.keep(fleet, variant.name, call, answer)
        finally:
            fleet.leave()
        if not 200 <= answer.status < 400:
            raise _model_error(fleet, answer)
        given = {"Content-Type": answer.content_type, "x-Amzn-Invoked-Production-Variant": variant.name}
        if answer.attributes:
            given["X-Amzn-SageMaker-Custom-Attributes"] = answer.attributes
        return answer.status, given, answer.body

    def _ask(self, fleet: Fleet, variant: str, call: Call, began: float) -> Answer:
        """The container's answer, or in its place what its absence is called: status 0 when it came too late."""
        sent = {header: call.headers[header] for header in _FORWARDED if header in call.headers}
        asked = time.perf_counter()
        try:
            answer = fleet.invoke(variant, call.body, sent)
        except HostingError as error:
            answer = Answer(0 if error.timed_out else 500, "text/plain", str(error).encode())
        except BusyError:
            raise SageMakerError("ThrottlingException", "Rate exceeded") from None
        model = time.perf_counter() - asked
        self._meter.count(fleet, variant, answer.status, model, time.perf_counter() - began - model)
        return answer

    def _copy(self, fleet: Fleet, variant: VariantPlan, call: Call, *, captured: bool) -> None:
        """Sends the request to the shadow variants too, whose answers nobody waits for."""
        for shadow in fleet.plan.shadows:
            share = shadow.weight / variant.weight if variant.weight else 1.0
            if random.random() < share and self._copies.acquire(blocking=False):  # noqa: S311 - a sample
                fleet.enter()
                self._ctx.run(self._mirror, fleet, shadow.name, call, captured)

    def _mirror(self, fleet: Fleet, shadow: str, call: Call, captured: bool) -> None:
        try:
            answer = self._ask(fleet, shadow, call, time.perf_counter())
            if captured and 200 <= answer.status < 300:
                self._capture.keep(fleet, shadow, call, answer)
        finally:
            self._copies.release()
            fleet.leave()


def _chosen(fleet: Fleet, call: Call) -> VariantPlan:
    name = call.headers.get("x-amzn-sagemaker-target-variant") or fleet.pick()
    plan = fleet.production(name)
    if plan is None:
        raise SageMakerError("ValidationError", f"Variant {name} not found for endpoint {fleet.endpoint}.")
    limit = SERVERLESS_LIMIT if plan.serverless else REAL_TIME_LIMIT
    if len(call.body) > limit:
        raise SageMakerError("413", f"HTTP content length exceeded {limit} bytes.", 413)
    return plan


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
