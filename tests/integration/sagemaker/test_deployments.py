"""Deployment guardrails: traffic shifts step by step, alarms take it back, and no request is lost meanwhile."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.sagemaker import SageMakerEngine, SageMakerError
from local.sagemaker.api import SAGEMAKER
from tests.integration.sagemaker.cloud import INFERENCE, PYTHON, ROLE, Cloud, instances, strangers, variant
from tests.integration.sagemaker.fakes import FakeHost, until

KIND = "SageMaker Endpoint State Change"
STEPS = "SageMaker Endpoint Deployment State Change"
BROKEN = "def model_fn(model_dir):\n    raise OSError('not a booster')\n"
HOUR = 3600


def blue_green(
    kind: str = "ALL_AT_ONCE", wait: int = 0, *, end: int = 0, alarms: str = "", **sizes: Any
) -> dict[str, Any]:
    """A DeploymentConfig; sizes are percentages."""
    routing = {name: {"Type": "CAPACITY_PERCENT", "Value": percent} for name, percent in sizes.items()}
    config: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": wait, **routing},
            "TerminationWaitInSeconds": end,
        }
    }
    if alarms:
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms.split(",")]}
    return config


def canary(wait: int = 1, percent: int = 50, **more: Any) -> dict[str, Any]:
    """A DeploymentConfig with a canary."""
    return blue_green("CANARY", wait, CanarySize=percent, **more)


def deploy(cloud: Cloud, config: dict[str, Any], inference: str = INFERENCE, count: int = 2) -> None:
    """An endpoint whose model adds 1 starts to be replaced by one that adds 2."""
    cloud.model("adder-1", 1)
    cloud.config("one", instances("adder-1", count))
    assert cloud.endpoint()["EndpointStatus"] == "InService"
    cloud.model("adder-2", 2, inference)
    cloud.config("two", instances("adder-2", count))
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two", DeploymentConfig=config)


def refusal(cloud: Cloud, **request: Any) -> str:
    """Why an update is refused."""
    with pytest.raises(SageMakerError) as caught:
        cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two", **request)
    assert caught.value.code == "ValidationException"
    return caught.value.message


def messages(cloud: Cloud) -> list[str]:
    """What the deployment's events said of the new fleet's variant, in order."""
    pending = [event.detail["PendingDeploymentSummary"] for event in cloud.host.events if event.detail_type == STEPS]
    return [summary["ProductionVariants"][0]["VariantStatus"][0]["StatusMessage"] for summary in pending]


def baking(cloud: Cloud) -> None:
    """Waits until the new fleet has its first share of the traffic and bakes."""
    until(lambda: any(message.startswith("Baking") for message in messages(cloud)))


@contextmanager
def asked(cloud: Cloud) -> Iterator[Counter[float]]:
    """Requests all the while; what they were answered, and that none failed."""
    answers: Counter[float] = Counter()
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answers[cloud.predict(0)] += 1
            except Exception as error:  # noqa: BLE001 - any failure is what must not be
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_canary_gets_its_share_and_then_everything(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "OK"
    deploy(cloud, canary(20, alarms="errors", end=20))
    baking(cloud)
    with asked(cloud):
        assert cloud.settled()["EndpointConfigName"] == "two"
    assert cloud.predict(0) == 2
    assert messages(cloud) == [
        "Launching 2 instance(s).",
        "Activating traffic on canary capacity of 1 instance(s).",
        "Baking for 20 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s).",
        "Activating traffic on full capacity of 2 instance(s).",
        "Baking for 20 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 2 instance(s).",
    ]
    assert cloud.host.statuses(KIND, "EndpointStatus") == ["CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE"]


def test_while_a_canary_bakes(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "INSUFFICIENT_DATA"
    deploy(cloud, canary(HOUR, 25, alarms="errors"), count=4)
    baking(cloud)
    endpoint = cloud.call("DescribeEndpoint", EndpointName="live")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("Updating", "one")
    pending = endpoint["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "two"
    (shown,) = pending["ProductionVariants"]
    assert (shown["CurrentInstanceCount"], shown["DesiredInstanceCount"]) == (1, 4)
    assert shown["VariantStatus"][0]["Status"] == "Baking"
    assert strangers(SAGEMAKER.model.shape_for("DescribeEndpointOutput"), endpoint) == []
    answers = Counter(cloud.predict(0) for _ in range(200))
    assert answers == {1.0: 150, 2.0: 50}
    with pytest.raises(SageMakerError, match="in-progress endpoint"):
        cloud.call("DeleteEndpoint", EndpointName="live")
    cloud.host.alarms["errors"] = "ALARM"
    cloud.settled()


def test_an_alarm_takes_the_traffic_back(cloud: Cloud) -> None:
    cloud.host.alarms.update(errors="OK", latency="OK")
    deploy(cloud, canary(HOUR, alarms="errors,latency"))
    baking(cloud)
    with asked(cloud) as answers:
        until(lambda: answers[2.0] > 0)
        cloud.host.alarms["latency"] = "ALARM"
        endpoint = cloud.settled()
        assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "one")
        assert Counter(cloud.predict(0) for _ in range(20)) == {1.0: 20}
    assert endpoint["FailureReason"] == (
        "Auto-rollback: the following CloudWatch alarms went into ALARM state: latency."
    )
    assert "PendingDeploymentSummary" not in endpoint
    told = ["CREATING", "IN_SERVICE", "UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    until(lambda: len(cloud.host.statuses(KIND, "EndpointStatus")) == len(told))
    assert cloud.host.statuses(KIND, "EndpointStatus") == told
    assert messages(cloud)[-1] == "Terminating 2 instance(s)."


def test_an_alarm_during_the_last_bake_takes_it_back_too(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "OK"
    deploy(cloud, blue_green(alarms="errors", end=HOUR))
    until(lambda: cloud.predict(0) == 2)
    cloud.host.alarms["errors"] = "ALARM"
    assert cloud.settled()["EndpointConfigName"] == "one"
    assert cloud.predict(0) == 1


def test_an_alarm_that_rings_already_stops_the_deployment_before_it_gets_traffic(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "ALARM"
    with_alarm = canary(alarms="errors")
    deploy(cloud, with_alarm)
    assert "ALARM state: errors" in cloud.settled()["FailureReason"]
    assert messages(cloud) == ["Launching 2 instance(s).", "Terminating 2 instance(s)."]


def test_an_alarm_that_is_gone_takes_it_back(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "OK"
    deploy(cloud, canary(HOUR, alarms="errors"))
    baking(cloud)
    cloud.host.alarms.clear()
    endpoint = cloud.settled()
    assert endpoint["EndpointConfigName"] == "one"
    assert "do not exist: errors" in endpoint["FailureReason"]


def test_alarms_that_the_execution_role_may_not_read_take_it_back(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "OK"
    deploy(cloud, canary(HOUR, alarms="errors"))
    baking(cloud)
    cloud.host.denied_roles.add(ROLE)
    endpoint = cloud.settled()
    assert endpoint["EndpointConfigName"] == "one"
    assert "not authorized to perform cloudwatch:DescribeAlarms" in endpoint["FailureReason"]


def test_linear_steps(cloud: Cloud) -> None:
    deploy(cloud, blue_green("LINEAR", 1, LinearStepSize=34), count=3)
    with asked(cloud):
        assert cloud.settled()["EndpointConfigName"] == "two"
    activated = [message for message in messages(cloud) if message.startswith("Activating")]
    assert activated == [
        "Activating traffic on linear capacity of 2 instance(s).",
        "Activating traffic on linear capacity of 3 instance(s).",
        "Activating traffic on full capacity of 3 instance(s).",
    ]


def test_the_first_of_linear_steps_gets_its_share(cloud: Cloud) -> None:
    cloud.host.alarms["errors"] = "OK"
    deploy(cloud, blue_green("LINEAR", HOUR, LinearStepSize=34, alarms="errors"), count=3)
    baking(cloud)
    assert Counter(cloud.predict(0) for _ in range(100)) == {1.0: 66, 2.0: 34}
    cloud.host.alarms["errors"] = "ALARM"
    cloud.settled()


def test_a_new_fleet_that_does_not_start_gets_no_traffic(cloud: Cloud) -> None:
    deploy(cloud, canary(HOUR), BROKEN)
    with asked(cloud) as answers:
        endpoint = cloud.settled()
    assert endpoint["EndpointConfigName"] == "one"
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert set(answers) <= {1.0}
    assert messages(cloud) == ["Launching 2 instance(s)."]


def test_a_deployment_config_is_kept_for_later_updates(cloud: Cloud) -> None:
    config = canary()
    deploy(cloud, config)
    assert cloud.settled()["LastDeploymentConfig"] == config
    cloud.config("three", instances("adder-1"))
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="three", RetainDeploymentConfig=True)
    assert cloud.settled()["EndpointConfigName"] == "three"
    assert sum(message.startswith("Activating traffic on canary") for message in messages(cloud)) == 2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (canary(percent=60), "CanarySize must be less than or equal to 50%"),
        (canary(percent=10), "must be at least one instance: 10% of 2 is less"),
        (blue_green("LINEAR", 1, LinearStepSize=5), "LinearStepSize must be 10-50%"),
        (blue_green("CANARY", 1), "CanarySize is required"),
        (
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                    "WaitIntervalInSeconds": 0,
                }
            },
            "not supported here",
        ),
    ],
    ids=["canary too large", "canary too small", "step too small", "no size", "rolling"],
)
def test_deployments_that_cannot_be(cloud: Cloud, config: dict[str, Any], words: str) -> None:
    cloud.model("adder-1")
    cloud.config("one", instances("adder-1"))
    cloud.config("two", instances("adder-1"))
    cloud.endpoint()
    assert words in refusal(cloud, DeploymentConfig=config)
    assert cloud.call("DescribeEndpoint", EndpointName="live")["EndpointStatus"] == "InService"


def test_the_timeout_must_leave_room_for_the_waits(cloud: Cloud) -> None:
    cloud.model("adder-1")
    cloud.config("one", instances("adder-1"))
    cloud.config("two", instances("adder-1"))
    cloud.endpoint()
    config = canary(400, end=300)
    config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 700
    assert "must be larger than the total waiting time" in refusal(cloud, DeploymentConfig=config)


def test_serverless_endpoints_have_no_guardrails(cloud: Cloud) -> None:
    cloud.model("adder-1")
    cloud.config("one", variant("adder-1"))
    cloud.config("two", variant("adder-1"))
    cloud.endpoint()
    assert "not supported for serverless endpoints" in refusal(cloud, DeploymentConfig=canary())


def test_variants_keep_their_names(cloud: Cloud) -> None:
    cloud.model("adder-1")
    cloud.config("one", instances("adder-1"))
    cloud.config("two", instances("adder-1", name="Other"))
    cloud.endpoint()
    assert "it has Other instead of AllTraffic" in refusal(cloud, DeploymentConfig=canary())


def test_a_deployment_begins_anew_after_a_restart(cloud: Cloud) -> None:
    deploy(cloud, canary(HOUR))
    baking(cloud)
    state = cloud.engine.dump()
    cloud.engine.load(state)
    until(lambda: cloud.call("DescribeEndpoint", EndpointName="live")["EndpointConfigName"] == "one")
    until(lambda: len([message for message in messages(cloud) if message.startswith("Baking")]) == 2)
    assert Counter(cloud.predict(0) for _ in range(100)) == {1.0: 50, 2.0: 50}


def test_the_waits_are_divided_by_the_speed(folder: Any) -> None:
    host = FakeHost()
    engine = SageMakerEngine(host, folder, PYTHON, warm=False, speed=1_000_000)
    cloud = Cloud(engine, host)
    try:
        deploy(cloud, canary(HOUR, end=HOUR), count=2)
        endpoint = cloud.settled()
        assert endpoint["EndpointConfigName"] == "two", endpoint
    finally:
        engine.close()
