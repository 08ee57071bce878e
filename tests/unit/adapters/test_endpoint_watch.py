"""Alarms, metrics and scaling of an endpoint: what AWS is asked, checked against its own models."""

import json
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from ratchet.adapters import endpoint_requests as requests
from ratchet.adapters.sagemaker_endpoints import SageMakerEndpoints
from ratchet.contracts.run import Scaling, VariantHealth, Watch
from ratchet.domain.deploy_section import DeploySection
from ratchet.domain.ports import EndpointConfig
from tests.unit import samples

NAME = "ratchet-dev-traffic-Instance"
CONFIG = "ratchet-dev-traffic-g2"
WATCH = Watch(errors_5xx=0.01, errors_4xx=0.1, latency_p99_ms=250)


class Stubs:
    """The clients answer from a script, and check each request against AWS's own model."""

    def __init__(self) -> None:
        sagemaker, cloudwatch = boto3.client("sagemaker"), boto3.client("cloudwatch")
        autoscaling: Any = boto3.client("application-autoscaling")
        self.sagemaker, self.cloudwatch, self.autoscaling = map(Stubber, (sagemaker, cloudwatch, autoscaling))
        for stub in (self.sagemaker, self.cloudwatch, self.autoscaling):
            stub.activate()
        self.endpoints = SageMakerEndpoints(sagemaker, None, cloudwatch, autoscaling)


@pytest.fixture
def stubs(aws: None) -> Stubs:
    return Stubs()


def test_the_alarms_watch_the_new_instances_and_take_silence_for_health(stubs: Stubs) -> None:
    alarms = requests.alarms(NAME, CONFIG, WATCH)
    assert [alarm["AlarmName"] for alarm in alarms] == [f"{NAME}-5XX", f"{NAME}-4XX", f"{NAME}-Latency"]
    assert [alarm["Threshold"] for alarm in alarms] == [0.01, 0.1, 250_000], "ModelLatency is in microseconds"
    assert alarms[2]["ExtendedStatistic"] == "p99"
    for alarm in alarms:
        assert {d["Name"]: d["Value"] for d in alarm["Dimensions"]} == {
            "EndpointName": NAME,
            "VariantName": "AllTraffic",
            "EndpointConfigName": CONFIG,
        }, "the instances that came before are not what the change is judged by"
        assert alarm["TreatMissingData"] == "notBreaching"
        stubs.cloudwatch.add_response("put_metric_alarm", {}, alarm)
    stubs.endpoints.watch(NAME, CONFIG, WATCH)
    stubs.cloudwatch.assert_no_pending_responses()


def test_removing_alarms_that_are_gone_is_fine(stubs: Stubs) -> None:
    stubs.cloudwatch.add_response("delete_alarms", {}, {"AlarmNames": [f"{NAME}-5XX"]})
    for _ in range(2):
        stubs.cloudwatch.add_client_error("delete_alarms", "ResourceNotFound")
    stubs.endpoints.unwatch(NAME)
    stubs.cloudwatch.assert_no_pending_responses()


def test_an_alarm_that_went_off_during_the_change_is_named_with_its_reason(stubs: Stubs) -> None:
    def history(state: str, reason: str) -> dict[str, Any]:
        return {"HistoryData": json.dumps({"newState": {"stateValue": state, "stateReason": reason}})}

    found = [[history("OK", "well again"), history("ALARM", "0.2 > 0.01")], [], [history("OK", "fine")]]
    for name, items in zip(requests.alarm_names(NAME), found, strict=True):
        stubs.cloudwatch.add_response(
            "describe_alarm_history",
            {"AlarmHistoryItems": items},
            {"AlarmName": name, "HistoryItemType": "StateUpdate", "StartDate": samples.NOW},
        )
    assert stubs.endpoints.tripped(NAME, samples.NOW) == [f"{NAME}-5XX: 0.2 > 0.01"]


@pytest.mark.parametrize(("shadow", "variant"), [(False, "AllTraffic"), (True, "Shadow")])
def test_health_is_read_of_one_variant(stubs: Stubs, shadow: bool, variant: str) -> None:
    until = samples.NOW + timedelta(minutes=5)
    values = {"requests": [40.0, 60.0], "errors_4xx": [], "errors_5xx": [1.0], "latency": [9_000.0, 31_500.0]}
    stubs.cloudwatch.add_response(
        "get_metric_data",
        {"MetricDataResults": [{"Id": key, "Values": found} for key, found in values.items()]},
        {"MetricDataQueries": requests.health_queries(NAME, CONFIG, variant), "StartTime": ANY, "EndTime": until},
    )
    health = stubs.endpoints.health(NAME, CONFIG, samples.NOW, until, shadow=shadow)
    assert health == VariantHealth(requests=100, errors_4xx=0, errors_5xx=1, latency_p99_ms=31.5)
    assert health.error_rate == 0.01


