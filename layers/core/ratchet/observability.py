"""Logs, traces and metrics, and the one way a function is entered."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, Protocol, TypeVar

from aws_lambda_powertools import Logger, Metrics, Tracer, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, TypeAdapter, ValidationError

from ratchet.domain.errors import BusyError, CallerError, EventInvalidError
from ratchet.settings import on_lambda, trace_is_sampled

logger = Logger()
_NAMESPACE = "Ratchet"
metrics = Metrics(namespace=_NAMESPACE)

# Not every invocation has an outcome to count, and the warning would be a line in every log.
warnings.filterwarnings("ignore", message="No application metrics to publish")

# Lambda's root logger is at INFO: without this every cold start logs how credentials and patches were found.
for _library in ("botocore", "aws_xray_sdk"):
    logging.getLogger(_library).setLevel(logging.WARNING)

_TIME_WORTH_KNOWING = 50  # percent of a function's timeout
_KEYS = ("pipeline", "run_id", "reason", "execution_arn")

RequestT = TypeVar("RequestT")
UseCaseT = TypeVar("UseCaseT")
UseCaseT_contra = TypeVar("UseCaseT_contra", contravariant=True)


class LambdaHandler(Protocol[UseCaseT_contra]):
    """What the Lambda service calls; a test hands over its own use case."""

    def __call__(
        self, event: dict[str, Any], context: LambdaContext, *, use_case: UseCaseT_contra | None = None
    ) -> Any: ...


def doorway(
    request: Any, build: Callable[[], UseCaseT]
) -> Callable[[Callable[[RequestT, UseCaseT], BaseModel | None]], LambdaHandler[UseCaseT]]:
    """Turns `body(request, use_case) -> result` into a Lambda handler.

    The event is parsed into `request` (a contract, or a union of contracts), the use case is built once per
    container, during the init phase on Lambda, as is the contract, and the result is dumped as JSON. Raises
    EventInvalidError naming the first field that is wrong.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(request)
    adapter.rebuild()
    build_once = cache(build)

    def decorate(body: Callable[[RequestT, UseCaseT], BaseModel | None]) -> LambdaHandler[UseCaseT]:
        @wraps(body)
        def handler(event: dict[str, Any], _context: LambdaContext, *, use_case: UseCaseT | None = None) -> Any:
            with _failure_counted():
                parsed = parse(adapter, event)
                logger.append_keys(**dict(business_keys(parsed)))
                result = body(parsed, build_once() if use_case is None else use_case)
                return None if result is None else result.model_dump(mode="json")

        if on_lambda():
            build_once()
        return enter(handler)

    return decorate


def enter(handler: Callable[..., Any]) -> LambdaHandler[Any]:
    """The handler with its log keys, its trace and its metrics."""
    measured = metrics.log_metrics(_traced(_timed(handler)), capture_cold_start_metric=True)
    entered: LambdaHandler[Any] = logger.inject_lambda_context(measured, clear_state=True)
    return entered


def _timed(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Measures which share of its timeout an invocation used, once it is worth knowing."""

    @wraps(handler)
    def entered(event: Any, context: LambdaContext, **injected: Any) -> Any:
        granted = context.get_remaining_time_in_millis()
        try:
            return handler(event, context, **injected)
        finally:
            used = 100 * (1 - context.get_remaining_time_in_millis() / granted) if granted else 0
            alarm("TimeUsed", used if used > _TIME_WORTH_KNOWING else 0, "Percent")

    return entered


def _traced(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, its calls of AWS traced in the invocations that X-Ray samples.

    X-Ray's library costs a cold start as much as boto3 does, and invocations that are not sampled have no use for it.
    """

    @cache
    def tracing() -> Callable[..., Any]:
        traced: Callable[..., Any] = Tracer(patch_modules=["botocore"]).capture_lambda_handler(
            handler, capture_response=False
        )
        return traced

    @wraps(handler)
    def entered(event: Any, context: LambdaContext, **injected: Any) -> Any:
        return (tracing() if trace_is_sampled() else handler)(event, context, **injected)

    return entered


def parse(adapter: TypeAdapter[Any], event: object) -> Any:
    """The event as its contract."""
    try:
        return adapter.validate_python(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the event itself"
        raise EventInvalidError(f"{field}: {first['msg']} ({error.error_count()} wrong in {error.title})") from error


def business_keys(request: object) -> Iterator[tuple[str, str]]:
    """The keys every log line of the invocation carries, wherever the request holds them."""
    for holder in (request, getattr(request, "run", None)):
        for key in _KEYS:
            if isinstance(value := getattr(holder, key, None), str):
                yield key, value


def count(metric: str, pipeline: str) -> None:
    """Counts one business outcome of a pipeline; the README lists the names."""
    measure(metric, 1, pipeline, "Count")


def measure(metric: str, value: float, pipeline: str, unit: str = "None") -> None:
    """Measures something of a pipeline."""
    metrics.add_dimension(name="pipeline", value=pipeline)
    metrics.add_metric(name=metric, unit=MetricUnit(unit), value=value)


def alarm(metric: str, value: float, unit: str = "Count") -> None:
    """Measures what an alarm of the template watches: over all pipelines, for an alarm knows one set of dimensions."""
    if value:
        dimensions = {"service": metrics.service or ""}
        with single_metric(metric, MetricUnit(unit), value, namespace=_NAMESPACE, default_dimensions=dimensions):
            pass


@contextmanager
def _failure_counted() -> Iterator[None]:
    """Counts an invocation that broke; a caller's mistake and a busy world are no failure of ours."""
    try:
        yield
    except (CallerError, BusyError):
        raise
    except Exception:
        alarm("FunctionFailed", 1)
        raise
