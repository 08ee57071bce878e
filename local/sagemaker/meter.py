"""What SageMaker measures of endpoints' invocations, in its units, published to CloudWatch."""

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from local.host import Metric, Scope
from local.sagemaker.context import Context
from local.sagemaker.fleet import Fleet

NAMESPACE = "AWS/SageMaker"
# SageMaker publishes once a minute; here a minute of an alarm may be a second.
PUBLISH_INTERVAL = 0.25
_COUNT, _LATENCY = "Count", "Microseconds"
_UNITS = {
    "Invocations": _COUNT,
    "InvocationsPerInstance": _COUNT,
    "Invocation4XXErrors": _COUNT,
    "Invocation5XXErrors": _COUNT,
    "InvocationModelErrors": _COUNT,
    "ModelLatency": _LATENCY,
    "OverheadLatency": _LATENCY,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Whose invocations were measured."""

    scope: Scope
    endpoint: str
    config: str
    variant: str

    def dimensions(self) -> Iterator[dict[str, str]]:
        """Of the variant as a whole, and of it under this configuration: how a new fleet is told from the old one."""
        variant = {"EndpointName": self.endpoint, "VariantName": self.variant}
        yield variant
        yield {**variant, "EndpointConfigName": self.config}


class Meter:
    """Collects measures and publishes them every `PUBLISH_INTERVAL` seconds."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._measured: dict[Source, dict[str, Counter[float]]] = {}
        ctx.run(self._publish)

    def count(self, fleet: Fleet, variant: str, status: int, model: float, overhead: float) -> None:
        """One invocation: the container's HTTP status (0: none in time), seconds in the container and around it."""
        source = Source(fleet.scope, fleet.endpoint, fleet.plan.config, variant)
        values = {
            "Invocations": 1,
            "InvocationsPerInstance": 1 / fleet.size(variant),
            "Invocation4XXErrors": int(400 <= status < 500),
            "Invocation5XXErrors": int(status >= 500),
            "InvocationModelErrors": int(not 200 <= status < 300),
            "ModelLatency": round(model * 1e6),
            "OverheadLatency": round(overhead * 1e6),
        }
        with self._lock:
            measured = self._measured.setdefault(source, defaultdict(Counter))
            for name, value in values.items():
                measured[name][value] += 1

    def _publish(self) -> None:
        while not self._ctx.closed.wait(PUBLISH_INTERVAL):
            with self._lock:
                measured, self._measured = self._measured, {}
            for source, values in measured.items():
                metrics = [
                    Metric(name, _UNITS[name], dimensions, counter)
                    for dimensions in source.dimensions()
                    for name, counter in values.items()
                ]
                try:
                    self._ctx.host.measure(source.scope, NAMESPACE, metrics)
                except Exception:  # noqa: BLE001 - the endpoint serves all the same
                    _log.exception("metrics of endpoint %s were not published", source.endpoint)