def test_the_instance_count_follows_the_requests_between_its_bounds(stubs: Stubs) -> None:
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{NAME}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling = Scaling(min=1, max=4, invocations_per_instance=600)
    stubs.autoscaling.add_response("register_scalable_target", {}, {**target, "MinCapacity": 1, "MaxCapacity": 4})
    policy = requests.scaling_policy(NAME, scaling)
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 600
    stubs.autoscaling.add_response("put_scaling_policy", {"PolicyARN": "arn:policy"}, policy)
    stubs.endpoints.scale(NAME, scaling)
    asked = {name: value for name, value in target.items() if name != "ResourceId"} | {
        "ResourceIds": [target["ResourceId"]]
    }
    found = {**target, "MinCapacity": 1, "MaxCapacity": 4, "RoleARN": "arn:role", "CreationTime": samples.NOW}
    for targets in ([found], []):
        stubs.autoscaling.add_response("describe_scalable_targets", {"ScalableTargets": targets}, asked)
        assert stubs.endpoints.scales(NAME) is bool(targets)
    stubs.autoscaling.add_response("deregister_scalable_target", {}, target)
    stubs.autoscaling.add_client_error("deregister_scalable_target", "ObjectNotFoundException")
    stubs.endpoints.unscale(NAME)
    stubs.endpoints.unscale(NAME)
    stubs.autoscaling.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("deploy", "routing"),
    [
        ({"strategy": "all_at_once"}, {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}),
        (
            {"strategy": "canary", "percent": 50, "bake": "5m", "instances": 2},
            {
                "Type": "CANARY",
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                "WaitIntervalInSeconds": 300,
            },
        ),
        (
            {"strategy": "linear", "step": 25, "interval": "2m", "instances": 4},
            {
                "Type": "LINEAR",
                "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
                "WaitIntervalInSeconds": 120,
            },
        ),
    ],
)
def test_an_update_on_instances_shifts_by_the_strategy_under_the_alarms(
    stubs: Stubs, deploy: dict[str, Any], routing: dict[str, Any]
) -> None:
    section = DeploySection.model_validate({"mode": "instance", **deploy})
    config = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": routing["WaitIntervalInSeconds"],
            "MaximumExecutionTimeoutInSeconds": int(section.longest_change.total_seconds()),
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in requests.alarm_names(NAME)]},
    }
    asked = {"EndpointName": NAME, "EndpointConfigName": "config", "DeploymentConfig": config}
    stubs.sagemaker.add_response("update_endpoint", {"EndpointArn": f"arn:aws:sagemaker:::endpoint/{NAME}"}, asked)
    stubs.endpoints.update(NAME, "config", section)
    stubs.sagemaker.assert_no_pending_responses()


def test_an_update_keeps_as_many_instances_as_the_traffic_has_made_necessary() -> None:
    scaled = DeploySection.model_validate({"mode": "instance", "autoscaling": {"min": 1, "max": 4}})
    assert requests.change(NAME, scaled)["RetainAllVariantProperties"] is True
    assert "RetainAllVariantProperties" not in requests.change(NAME, DeploySection(mode="instance"))
    assert requests.change(NAME, None) == requests.change(NAME, DeploySection()) == {}


def test_a_shadow_is_a_second_variant_with_the_candidates_model(stubs: Stubs) -> None:
    deploy = DeploySection.model_validate({"mode": "instance", "strategy": "shadow", "bake": "5m"})
    stubs.sagemaker.add_response(
        "create_endpoint_config",
        {"EndpointConfigArn": "arn:aws:sagemaker:::endpoint-config/c"},
        {
            "EndpointConfigName": "c",
            "ProductionVariants": [requests.variant("champion", deploy)],
            "ShadowProductionVariants": [requests.variant("candidate", deploy, "Shadow")],
            "Tags": [],
        },
    )
    stubs.endpoints.ensure_config(EndpointConfig("c", "champion", deploy, {}, "candidate"))
    stubs.sagemaker.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("found", "full"),
    [
        ({}, True),
        ({"ProductionVariants": [{"VariantName": "v", "CurrentWeight": 1.0, "DesiredWeight": 1.0}]}, True),
        ({"ProductionVariants": [{"VariantName": "v", "CurrentWeight": 0.5, "DesiredWeight": 1.0}]}, False),
        ({"PendingDeploymentSummary": {"EndpointConfigName": "next"}}, False),
    ],
)
def test_full_weight_is_seen(stubs: Stubs, found: dict[str, Any], full: bool) -> None:
    description = {
        "EndpointName": NAME,
        "EndpointArn": f"arn:aws:sagemaker:::endpoint/{NAME}",
        "EndpointConfigName": "config",
        "EndpointStatus": "InService",
        "CreationTime": samples.NOW,
        "LastModifiedTime": samples.NOW,
    }
    stubs.sagemaker.add_response("describe_endpoint", {**description, **found})
    live = stubs.endpoints.describe(NAME)
    assert live is not None
    assert live.full_weight is full
