"""What a DeploymentConfig asks for: the steps in which traffic shifts, and the alarms that take it back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from local.sagemaker.errors import invalid
from local.sagemaker.plans import VariantPlan
from local.sagemaker.store import Record

_SIZES = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_LEAST_STEP, _MOST = 0.1, 0.5
_INTERVAL, _TERMINATION = "WaitIntervalInSeconds", "TerminationWaitInSeconds"
# Ten steps of a tenth are the whole, and a third of three is one, whatever float arithmetic makes of them.
_WHOLE = _ONE_INSTANCE = 0.9999


@dataclass(frozen=True)
class Step:
    """One shift: the share of traffic (0 to 1) that the new fleet then answers, and the seconds it bakes."""

    share: float
    wait: int
    cause: str
    kind: str

    def capacity(self, instances: int) -> int:
        """The instances of the new fleet that this share stands for."""
        return math.ceil(self.share * instances - 1e-9)

    def described(self, instances: int) -> str:
        """`canary capacity of 1 instance(s)`, as in SageMaker's status messages."""
        word = "full" if self.share == 1 else self.kind
        return f"{word} capacity of {self.capacity(instances)} instance(s)"


@dataclass(frozen=True)
class Rollout:
    """A blue/green deployment; by default all at once, without a bake and without alarms."""

    steps: tuple[Step, ...]
    alarms: tuple[str, ...] = ()
    timeout: int | None = None


def rollout(config: Record, old: Sequence[VariantPlan], new: Sequence[VariantPlan]) -> Rollout:
    """Reads a DeploymentConfig; raises ValidationException when it, or the variants, do not allow it."""
    if not config:
        return Rollout((Step(1.0, 0, _TERMINATION, "full"),))
    _require_suitable(config, old, new)
    policy = config.get("BlueGreenUpdatePolicy", {})
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE", _INTERVAL: 0})
    kind, wait = routing["Type"], routing[_INTERVAL]
    shares = _shares(kind, routing, min(plan.instances for plan in new))
    steps = [Step(share, wait, _INTERVAL, kind.lower()) for share in shares]
    last = Step(1.0, policy.get(_TERMINATION, 0), _TERMINATION, "full")
    timeout = policy.get("MaximumExecutionTimeoutInSeconds")
    total = sum(step.wait for step in (*steps, last))
    if timeout is not None and timeout <= total:
        raise invalid(
            f"MaximumExecutionTimeoutInSeconds ({timeout}) must be larger than the total waiting time of the "
            f"deployment, which is {total} seconds by {_INTERVAL} and {_TERMINATION}."
        )
    alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    return Rollout((*steps, last), tuple(alarm["AlarmName"] for alarm in alarms if "AlarmName" in alarm), timeout)


def _require_suitable(config: Record, old: Sequence[VariantPlan], new: Sequence[VariantPlan]) -> None:
    if "RollingUpdatePolicy" in config:
        raise invalid("RollingUpdatePolicy is not supported here: use BlueGreenUpdatePolicy.")
    if any(plan.serverless for plan in (*old, *new)):
        raise invalid("DeploymentConfig is not supported for serverless endpoints.")
    names, renamed = sorted(plan.name for plan in old), sorted(plan.name for plan in new)
    if names != renamed:
        raise invalid(
            f"With a DeploymentConfig the new endpoint configuration must have the variants of the old one: it has "
            f"{', '.join(renamed)} instead of {', '.join(names)}."
        )


def _shares(kind: str, routing: Record, instances: int) -> list[float]:
    """The shares before the whole."""
    if kind not in _SIZES:
        return []
    name = _SIZES[kind]
    if name not in routing:
        raise invalid(f"{name} is required for traffic routing of type {kind}.")
    size = routing[name]
    share = size["Value"] / (100 if size["Type"] == "CAPACITY_PERCENT" else instances)
    least = _LEAST_STEP if kind == "LINEAR" else 0.0
    if not least <= share <= _MOST:
        bounds = "10-50%" if kind == "LINEAR" else "less than or equal to 50%"
        raise invalid(
            f"{name} must be {bounds} of the variant's total instance count ({instances}): "
            f"{size['Value']} {size['Type']} is {share:.0%}."
        )
    if share * instances < _ONE_INSTANCE:
        raise invalid(f"{name} must be at least one instance: {share:.0%} of {instances} is less.")
    if kind == "CANARY":
        return [share]
    return [share * number for number in range(1, math.ceil(_WHOLE / share))]
