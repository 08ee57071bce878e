"""An endpoint's alarms, metrics and scaling."""

import json
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from ratchet.adapters import endpoint_requests as requests
from ratchet.adapters.aws import CLIENT_CONFIG, busy_errors, error_code
from ratchet.contracts.run import Scaling, VariantHealth, Watch


class EndpointWatch:
    """The part of the Endpoints port that is not SageMaker's; clients are made when first needed."""

    def __init__(self, cloudwatch: Any = None, autoscaling: Any = None) -> None:
        self._cloudwatch_client = cloudwatch
        self._autoscaling_client = autoscaling

    @property
    def _cloudwatch(self) -> Any:
        if self._cloudwatch_client is None:
            self._cloudwatch_client = boto3.client("cloudwatch", config=CLIENT_CONFIG)
        return self._cloudwatch_client

    @property
    def _autoscaling(self) -> Any:
        if self._autoscaling_client is None:
            self._autoscaling_client = boto3.client("application-autoscaling", config=CLIENT_CONFIG)
        return self._autoscaling_client

    def watch(self, name: str, config_name: str, watch: Watch) -> None:
        for alarm in requests.alarms(name, config_name, watch):
            with busy_errors():
                self._cloudwatch.put_metric_alarm(**alarm)

    def unwatch(self, name: str) -> None:
        """DeleteAlarms deletes none when one of them is not there: each on its own."""
        for alarm in requests.alarm_names(name):
            try:
                with busy_errors():
                    self._cloudwatch.delete_alarms(AlarmNames=[alarm])
            except ClientError as error:
                if error_code(error) not in ("ResourceNotFound", "ResourceNotFoundException"):
                    raise

    def scale(self, name: str, scaling: Scaling) -> None:
        bounds = {"MinCapacity": scaling.min, "MaxCapacity": scaling.max}
        with busy_errors():
            self._autoscaling.register_scalable_target(**requests.scalable(name), **bounds)
            self._autoscaling.put_scaling_policy(**requests.scaling_policy(name, scaling))

    def unscale(self, name: str) -> None:
        try:
            with busy_errors():
                self._autoscaling.deregister_scalable_target(**requests.scalable(name))
        except ClientError as error:
            if error_code(error) != "ObjectNotFoundException":
                raise

    def tripped(self, name: str, since: datetime) -> list[str]:
        found = []
        for alarm in requests.alarm_names(name):
            with busy_errors():
                items = self._cloudwatch.describe_alarm_history(
                    AlarmName=alarm, HistoryItemType="StateUpdate", StartDate=since
                )["AlarmHistoryItems"]
            states = [json.loads(item["HistoryData"]).get("newState", {}) for item in items]
            reasons = [state.get("stateReason", "") for state in states if state.get("stateValue") == "ALARM"]
            if reasons:
                found.append(f"{alarm}: {reasons[-1]}")
        return found

    def scales(self, name: str) -> bool:
        target = requests.scalable(name)
        with busy_errors():
            answer = self._autoscaling.describe_scalable_targets(
                ServiceNamespace=target["ServiceNamespace"],
                ResourceIds=[target["ResourceId"]],
                ScalableDimension=target["ScalableDimension"],
            )
        return bool(answer["ScalableTargets"])

    def health(self, name: str, config_name: str, since: datetime, until: datetime, *, shadow: bool) -> VariantHealth:
        variant = requests.SHADOW_VARIANT if shadow else requests.VARIANT
        with busy_errors():
            answer = self._cloudwatch.get_metric_data(
                MetricDataQueries=requests.health_queries(name, config_name, variant),
                StartTime=since.replace(second=0, microsecond=0),
                EndTime=until,
            )
        values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
        return VariantHealth(
            requests=round(sum(values["requests"])),
            errors_4xx=round(sum(values["errors_4xx"])),
            errors_5xx=round(sum(values["errors_5xx"])),
            latency_p99_ms=max(values["latency"], default=0.0) / 1000,
        )
