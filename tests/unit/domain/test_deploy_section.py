"""How a pipeline serves: what SageMaker would refuse is refused when the definition is read, with the fix."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ratchet.adapters.endpoint_requests import change
from ratchet.domain.deploy_section import DeploySection

CANARY: dict[str, Any] = {"mode": "instance", "instances": 2, "strategy": "canary", "percent": 50, "bake": "5m"}
LINEAR: dict[str, Any] = {"mode": "instance", "instances": 10, "strategy": "linear", "step": 10, "interval": "10m"}
SHADOW: dict[str, Any] = {"mode": "instance", "strategy": "shadow", "bake": "5m"}


@pytest.mark.parametrize("good", [{}, CANARY, LINEAR, SHADOW, {"mode": "instance"}, {**SHADOW, "bake": "1d"}])
def test_what_sagemaker_takes_is_taken(good: dict[str, Any]) -> None:
    assert DeploySection.model_validate(good).strategy == good.get("strategy", "all_at_once")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({**CANARY, "mode": "serverless", "instances": 1}, "neither deployment guardrails nor shadow variants"),
        ({"instances": 2}, "instances is for instances"),
        ({"bake": "5m"}, "bake is for instances"),
        ({"autoscaling": {"min": 1, "max": 2}}, "autoscaling is for instances"),
        ({**CANARY, "percent": 10}, "10 % of 2 instance.* give it 10 instances at least"),
        ({**CANARY, "instances": 1}, "50 % of 1 instance.* give it 2 instances at least"),
        ({**CANARY, "percent": 51}, "less than or equal to 50"),
        ({**CANARY, "percent": None}, "strategy canary needs percent"),
        ({**CANARY, "bake": None}, "strategy canary needs bake"),
        ({**CANARY, "bake": "10s"}, "bake 10s is not between 1m"),
        ({**CANARY, "bake": "2h"}, "bake 2h is not between 1m .* and 1h"),
        ({**CANARY, "step": 20}, "step belongs to strategy linear"),
        ({**LINEAR, "step": 5}, "greater than or equal to 10"),
        ({**LINEAR, "step": 60}, "less than or equal to 50"),
        ({**LINEAR, "interval": "1h"}, "10 steps of 1h take longer than the 8h"),
        ({**LINEAR, "bake": "5m"}, "bake is called interval"),
        ({**SHADOW, "bake": "2d"}, "bake 2d is not between 1m .* and 1d"),
        ({**CANARY, "autoscaling": {"min": 3, "max": 4}}, "instances 2 is outside autoscaling's 3 to 4"),
        ({**CANARY, "autoscaling": {"min": 1, "max": 4}}, "50 % of 1 instance"),
        ({**CANARY, "autoscaling": {"min": 4, "max": 2}}, "swap them"),
    ],
)
def test_what_sagemaker_would_refuse_is_refused_with_the_fix(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DeploySection.model_validate(changes)


@given(
    strategy=st.sampled_from(["all_at_once", "canary", "linear", "shadow"]),
    instances=st.integers(1, 30),
    share=st.integers(1, 60),
    minutes=st.integers(0, 70),
)
def test_whatever_is_accepted_is_within_sagemakers_bounds(
    strategy: str, instances: int, share: int, minutes: int
) -> None:
    names = {"canary": ("percent", "bake"), "linear": ("step", "interval"), "shadow": ("", "bake")}.get(strategy)
    document: dict[str, Any] = {"mode": "instance", "strategy": strategy, "instances": instances}
    if names is not None:
        document |= {names[1]: f"{minutes}m"} | ({names[0]: share} if names[0] else {})
    try:
        deploy = DeploySection.model_validate(document)
    except ValidationError:
        return
    policy = change("endpoint", deploy)["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    size = routing.get("CanarySize") or routing.get("LinearStepSize")
    if size is not None:
        assert (10 if strategy == "linear" else 1) <= size["Value"] <= 50
        assert instances * size["Value"] >= 100, "SageMaker shifts whole instances"
    shifts = {"canary": 2, "linear": -(-100 // share)}.get(strategy, 1)
    assert 0 <= routing["WaitIntervalInSeconds"] <= 3600
    assert 600 <= policy["MaximumExecutionTimeoutInSeconds"] <= 28_800
    assert policy["MaximumExecutionTimeoutInSeconds"] > shifts * routing["WaitIntervalInSeconds"]


def test_a_shadow_is_promoted_by_a_shift_that_the_alarms_watch() -> None:
    deploy = DeploySection.model_validate({**SHADOW, "bake": "1d"})
    assert deploy.shift_bake == timedelta(hours=1)
    assert change("endpoint", deploy)["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
