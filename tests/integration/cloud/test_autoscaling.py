"""Application Auto Scaling keeps targets and policies of endpoints' variants, for those who may."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.autoscaling import AUTOSCALING, AutoScalingEngine, AutoScalingError
from local.cloud.process import Cloud
from local.host import Scope
from tests.integration.cloud.account import Account

SCOPE = Scope("111122223333", "eu-west-1")
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/live/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
BOUNDS = {"MinCapacity": 1, "MaxCapacity": 4}
TRACKING = {
    "PolicyName": "invocations",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 100.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    },
}


@pytest.fixture
def engine() -> AutoScalingEngine:
    return AutoScalingEngine(lambda _, endpoint, variant: (endpoint, variant) == ("live", "AllTraffic"))


def refusal(engine: AutoScalingEngine, action: str, **request: Any) -> AutoScalingError:
    with pytest.raises(AutoScalingError) as caught:
        engine.call(SCOPE, action, request)
    return caught.value


def test_a_target_and_its_policy_are_kept(engine: AutoScalingEngine) -> None:
    arn = engine.call(SCOPE, "RegisterScalableTarget", {**TARGET, **BOUNDS})["ScalableTargetARN"]
    put = engine.call(SCOPE, "PutScalingPolicy", {**TARGET, **TRACKING})
    engine.call(SCOPE, "RegisterScalableTarget", {**TARGET, "MaxCapacity": 6})
    policy_arn = engine.call(SCOPE, "PutScalingPolicy", {**TARGET, **TRACKING})["PolicyARN"]

    kept = AutoScalingEngine(lambda *_: True)
    kept.load(engine.dump())
    (target,) = kept.call(SCOPE, "DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"], target["ScalableTargetARN"]) == (1, 6, arn)
    (policy,) = kept.call(SCOPE, "DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"})["ScalingPolicies"]
    assert policy["PolicyARN"] == policy_arn == put["PolicyARN"], "the second put changed the first's policy"
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 100
    for operation, answer in (("DescribeScalableTargets", target), ("DescribeScalingPolicies", policy)):
        shape: Any = AUTOSCALING.model.operation_model(operation).output_shape
        (items,) = (member for member in shape.members.values() if member.type_name == "list")
        assert answer.keys() <= items.member.members.keys()


def test_a_deregistered_target_takes_its_policies_along(engine: AutoScalingEngine) -> None:
    engine.call(SCOPE, "RegisterScalableTarget", {**TARGET, **BOUNDS})
    engine.call(SCOPE, "PutScalingPolicy", {**TARGET, **TRACKING})
    engine.call(SCOPE, "DeregisterScalableTarget", TARGET)
    assert engine.dump() == {"targets": [], "policies": []}
    assert refusal(engine, "DeregisterScalableTarget", **TARGET).code == "ObjectNotFoundException"


def test_a_policy_can_be_deleted_alone(engine: AutoScalingEngine) -> None:
    engine.call(SCOPE, "RegisterScalableTarget", {**TARGET, **BOUNDS})
    engine.call(SCOPE, "PutScalingPolicy", {**TARGET, **TRACKING})
    engine.call(SCOPE, "DeleteScalingPolicy", {**TARGET, "PolicyName": "invocations"})
    assert engine.call(SCOPE, "DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"}) == {"ScalingPolicies": []}
    assert refusal(engine, "DeleteScalingPolicy", **TARGET, PolicyName="invocations").code == "ObjectNotFoundException"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (TARGET, "MinCapacity and MaxCapacity are required"),
        ({**TARGET, "MinCapacity": 5, "MaxCapacity": 4}, "cannot be less than minimum"),
        ({**TARGET, **BOUNDS, "ResourceId": "endpoint/other/variant/AllTraffic"}, "does not exist"),
        ({**TARGET, **BOUNDS, "ResourceId": "service/a/b"}, "can be scaled here"),
        ({**TARGET, **BOUNDS, "ScalableDimension": "sagemaker:variant:Instances"}, "enum value set"),
    ],
)
def test_targets_that_cannot_be(engine: AutoScalingEngine, request_: dict[str, Any], words: str) -> None:
    error = refusal(engine, "RegisterScalableTarget", **request_)
    assert error.code == "ValidationException"
    assert words in error.message


def test_it_is_a_service_of_the_cloud_with_permissions(cloud: Cloud) -> None:
    account = Account(cloud)
    with pytest.raises(ClientError, match="Endpoint live does not exist"):
        account.client("application-autoscaling").register_scalable_target(**TARGET, **BOUNDS)
    keys = account.iam.create_access_key(UserName=account.iam.create_user(UserName="scaler")["User"]["UserName"])
    stranger = cloud.session().client(
        "application-autoscaling",
        aws_access_key_id=keys["AccessKey"]["AccessKeyId"],
        aws_secret_access_key=keys["AccessKey"]["SecretAccessKey"],
    )
    with pytest.raises(ClientError) as denied:
        stranger.register_scalable_target(**TARGET, **BOUNDS)
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "application-autoscaling:RegisterScalableTarget" in denied.value.response["Error"]["Message"]
