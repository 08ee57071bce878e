"""What happens beside the answers: copies for shadow variants, captured data, other capacities, limits."""

import base64
import json
import re
import threading
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from local.sagemaker import SageMakerError
from local.sagemaker.api import SAGEMAKER
from tests.integration.sagemaker.cloud import INFERENCE, SCOPE, Cloud, instances, strangers, variant
from tests.integration.sagemaker.fakes import until

KIND = "SageMaker Endpoint State Change"
LINES = "application/jsonlines"
SLEEPY = INFERENCE.replace("return [row", "import time; time.sleep(rows[0].get('sleep', 0)); return [row")
FAILING = INFERENCE.replace("return [row", "raise ValueError('no'); return [row")


def capture(**fields: Any) -> dict[str, Any]:
    """A DataCaptureConfig of both directions, JSON Lines as text."""
    return {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://captured/here",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": [LINES]},
        **fields,
    }


def shadowed(cloud: Cloud, inference: str = INFERENCE, weight: float = 1.0, **more: Any) -> None:
    """An endpoint with a shadow variant whose model adds 100."""
    cloud.model("adder-1", 1)
    cloud.model("adder-2", 100, inference)
    shadow = instances("adder-2", 1, "Shadow", InitialVariantWeight=weight)
    cloud.config("one", instances("adder-1", 1), ShadowProductionVariants=[shadow], **more)
    assert cloud.endpoint()["EndpointStatus"] == "InService"


def invocations(cloud: Cloud, name: str) -> int:
    """How many requests a variant has been measured to have got."""
    return cloud.host.metrics["Invocations", "Count", f"live,{name}"].total()


def captured(cloud: Cloud, name: str = "AllTraffic") -> list[dict[str, Any]]:
    """The captured lines of a variant, once there are any."""
    start = f"captured/here/live/{name}/"
    until(lambda: any(key.startswith(start) for key in list(cloud.host.objects)))
    files = [body for key, body in list(cloud.host.objects.items()) if key.startswith(start)]
    return [json.loads(line) for body in files for line in body.splitlines()]


# -- shadow variants ----------------------------------------------------------------------------------------------


def test_a_shadow_gets_a_copy_and_its_answer_reaches_nobody(cloud: Cloud) -> None:
    shadowed(cloud)
    assert {cloud.predict(0) for _ in range(20)} == {1}
    until(lambda: invocations(cloud, "Shadow") == 20)
    assert invocations(cloud, "AllTraffic") == 20
    endpoint = cloud.call("DescribeEndpoint", EndpointName="live")
    assert [shown["VariantName"] for shown in endpoint["ShadowProductionVariants"]] == ["Shadow"]
    config = cloud.call("DescribeEndpointConfig", EndpointConfigName="one")
    for name, answer in (("DescribeEndpointOutput", endpoint), ("DescribeEndpointConfigOutput", config)):
        assert strangers(SAGEMAKER.model.shape_for(name), answer) == []
    with pytest.raises(SageMakerError, match="Variant Shadow not found"):
        cloud.predict(0, **{"X-Amzn-SageMaker-Target-Variant": "Shadow"})


def test_a_shadow_gets_its_share(cloud: Cloud) -> None:
    shadowed(cloud, weight=0.5)
    for _ in range(200):
        cloud.predict(0)
    until(lambda: invocations(cloud, "AllTraffic") == 200)
    assert 60 <= invocations(cloud, "Shadow") <= 140


def test_a_shadow_that_fails_or_hangs_disturbs_nobody(cloud: Cloud) -> None:
    shadowed(cloud, FAILING)
    assert cloud.predict(0) == 1
    until(lambda: cloud.host.metrics["Invocation5XXErrors", "Count", "live,Shadow"] == {1: 1})
    assert cloud.host.metrics["Invocation5XXErrors", "Count", "live,AllTraffic"] == {0: 1}


