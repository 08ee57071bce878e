"""Endpoint configurations: which models an endpoint serves, on what, and in which shares."""

import time

from local.host import Scope
from local.sagemaker.context import Context
from local.sagemaker.errors import invalid
from local.sagemaker.listing import page, summary
from local.sagemaker.models import Models
from local.sagemaker.plans import FleetPlan, variant_plan
from local.sagemaker.store import ENDPOINT_CONFIG, Record

_VARIANTS = ("ProductionVariants", "ShadowProductionVariants")


class EndpointConfigs:
    """CreateEndpointConfig and what belongs to it."""

    def __init__(self, ctx: Context, models: Models) -> None:
        self._ctx = ctx
        self._models = models
        self.actions = {
            "CreateEndpointConfig": self.create,
            "DescribeEndpointConfig": self.describe,
            "ListEndpointConfigs": self.list_page,
            "DeleteEndpointConfig": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Its models must exist; it never changes afterwards."""
        for field in ("AsyncInferenceConfig", "ExplainerConfig"):
            if field in request:
                raise invalid(f"{field} is not supported here.")
        production, shadows = request["ProductionVariants"], request.get("ShadowProductionVariants", [])
        names = [variant["VariantName"] for variant in (*production, *shadows)]
        if len(set(names)) < len(names):
            raise invalid("Production variant names must be unique within an endpoint configuration.")
        for variant in (*production, *shadows):
            self._check(scope, variant)
        if shadows and (len(production), len(shadows)) != (1, 1):
            raise invalid("With ShadowProductionVariants there must be one production variant and one shadow variant.")
        if any("ServerlessConfig" in variant for variant in (*production, *shadows)):
            _require_serverless(request)
        fields = {field: value for field, value in request.items() if field != "Tags"}
        record = {
            **fields,
            **{field: _weighed(fields[field]) for field in _VARIANTS if field in fields},
            "CreationTime": time.time(),
            "EnableNetworkIsolation": False,
        }
        name = request["EndpointConfigName"]
        return {"EndpointConfigArn": self._ctx.store.add(scope, ENDPOINT_CONFIG, name, record, request.get("Tags"))}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, ENDPOINT_CONFIG, request["EndpointConfigName"])

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        found, more = page(self._ctx.store.all(scope, ENDPOINT_CONFIG), request, name="EndpointConfigName")
        fields = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        return {"EndpointConfigs": [summary(record, *fields) for record in found], **more}

    def delete(self, scope: Scope, request: Record) -> Record:
        """As on AWS, also one that an endpoint uses."""
        self._ctx.store.remove(scope, ENDPOINT_CONFIG, request["EndpointConfigName"])
        return {}

    def plan(self, scope: Scope, name: str) -> FleetPlan:
        """What a fleet of this configuration is made of."""
        config = self._ctx.store.get(scope, ENDPOINT_CONFIG, name)
        production, shadows = (
            tuple(variant_plan(item, self._models.spec(scope, item["ModelName"])) for item in config.get(field, []))
            for field in _VARIANTS
        )
        return FleetPlan(config["EndpointConfigName"], production, shadows, config.get("DataCaptureConfig"))

    def _check(self, scope: Scope, variant: Record) -> None:
        name = variant["VariantName"]
        if "ModelName" not in variant:
            raise invalid(f"Production variant {name} must have a ModelName.")
        self._models.spec(scope, variant["ModelName"])
        if "ServerlessConfig" in variant:
            if "InstanceType" in variant or "InitialInstanceCount" in variant:
                raise invalid(f"Production variant {name} has a ServerlessConfig and must not name instances.")
            if variant["ServerlessConfig"]["MemorySizeInMB"] % 1024:
                raise invalid("MemorySizeInMB must be one of 1024, 2048, 3072, 4096, 5120, 6144.")
        elif not {"InstanceType", "InitialInstanceCount"} <= variant.keys():
            raise invalid(f"Production variant {name} must have InstanceType and InitialInstanceCount.")


def _weighed(variants: list[Record]) -> list[Record]:
    return [{"InitialVariantWeight": 1.0, **variant} for variant in variants]


def _require_serverless(request: Record) -> None:
    """What "Serverless Inference: feature exclusions" lists."""
    for field in ("ShadowProductionVariants", "DataCaptureConfig"):
        if field in request:
            raise invalid(f"{field} is not supported for serverless endpoints.")
    if len(request["ProductionVariants"]) > 1:
        raise invalid("Serverless endpoints do not support multiple production variants.")
