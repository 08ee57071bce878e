"""What SageMaker hosts under a prefix: endpoints with their traffic, configurations and models."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code, error_message
from ratchet.domain.idling import LiveEndpoint, Named

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient

_NAMESPACE = "AWS/SageMaker"
_FIVE_MINUTES = 300
_HOUR_SECONDS, _DAY_SECONDS = 3_600, 86_400


class SageMakerHosting:
    """The Hosting port over SageMaker and CloudWatch."""

    def __init__(
        self, sagemaker: "SageMakerClient | None" = None, cloudwatch: "CloudWatchClient | None" = None
    ) -> None:
        self._sagemaker: SageMakerClient = sagemaker or boto3.client("sagemaker", config=CLIENT_CONFIG)
        self._cloudwatch: CloudWatchClient = cloudwatch or boto3.client("cloudwatch", config=CLIENT_CONFIG)

    def endpoints(self, prefix: str) -> list[LiveEndpoint]:
        with busy_errors():
            return list(self._endpoints(prefix))

    def invocations(self, endpoint_name: str, since: datetime, until: datetime) -> float:
        with busy_errors():
            variants = self._variants(endpoint_name)
            if not variants:
                return 0.0
            queries: Any = [_query(place, endpoint_name, name, since, until) for place, name in enumerate(variants)]
            pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries, StartTime=since, EndTime=until
            )
            return sum(value for page in pages for result in page["MetricDataResults"] for value in result["Values"])

    def configs(self, prefix: str) -> list[Named]:
        with busy_errors():
            found = [
                (summary["EndpointConfigName"], summary)
                for page in self._sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix)
                for summary in page["EndpointConfigs"]
            ]
            return [
                Named(name, summary["CreationTime"], self._tags(summary["EndpointConfigArn"]), models)
                for name, summary in found
                if (models := self._models_of(name)) is not None
            ]

    def models(self, prefix: str) -> list[Named]:
        with busy_errors():
            return [
                Named(found["ModelName"], found["CreationTime"], self._tags(found["ModelArn"]))
                for page in self._sagemaker.get_paginator("list_models").paginate(NameContains=prefix)
                for found in page["Models"]
            ]

    def delete_config(self, name: str) -> bool:
        with busy_errors():
            try:
                self._sagemaker.delete_endpoint_config(EndpointConfigName=name)
            except ClientError as error:
                if not _is_gone(error):
                    raise
        return True

    def delete_model(self, name: str) -> bool:
        with busy_errors():
            try:
                self._sagemaker.delete_model(ModelName=name)
            except ClientError as error:
                if not _is_gone(error):
                    raise
        return True

    def _endpoints(self, prefix: str) -> Iterator[LiveEndpoint]:
        for page in self._sagemaker.get_paginator("list_endpoints").paginate(NameContains=prefix):
            for found in page["Endpoints"]:
                described = self._or_none(self._sagemaker.describe_endpoint, EndpointName=found["EndpointName"])
                if described is None:
                    continue
                config = described["EndpointConfigName"]
                yield LiveEndpoint(
                    name=found["EndpointName"],
                    config_name=config,
                    status=described["EndpointStatus"],
                    changed=max(described["CreationTime"], described["LastModifiedTime"]),
                    tags=self._tags(found["EndpointArn"]),
                    instances=[
                        (variant["InstanceType"], _number(described, variant))
                        for variant in self._config_variants(config)
                        if "InstanceType" in variant
                    ],
                )

    def _variants(self, endpoint_name: str) -> list[str]:
        described = self._or_none(self._sagemaker.describe_endpoint, EndpointName=endpoint_name) or {}
        kinds = ("ProductionVariants", "ShadowProductionVariants")
        return [variant["VariantName"] for kind in kinds for variant in described.get(kind, [])]

    def _config_variants(self, config_name: str) -> list[Any]:
        found = self._or_none(self._sagemaker.describe_endpoint_config, EndpointConfigName=config_name) or {}
        return [*found.get("ProductionVariants", []), *found.get("ShadowProductionVariants", [])]

    def _models_of(self, config_name: str) -> list[str] | None:
        found = self._or_none(self._sagemaker.describe_endpoint_config, EndpointConfigName=config_name)
        if found is None:
            return None
        kinds = ("ProductionVariants", "ShadowProductionVariants")
        return [variant["ModelName"] for kind in kinds for variant in found.get(kind, []) if "ModelName" in variant]

    def _tags(self, arn: str) -> dict[str, str]:
        pages = self._sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    @staticmethod
    def _or_none(describe: Any, **name: str) -> Any:
        """What is described, or None when it went since it was listed."""
        try:
            return describe(**name)
        except ClientError as error:
            if _is_gone(error):
                return None
            raise


def _number(described: Any, variant: Any) -> int:
    """How many instances run now, where autoscaling changed what the configuration began with."""
    for running in described.get("ProductionVariants", []):
        if running["VariantName"] == variant["VariantName"] and "CurrentInstanceCount" in running:
            return int(running["CurrentInstanceCount"])
    return int(variant.get("InitialInstanceCount", 1))


def _query(place: int, endpoint: str, variant: str, since: datetime, until: datetime) -> dict[str, Any]:
    # A first period that begins earlier than asked can only count too much: the endpoint then stays an hour longer.
    span = int((until - since).total_seconds())
    period = _HOUR_SECONDS if span > _DAY_SECONDS else _FIVE_MINUTES
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    return {
        "Id": f"v{place}",
        "MetricStat": {
            "Metric": {
                "Namespace": _NAMESPACE,
                "MetricName": "Invocations",
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": period,
            "Stat": "Sum",
        },
    }


def _is_gone(error: ClientError) -> bool:
    message = error_message(error).lower()
    return error_code(error) == "ValidationException" and ("could not find" in message or "does not exist" in message)
