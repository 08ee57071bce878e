"""What the containers behind an endpoint configuration are to be."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from local.sagemaker.errors import invalid
from local.sagemaker.hosting import STARTUP_TIMEOUT, ModelSpec
from local.sagemaker.store import Record


@dataclass(frozen=True)
class VariantPlan:
    """What an endpoint configuration says of a variant, and the model it names."""

    name: str
    spec: ModelSpec
    weight: float
    instances: int
    serverless: Record | None
    startup_timeout: float

    def summary(self, at: float) -> Record:
        """The variant as DescribeEndpoint shows it."""
        image = {"SpecifiedImage": self.spec.image, "ResolvedImage": self.spec.image, "ResolutionTime": at}
        shown: Record = {
            "VariantName": self.name,
            "DeployedImages": [image],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": 0 if self.serverless else self.instances,
            "DesiredInstanceCount": 0 if self.serverless else self.instances,
        }
        if self.serverless:
            shown.update(CurrentServerlessConfig=self.serverless, DesiredServerlessConfig=self.serverless)
        return shown


@dataclass(frozen=True)
class FleetPlan:
    """An endpoint configuration with its models; `capture` is its DataCaptureConfig."""

    config: str
    variants: tuple[VariantPlan, ...]
    shadows: tuple[VariantPlan, ...] = ()
    capture: Record | None = None

    def summary(self) -> Record:
        """The fields of DescribeEndpoint that this decides; None for those it does not have."""
        now = time.time()
        return {
            "EndpointConfigName": self.config,
            "ProductionVariants": [plan.summary(now) for plan in self.variants],
            "ShadowProductionVariants": [plan.summary(now) for plan in self.shadows] or None,
            "DataCaptureConfig": _capture_summary(self.capture) if self.capture else None,
        }

    def with_properties(self, shown: Sequence[Record]) -> "FleetPlan":
        """With the desired weights and instance counts of these variants, as DescribeEndpoint shows them."""
        desired = {variant["VariantName"]: variant for variant in shown}
        return replace(self, variants=tuple(_like(plan, desired.get(plan.name, {})) for plan in self.variants))

    def retaining(self, old: "FleetPlan", excluded: Sequence[Record]) -> "FleetPlan":
        """With the weights, instance counts and data capture of another plan, but for the excluded properties."""
        left_out = {item["VariantPropertyType"] for item in excluded}
        shown = [
            {field: value for field, value in plan.summary(0).items() if field not in left_out} for plan in old.variants
        ]
        capture = self.capture if "DataCaptureConfig" in left_out else old.capture
        return replace(self.with_properties(shown), capture=capture)


def _like(plan: VariantPlan, shown: Record) -> VariantPlan:
    instances = plan.instances if plan.serverless else shown.get("DesiredInstanceCount") or plan.instances
    return replace(plan, weight=shown.get("DesiredWeight", plan.weight), instances=instances)


def rescaled(plan: FleetPlan, desired: Sequence[Record]) -> list[VariantPlan]:
    """The variants as DesiredWeightsAndCapacities wants them; raises ValidationException."""
    plans = {variant.name: variant for variant in plan.variants}
    for wish in desired:
        name = wish["VariantName"]
        if name not in plans:
            raise invalid(f"Variant {name} is not a production variant of the endpoint: {', '.join(plans)}.")
        plans[name] = _rescaled(plans[name], wish)
    return list(plans.values())


def _rescaled(plan: VariantPlan, wish: Record) -> VariantPlan:
    instances, serverless = wish.get("DesiredInstanceCount"), wish.get("ServerlessUpdateConfig")
    if instances is not None and plan.serverless:
        raise invalid(f"Variant {plan.name} is serverless: it has no DesiredInstanceCount.")
    if serverless is not None and not plan.serverless:
        raise invalid(f"Variant {plan.name} is not serverless: it has no ServerlessUpdateConfig.")
    if instances == 0:
        raise invalid(f"Variant {plan.name} needs a DesiredInstanceCount of at least 1.")
    return replace(
        plan,
        weight=wish.get("DesiredWeight", plan.weight),
        instances=plan.instances if instances is None else instances,
        serverless={**plan.serverless, **(serverless or {})} if plan.serverless else None,
    )


def _capture_summary(capture: Record) -> Record:
    enabled = capture.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }


def variant_plan(variant: Record, spec: ModelSpec) -> VariantPlan:
    """A variant of an endpoint configuration, with its model."""
    serverless = variant.get("ServerlessConfig")
    return VariantPlan(
        name=variant["VariantName"],
        spec=spec,
        weight=variant.get("InitialVariantWeight", 1.0),
        instances=1 if serverless else variant["InitialInstanceCount"],
        serverless=serverless,
        startup_timeout=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_TIMEOUT),
    )
