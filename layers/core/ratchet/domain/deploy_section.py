"""How a champion serves and how a candidate takes its place, within SageMaker's bounds."""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AliasPath, Field, model_validator

from ratchet.contracts.base import ForeignContract
from ratchet.domain.fields import Duration, Section, format_duration

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html
LONGEST_INTERVAL = timedelta(hours=1)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
SHORTEST_EXECUTION, LONGEST_EXECUTION = timedelta(minutes=10), timedelta(hours=8)
START_UP = timedelta(minutes=30)  # of a fleet, before its traffic
ALARM_PERIOD = timedelta(minutes=1)
LONGEST_SHADOW = timedelta(days=1)


class AlarmsSection(Section):
    """When an endpoint is unwell; rates are shares of a minute's requests. A change that trips one is rolled back."""

    errors_5xx: Annotated[float, Field(gt=0, lt=1)] = 0.01
    errors_4xx: Annotated[float, Field(gt=0, lt=1)] = 0.10
    latency_p99_ms: Annotated[float, Field(gt=0, le=60_000)] = 1000  # of the model, without SageMaker's overhead


class AutoscalingSection(Section):
    """Bounds of the instance count, which follows the requests a minute and instance."""

    min: Annotated[int, Field(ge=1)]
    max: Annotated[int, Field(ge=1)]
    invocations_per_instance: Annotated[float, Field(gt=0)] = 1000

    @model_validator(mode="after")
    def _the_right_way_round(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; swap them")
        return self


class DeploySection(Section):
    """Where and how the champion serves."""

    mode: Literal["serverless", "instance"] = "serverless"
    strategy: Literal["all_at_once", "canary", "linear", "shadow"] = "all_at_once"
    percent: Annotated[int, Field(ge=1, le=50)] | None = None  # canary: share of the instances
    step: Annotated[int, Field(ge=10, le=50)] | None = None  # linear: share of the instances
    interval: Duration | None = None  # linear: between steps
    bake: Duration | None = None  # how long the alarms watch; shadow: how long the candidate gets copies
    instances: Annotated[int, Field(ge=1)] = 1
    instance_type: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")] = "ml.m5.large"
    autoscaling: AutoscalingSection | None = None
    memory_mb: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048  # serverless
    max_concurrency: Annotated[int, Field(ge=1, le=200)] = 10  # serverless
    alarms: AlarmsSection = Field(default_factory=AlarmsSection)
    verify: Literal["after", "before"] = "after"
    approval: Literal["none", "required"] = "none"
    capture: Annotated[int, Field(ge=0, le=100)] = 100  # percent of the requests that are kept for monitoring
    idle_after: Duration | None = None  # without requests for so long an instance endpoint is deleted; null: never

    @model_validator(mode="after")
    def _sagemaker_takes_it(self) -> Self:
        if found := [*_of_mode(self), *_of_strategy(self), *_of_times(self)]:
            raise ValueError("; ".join(found))
        return self

    @property
    def fewest_instances(self) -> int:
        """How few instances a change may find."""
        return self.autoscaling.min if self.autoscaling else self.instances

    @property
    def shift_bake(self) -> timedelta:
        """How long the alarms watch after each shift of traffic."""
        return min(self.interval or self.bake or timedelta(0), LONGEST_INTERVAL)

    @property
    def longest_change(self) -> timedelta:
        """How long SageMaker may take to change the endpoint."""
        shifts = {"canary": 2, "linear": math.ceil(100 / (self.step or 100))}.get(self.strategy, 1)
        return min(max(START_UP + shifts * self.shift_bake, SHORTEST_EXECUTION), LONGEST_EXECUTION)


class CompiledDeploy(ForeignContract):
    """How a compiled definition deploys, for those who need nothing else of it."""

    deploy: DeploySection = Field(validation_alias=AliasPath("definition", "deploy"))


def _of_mode(deploy: DeploySection) -> Iterator[str]:
    if deploy.mode == "serverless":
        if deploy.strategy != "all_at_once":
            yield (
                f"strategy {deploy.strategy} needs instances: a serverless endpoint has neither deployment guardrails "
                "nor shadow variants; write strategy: all_at_once, or mode: instance"
            )
        for name, given in (
            ("instances", deploy.instances > 1),
            ("autoscaling", deploy.autoscaling),
            ("bake", deploy.bake and deploy.strategy == "all_at_once"),
        ):
            if given:
                yield f"{name} is for instances, and a serverless endpoint has none; remove it, or set mode: instance"
    elif deploy.autoscaling and not deploy.autoscaling.min <= deploy.instances <= deploy.autoscaling.max:
        bounds = f"{deploy.autoscaling.min} to {deploy.autoscaling.max}"
        yield f"instances {deploy.instances} is outside autoscaling's {bounds}; move one of them"


def _of_strategy(deploy: DeploySection) -> Iterator[str]:
    needed = {"canary": ("percent", "bake"), "linear": ("step", "interval"), "shadow": ("bake",), "all_at_once": ()}
    for name in needed[deploy.strategy]:
        if getattr(deploy, name) is None:
            yield f"strategy {deploy.strategy} needs {name}; add it"
    for name, strategy in (("percent", "canary"), ("step", "linear"), ("interval", "linear")):
        if getattr(deploy, name) is not None and deploy.strategy != strategy:
            yield f"{name} belongs to strategy {strategy}; remove it, or change the strategy"
    if deploy.strategy == "linear" and deploy.bake is not None:
        yield "bake is called interval in strategy linear; rename it"
    share = {"canary": deploy.percent, "linear": deploy.step}.get(deploy.strategy)
    if deploy.mode == "instance" and share is not None and deploy.fewest_instances * share < 100:
        yield (
            f"{share} % of {deploy.fewest_instances} instance(s) is less than one, and SageMaker shifts whole ones; "
            f"give it {math.ceil(100 / share)} instances at least, or a greater share (at most 50)"
        )


def _of_times(deploy: DeploySection) -> Iterator[str]:
    longest = {
        "bake": LONGEST_SHADOW if deploy.strategy == "shadow" else LONGEST_INTERVAL,
        "interval": LONGEST_INTERVAL,
    }
    for name, limit in longest.items():
        given = getattr(deploy, name)
        if given is not None and not ALARM_PERIOD <= given <= limit:
            yield (
                f"{name} {format_duration(given)} is not between {format_duration(ALARM_PERIOD)} (alarms look at whole "
                f"minutes) and {format_duration(limit)}; choose a time between"
            )
    steps = math.ceil(100 / deploy.step) if deploy.step else 0
    if deploy.interval and steps * deploy.interval > LONGEST_EXECUTION - START_UP:
        yield (
            f"{steps} steps of {format_duration(deploy.interval)} take longer than the 8h a change may take; "
            "shorten interval or raise step"
        )
