"""What SageMaker, CloudWatch and Application Auto Scaling are asked for an endpoint, as their APIs spell it."""

from typing import TYPE_CHECKING, Any

from ratchet.contracts.run import Scaling, Watch

if TYPE_CHECKING:  # who watches or deletes endpoints reads no definition
    from ratchet.domain.deploy_section import DeploySection

VARIANT = "AllTraffic"  # never another name: an update that renames the variant loses its traffic
SHADOW_VARIANT = "Shadow"
NAMESPACE = "AWS/SageMaker"


def variant(model_name: str, deploy: "DeploySection", name: str = VARIANT) -> dict[str, Any]:
    """A production or shadow variant; as many copies go to a shadow as there are requests."""
    found: dict[str, Any] = {"VariantName": name, "ModelName": model_name, "InitialVariantWeight": 1.0}
    if deploy.mode == "serverless":
        serverless = {"MemorySizeInMB": deploy.memory_mb, "MaxConcurrency": deploy.max_concurrency}
        return {**found, "ServerlessConfig": serverless}
    return {**found, "InstanceType": deploy.instance_type, "InitialInstanceCount": deploy.instances}


def change(endpoint: str, deploy: "DeploySection | None") -> dict[str, Any]:
    """How UpdateEndpoint shifts the traffic; a serverless endpoint has one way only, as has one put back."""
    if deploy is None or deploy.mode == "serverless":
        return {}
    found: dict[str, Any] = {
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": _routing(deploy),
                # The alarms watch the old fleet's last moments too: all at once, there are no others.
                "TerminationWaitInSeconds": int(deploy.shift_bake.total_seconds()),
                "MaximumExecutionTimeoutInSeconds": int(deploy.longest_change.total_seconds()),
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarm_names(endpoint)]},
        }
    }
    if deploy.autoscaling is not None:
        # As many instances as the traffic has made necessary; the weight and the capture are the configuration's.
        excluded = [{"VariantPropertyType": kind} for kind in ("DesiredWeight", "DataCaptureConfig")]
        found |= {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}
    return found


def _routing(deploy: "DeploySection") -> dict[str, Any]:
    wait = {"WaitIntervalInSeconds": int(deploy.shift_bake.total_seconds())}
    if deploy.strategy == "canary":
        return {"Type": "CANARY", "CanarySize": _share(deploy.percent), **wait}
    if deploy.strategy == "linear":
        return {"Type": "LINEAR", "LinearStepSize": _share(deploy.step), **wait}
    return {"Type": "ALL_AT_ONCE", **wait}


def _share(percent: int | None) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": percent}


def dimensions(endpoint: str, config: str, name: str = VARIANT) -> list[dict[str, str]]:
    """Of the metrics of a variant under one configuration: while traffic shifts, of the new instances alone.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    found = {"EndpointName": endpoint, "VariantName": name, "EndpointConfigName": config}
    return [{"Name": key, "Value": value} for key, value in found.items()]


def capture(percent: int, destination: str) -> dict[str, Any]:
    """DataCaptureConfig: a share of the requests and their answers, as text."""
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": percent,
        "DestinationS3Uri": destination,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json", "application/jsonlines"]},
    }


def alarm_names(endpoint: str) -> list[str]:
    """The three alarms of an endpoint."""
    return [f"{endpoint}-{kind}" for kind in ("5XX", "4XX", "Latency")]


def alarms(endpoint: str, config: str, watch: Watch) -> list[dict[str, Any]]:
    """PutMetricAlarm for each. Error metrics are 1 or 0 a request, so that their average is a rate."""
    measured = dimensions(endpoint, config)
    errors, refusals, latency = alarm_names(endpoint)
    return [
        _alarm(measured, errors, "Invocation5XXErrors", watch.errors_5xx, {"Statistic": "Average"}),
        _alarm(measured, refusals, "Invocation4XXErrors", watch.errors_4xx, {"Statistic": "Average"}),
        # ModelLatency is in microseconds.
        _alarm(measured, latency, "ModelLatency", watch.latency_p99_ms * 1000, {"ExtendedStatistic": "p99"}),
    ]


def _alarm(
    measured: list[dict[str, str]], name: str, metric: str, threshold: float, statistic: dict[str, str]
) -> dict[str, Any]:
    return {
        "AlarmName": name,
        "AlarmDescription": f"{metric} of {measured[0]['Value']}: "
        "a change of the endpoint that trips it is rolled back. Runbook: docs/runbook.md#endpoint-alarms",
        "Namespace": NAMESPACE,
        "MetricName": metric,
        "Dimensions": measured,
        **statistic,
        "Period": 60,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }


def health_queries(endpoint: str, config: str, name: str) -> list[dict[str, Any]]:
    """GetMetricData for a variant's requests, errors and latency, minute by minute."""
    measured = dimensions(endpoint, config, name)
    wanted = {
        "requests": ("Invocations", "Sum"),
        "errors_4xx": ("Invocation4XXErrors", "Sum"),
        "errors_5xx": ("Invocation5XXErrors", "Sum"),
        "latency": ("ModelLatency", "p99"),
    }
    return [
        {
            "Id": key,
            "MetricStat": {
                "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": measured},
                "Period": 60,
                "Stat": statistic,
            },
        }
        for key, (metric, statistic) in wanted.items()
    ]


def scalable(endpoint: str) -> dict[str, Any]:
    """The instance count as Application Auto Scaling knows it."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def scaling_policy(endpoint: str, scaling: Scaling) -> dict[str, Any]:
    """PutScalingPolicy: so many requests a minute and instance."""
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    return {
        "PolicyName": f"{endpoint}-Requests",
        **scalable(endpoint),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": scaling.invocations_per_instance,
            "PredefinedMetricSpecification": metric,
        },
    }