def test_a_slow_shadow_keeps_nobody_waiting(cloud: Cloud) -> None:
    shadowed(cloud, INFERENCE.replace("return [row", "import time; time.sleep(0.4); return [row"))
    answers = Counter(cloud.predict(0) for _ in range(60))
    assert answers == {1: 60}
    until(lambda: invocations(cloud, "AllTraffic") == 60)
    assert invocations(cloud, "Shadow") < 60, "the copies did not keep up, the answers did"


# -- data capture -------------------------------------------------------------------------------------------------


def test_requests_and_answers_are_captured(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.config("one", instances("adder-1", 1), DataCaptureConfig=capture())
    assert cloud.endpoint()["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://captured/here",
        "KmsKeyId": "",
    }
    headers = {"X-Amzn-SageMaker-Inference-Id": "id-7", "X-Amzn-SageMaker-Custom-Attributes": "trace=9"}
    cloud.predict(41, **headers)
    (line,) = captured(cloud)
    metadata = line.pop("eventMetadata")
    assert line == {
        "captureData": {
            "endpointInput": {"observedContentType": LINES, "mode": "INPUT", "data": '{"x": 41}', "encoding": "JSON"},
            "endpointOutput": {
                "observedContentType": LINES,
                "mode": "OUTPUT",
                "data": '{"y": 42}\n',
                "encoding": "JSON",
            },
        },
        "eventVersion": "0",
    }
    assert (metadata["inferenceId"], metadata["customAttributes"]) == ("id-7", ["trace=9"])
    assert len(metadata["eventId"]) == 36
    assert datetime.fromisoformat(metadata["inferenceTime"]).tzinfo
    (key,) = (key for key in cloud.host.objects if key.startswith("captured/"))
    assert re.fullmatch(r"captured/here/live/AllTraffic/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{3}-[0-9a-f-]{36}\.jsonl", key)


def test_other_types_are_captured_in_base_64_and_with_the_key(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    one_way = capture(CaptureOptions=[{"CaptureMode": "Input"}], KmsKeyId="alias/capture")
    del one_way["CaptureContentTypeHeader"]
    cloud.config("one", instances("adder-1", 1), DataCaptureConfig=one_way)
    cloud.endpoint()
    cloud.predict(1)
    (line,) = captured(cloud)
    (kept,) = line["captureData"].values()
    assert (kept["encoding"], base64.b64decode(kept["data"])) == ("BASE64", b'{"x": 1}')


def test_a_sample_is_captured_and_failures_are_not(cloud: Cloud) -> None:
    cloud.model("adder-1", 1, INFERENCE.replace("return [row", "assert rows[0]['x']; return [row"))
    cloud.config("one", instances("adder-1", 1), DataCaptureConfig=capture(InitialSamplingPercentage=50))
    cloud.endpoint()
    for x in range(200):
        if x:
            cloud.predict(x)
        else:
            with pytest.raises(SageMakerError, match="Received server error"):
                cloud.predict(x)
    until(lambda: len(captured(cloud)) >= 60)
    assert len(captured(cloud)) <= 140
    assert not any('{"x": 0}' in json.dumps(line) for line in captured(cloud))


def test_a_shadows_answers_are_captured_apart(cloud: Cloud) -> None:
    shadowed(cloud, DataCaptureConfig=capture())
    cloud.predict(0)
    (line,) = captured(cloud, "Shadow")
    assert line["captureData"]["endpointOutput"]["data"] == '{"y": 100}\n'


def test_a_capture_that_is_off_captures_nothing(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.config("one", instances("adder-1", 1), DataCaptureConfig=capture(EnableCapture=False))
    cloud.config("two", instances("adder-1", 1), DataCaptureConfig=capture())
    assert cloud.endpoint()["DataCaptureConfig"]["CaptureStatus"] == "Stopped"
    cloud.predict(1)
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    cloud.settled()
    cloud.predict(2)
    (line,) = captured(cloud)
    assert line["captureData"]["endpointInput"]["data"] == '{"x": 2}'


@pytest.mark.parametrize(("excluded", "status"), [([], "Started"), (["DataCaptureConfig"], None)])
def test_data_capture_is_retained_like_the_variants_properties(
    cloud: Cloud, excluded: list[str], status: str | None
) -> None:
    cloud.model("adder-1", 1)
    cloud.config("one", instances("adder-1", 1), DataCaptureConfig=capture())
    cloud.config("two", instances("adder-1", 1))
    cloud.endpoint()
    cloud.call(
        "UpdateEndpoint",
        EndpointName="live",
        EndpointConfigName="two",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": kind} for kind in excluded],
    )
    assert cloud.settled().get("DataCaptureConfig", {}).get("CaptureStatus") == status


# -- weights, capacities and limits -------------------------------------------------------------------------------


def rescale(cloud: Cloud, **wish: Any) -> dict[str, Any]:
    """Changes one variant's weight or capacity and waits for it."""
    wishes = [{"VariantName": "AllTraffic", **wish}]
    cloud.call("UpdateEndpointWeightsAndCapacities", EndpointName="live", DesiredWeightsAndCapacities=wishes)
    return cloud.settled()


def test_instances_come_and_go_without_a_failed_request(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.config("one", instances("adder-1", 1))
    cloud.endpoint()
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                cloud.predict(0)
            except Exception as error:  # noqa: BLE001 - any failure is what must not be
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for count in (3, 1, 2):
            (shown,) = rescale(cloud, DesiredInstanceCount=count)["ProductionVariants"]
            assert (shown["CurrentInstanceCount"], shown["DesiredInstanceCount"]) == (count, count)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert cloud.host.statuses(KIND, "EndpointStatus")[2:4] == ["UPDATING", "IN_SERVICE"]


def test_weights_change_while_it_serves(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.model("adder-2", 2)
    cloud.config("one", instances("adder-1", 1, "a"), instances("adder-2", 1, "b", InitialVariantWeight=0))
    cloud.endpoint()
    wishes = [{"VariantName": "a", "DesiredWeight": 0}, {"VariantName": "b", "DesiredWeight": 3}]
    cloud.call("UpdateEndpointWeightsAndCapacities", EndpointName="live", DesiredWeightsAndCapacities=wishes)
    assert [shown["CurrentWeight"] for shown in cloud.settled()["ProductionVariants"]] == [0, 3]
    assert {cloud.predict(0) for _ in range(20)} == {2}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"VariantName": "Other", "DesiredWeight": 1}, "Other is not a production variant"),
        ({"VariantName": "AllTraffic", "DesiredInstanceCount": 0}, "at least 1"),
        ({"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 2}}, "is not serverless"),
    ],
)
def test_capacities_that_cannot_be(cloud: Cloud, wish: dict[str, Any], words: str) -> None:
    cloud.model("adder-1", 1)
    cloud.config("one", instances("adder-1", 1))
    cloud.endpoint()
    with pytest.raises(SageMakerError, match=words):
        cloud.call("UpdateEndpointWeightsAndCapacities", EndpointName="live", DesiredWeightsAndCapacities=[wish])
    assert cloud.call("DescribeEndpoint", EndpointName="live")["EndpointStatus"] == "InService"


def test_a_serverless_endpoint_has_a_concurrency(cloud: Cloud) -> None:
    cloud.model("sleepy", 1, SLEEPY)
    cloud.config("one", variant("sleepy", ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 1}))
    cloud.endpoint()
    sent = {"Content-Type": LINES, "Accept": LINES}
    slow = threading.Thread(target=cloud.engine.invoke_endpoint, args=(SCOPE, "live", b'{"x":0,"sleep":2}', sent))
    slow.start()
    until(lambda: throttled(cloud))
    slow.join()
    assert cloud.predict(0) == 1
    rescale(cloud, ServerlessUpdateConfig={"MaxConcurrency": 5})
    (shown,) = cloud.call("DescribeEndpoint", EndpointName="live")["ProductionVariants"]
    assert shown["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}


def throttled(cloud: Cloud) -> bool:
    """Whether a request now is one too many."""
    try:
        cloud.predict(0)
    except SageMakerError as error:
        return (error.code, error.message, error.status) == ("ThrottlingException", "Rate exceeded", 400)
    return False
