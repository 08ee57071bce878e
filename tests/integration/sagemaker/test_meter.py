"""What is measured of invocations, in CloudWatch's names and units."""

from collections import Counter

import pytest

from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import INFERENCE, SCOPE, Cloud, instances
from tests.integration.sagemaker.fakes import until

# Sleeps, refuses and fails as the record says.
MOODY = INFERENCE.replace(
    "return [row",
    """import time
    class Refused(Exception):
        status_code = 400
    time.sleep(rows[0].get("sleep", 0))
    if "refuse" in rows[0]: raise Refused("no")
    if "fail" in rows[0]: raise ValueError("no")
    return [row""",
)


def counted(cloud: Cloud, name: str, unit: str = "Count", dimensions: str = "live,AllTraffic") -> Counter[float]:
    """How often each value of a metric was published."""
    return cloud.host.metrics[name, unit, dimensions]


def moody(cloud: Cloud) -> None:
    """An endpoint on two instances."""
    cloud.model("moody", inference=MOODY)
    cloud.config("one", instances("moody"))
    cloud.endpoint()


def ask(cloud: Cloud, body: bytes) -> None:
    """One request, whatever comes of it."""
    sent = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    try:
        cloud.engine.invoke_endpoint(SCOPE, "live", body, sent)
    except SageMakerError as error:
        assert error.code == "ModelError"  # noqa: PT017 - most requests do not fail


def test_invocations_and_errors_are_counted(cloud: Cloud) -> None:
    moody(cloud)
    for body in (b'{"x":1}', b'{"x":1,"refuse":1}', b'{"x":1,"fail":1}', b'{"x":1}'):
        ask(cloud, body)
    until(lambda: counted(cloud, "Invocations") == {1: 4})
    assert counted(cloud, "InvocationsPerInstance") == {0.5: 4}
    assert counted(cloud, "Invocation4XXErrors") == {0: 3, 1: 1}
    assert counted(cloud, "Invocation5XXErrors") == {0: 3, 1: 1}
    assert counted(cloud, "InvocationModelErrors") == {0: 2, 1: 2}


def test_latencies_are_in_microseconds(cloud: Cloud) -> None:
    moody(cloud)
    ask(cloud, b'{"x":1,"sleep":0.05}')
    until(lambda: counted(cloud, "ModelLatency", "Microseconds").total() == 1)
    (model,), (overhead,) = (
        counted(cloud, "ModelLatency", "Microseconds"),
        counted(cloud, "OverheadLatency", "Microseconds"),
    )
    assert 50_000 <= model < 5_000_000
    assert 0 < overhead < model


def test_a_container_that_does_not_answer_is_a_model_error(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.sagemaker.variant.INVOCATION_TIMEOUT", 0.2)
    moody(cloud)
    ask(cloud, b'{"x":1,"sleep":5}')
    until(lambda: counted(cloud, "InvocationModelErrors") == {1: 1})
    assert counted(cloud, "Invocation5XXErrors") == {0: 1}


def test_the_configuration_tells_new_from_old(cloud: Cloud) -> None:
    moody(cloud)
    ask(cloud, b'{"x":1}')
    cloud.config("two", instances("moody"))
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    cloud.settled()
    ask(cloud, b'{"x":1}')
    ask(cloud, b'{"x":1}')
    until(lambda: counted(cloud, "Invocations") == {1: 3})
    assert counted(cloud, "Invocations", dimensions="live,AllTraffic,one") == {1: 1}
    assert counted(cloud, "Invocations", dimensions="live,AllTraffic,two") == {1: 2}


def test_what_never_reached_a_container_is_not_counted(cloud: Cloud) -> None:
    moody(cloud)
    with pytest.raises(SageMakerError, match="Variant other not found"):
        cloud.predict(0, **{"X-Amzn-SageMaker-Target-Variant": "other"})
    ask(cloud, b'{"x":1}')
    until(lambda: counted(cloud, "Invocations") == {1: 1})
