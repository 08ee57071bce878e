"""A deployment under way: traffic shifts to the new fleet step by step, watched by alarms."""

import time
from collections.abc import Callable, Sequence

from local.sagemaker.alarms import AlarmWatch
from local.sagemaker.context import Context
from local.sagemaker.fleet import Fleet
from local.sagemaker.plans import VariantPlan
from local.sagemaker.rollout import Rollout, Step
from local.sagemaker.store import Record
from local.sagemaker.traffic import Key, Traffic

POLL_INTERVAL = 0.1


class RolledBackError(Exception):
    """The deployment must not go on; the message is the FailureReason."""


class Deployment:
    """Shifts an endpoint's traffic to a fleet that has started."""

    def __init__(
        self, ctx: Context, traffic: Traffic, key: Key, green: Fleet, tell: Callable[[list[Record]], None]
    ) -> None:
        """`tell` is given the new fleet's variants, as PendingDeploymentSummary shows them, at each change."""
        self._ctx = ctx
        self._traffic = traffic
        self._key = key
        self._green = green
        self._tell = tell

    def run(self, rollout: Rollout, elapsed: float) -> bool:
        """Takes every step; False when the engine ended meanwhile. Raises RolledBackError.

        `elapsed` are the seconds that starting the fleet took: they count, like the waits, against the timeout.
        """
        role_arn = self._green.plan.variants[0].spec.role_arn
        watch = AlarmWatch(self._ctx, self._key[0], role_arn, rollout.alarms)
        for step in rollout.steps:
            elapsed += step.wait
            if rollout.timeout is not None and elapsed > rollout.timeout:
                raise RolledBackError(
                    f"The deployment did not end within MaximumExecutionTimeoutInSeconds ({rollout.timeout} seconds)."
                )
            _refuse(watch)
            self._show("ActivatingTraffic", "Activating traffic on {capacity}.", step)
            self._traffic.shift(self._key, self._green, step.share)
            if step.wait:
                baking = f"Baking for {step.wait} seconds ({step.cause}) with traffic enabled on {{capacity}}."
                self._show("Baking", baking, step)
            if not self._bake(watch, step.wait):
                return False
        return True

    def _bake(self, watch: AlarmWatch, seconds: int) -> bool:
        ends = time.monotonic() + seconds / self._ctx.speed
        while (left := ends - time.monotonic()) > 0:
            if self._ctx.closed.wait(min(left, POLL_INTERVAL)):
                return False
            _refuse(watch)
        return not self._ctx.closed.is_set()

    def _show(self, status: str, message: str, step: Step) -> None:
        self._tell(
            [
                _told(
                    plan,
                    step.capacity(plan.instances),
                    status,
                    message.format(capacity=step.described(plan.instances)),
                )
                for plan in self._green.plan.variants
            ]
        )


def launching(plans: Sequence[VariantPlan]) -> list[Record]:
    """The variants of a fleet that is being started."""
    return [_told(plan, 0, "Creating", f"Launching {plan.instances} instance(s).") for plan in plans]


def terminating(plans: Sequence[VariantPlan]) -> list[Record]:
    """The variants of a fleet that is being ended."""
    return [_told(plan, plan.instances, "Deleting", f"Terminating {plan.instances} instance(s).") for plan in plans]


def _told(plan: VariantPlan, instances: int, status: str, message: str) -> Record:
    now = time.time()
    entry = {"Status": status, "StatusMessage": message, "StartTime": now}
    return {**plan.summary(now), "CurrentInstanceCount": instances, "VariantStatus": [entry]}


def _refuse(watch: AlarmWatch) -> None:
    if objection := watch.objection():
        raise RolledBackError(objection)
