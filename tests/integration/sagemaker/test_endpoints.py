"""Endpoints: created, asked, updated without a failed request, rolled back, deleted."""

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest

from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import IMAGE, INFERENCE, ROLE, SCOPE, Cloud, instances, variant
from tests.integration.sagemaker.fakes import until

KIND = "SageMaker Endpoint State Change"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/live"
CAPTURE = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://captured/here",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}
BROKEN = "def model_fn(model_dir):\n    raise OSError('not a booster')\n"
SLOW = INFERENCE.replace("return [row", "import time; time.sleep(rows[0].get('sleep', 0)); return [row")


def refusal(cloud: Cloud, action: str, **request: Any) -> SageMakerError:
    """The error that a call meets."""
    with pytest.raises(SageMakerError) as caught:
        cloud.call(action, **request)
    return caught.value


def invoke_refusal(
    cloud: Cloud, name: str = "live", body: bytes = b'{"x":1}', target: str | None = None
) -> SageMakerError:
    """The error that an InvokeEndpoint meets."""
    headers = {"X-Amzn-SageMaker-Target-Variant": target} if target else {}
    with pytest.raises(SageMakerError) as caught:
        cloud.engine.invoke_endpoint(SCOPE, name, body, {"Content-Type": "application/jsonlines", **headers})
    return caught.value


def serving(cloud: Cloud, add: float = 1, inference: str = INFERENCE) -> None:
    """An endpoint `live` on configuration `one`."""
    cloud.model("adder-1", add, inference)
    cloud.config("one", variant("adder-1"))
    assert cloud.endpoint()["EndpointStatus"] == "InService"


def candidate(cloud: Cloud, add: float = 2, inference: str = INFERENCE) -> None:
    """A configuration `two` with another model."""
    cloud.model("adder-2", add, inference)
    cloud.config("two", variant("adder-2"))


def statuses(cloud: Cloud, *expected: str) -> None:
    """Waits until the endpoint's events have told exactly these."""
    until(lambda: len(cloud.host.statuses(KIND, "EndpointStatus")) >= len(expected))
    assert cloud.host.statuses(KIND, "EndpointStatus") == list(expected)


def pids(cloud: Cloud) -> list[int]:
    """The containers of all endpoints, by their log streams' names."""
    streams = [stream for group, stream in cloud.host.logs if group == "/aws/sagemaker/Endpoints/live"]
    return [int(stream.rpartition("i-")[2], 16) for stream in streams]


def test_an_endpoint_serves(cloud: Cloud) -> None:
    serving(cloud)
    endpoint = cloud.call("DescribeEndpoint", EndpointName="live")
    assert endpoint["EndpointArn"] == ARN
    assert endpoint["EndpointConfigName"] == "one"
    (shown,) = endpoint["ProductionVariants"]
    assert (shown["VariantName"], shown["CurrentWeight"]) == ("AllTraffic", 1.0)
    assert shown["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 20}
    assert shown["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    assert cloud.predict(1) == 2


def test_while_it_is_created(cloud: Cloud) -> None:
    cloud.model(inference="import time\ntime.sleep(0.3)\n" + INFERENCE)
    cloud.config("one", variant("adder"))
    cloud.call("CreateEndpoint", EndpointName="live", EndpointConfigName="one")
    endpoint = cloud.call("DescribeEndpoint", EndpointName="live")
    assert endpoint["EndpointStatus"] == "Creating"
    assert "ProductionVariants" not in endpoint
    assert invoke_refusal(cloud).message == "Endpoint live of account 111122223333 not found."
    for action in ("UpdateEndpoint", "DeleteEndpoint"):
        more = {"EndpointConfigName": "one"} if action == "UpdateEndpoint" else {}
        assert (
            refusal(cloud, action, EndpointName="live", **more).message
            == f'Cannot update in-progress endpoint "{ARN}".'
        )
    assert cloud.settled()["EndpointStatus"] == "InService"


def test_events_of_a_life(cloud: Cloud) -> None:
    cloud.model("adder-1")
    cloud.config("one", variant("adder-1"))
    tags = [{"Key": "pipeline", "Value": "traffic"}]
    cloud.call("CreateEndpoint", EndpointName="live", EndpointConfigName="one", Tags=tags)
    cloud.settled()
    candidate(cloud)
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    cloud.settled()
    cloud.call("DeleteEndpoint", EndpointName="live")
    statuses(cloud, "CREATING", "IN_SERVICE", "UPDATING", "IN_SERVICE", "DELETING")
    last = [event for event in cloud.host.events if event.detail_type == KIND][3]
    assert last.resources == (ARN,)
    detail = dict(last.detail)
    assert abs(detail.pop("CreationTime") / 1000 - time.time()) < 60
    assert detail.pop("LastModifiedTime") > 0
    (shown,) = detail.pop("ProductionVariants")
    assert shown["VariantName"] == "AllTraffic"
    assert detail == {
        "EndpointName": "live",
        "EndpointArn": ARN,
        "EndpointConfigName": "two",
        "EndpointStatus": "IN_SERVICE",
        "Tags": {"pipeline": "traffic"},
    }
    json.dumps(last.detail)


def test_the_answers_headers(cloud: Cloud) -> None:
    serving(cloud)
    sent = {"content-type": "application/jsonlines", "ACCEPT": "application/jsonlines"}
    assert cloud.engine.invoke_endpoint(SCOPE, "live", b'{"x":1}\n{"x":2}\n', sent) == (
        200,
        {"Content-Type": "application/jsonlines", "x-Amzn-Invoked-Production-Variant": "AllTraffic"},
        b'{"y": 2}\n{"y": 3}\n',
    )


def test_a_failing_model_is_a_model_error(cloud: Cloud) -> None:
    serving(cloud, inference=INFERENCE.replace("return [row", "raise ValueError('unseen'); return [row"))
    error = invoke_refusal(cloud)
    assert (error.code, error.status, error.details["OriginalStatusCode"]) == ("ModelError", 424, 500)
    assert error.details["OriginalMessage"].startswith("unseen\nTraceback")
    assert error.message.startswith('Received server error (500) from primary with message "unseen\nTraceback')
    assert "group=/aws/sagemaker/Endpoints/live in account 111122223333 for more" in error.message
    until(lambda: "ValueError: unseen" in cloud.host.lines("/aws/sagemaker/Endpoints/live", "AllTraffic/i-"))


def test_a_refused_input_is_a_client_error_of_the_model(cloud: Cloud) -> None:
    code = "class Bad(Exception):\n    status_code = 415\ndef input_fn(body, kind):\n    raise Bad('not JSON')\n"
    serving(cloud, inference=INFERENCE + code)
    error = invoke_refusal(cloud)
    assert (error.status, error.details["OriginalStatusCode"]) == (424, 415)
    assert error.message.startswith("Received client error (415) from primary")


def test_an_answer_that_takes_too_long(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.sagemaker.variant.INVOCATION_TIMEOUT", 0.3)
    serving(cloud, inference=SLOW)
    error = invoke_refusal(cloud, body=b'{"x":1,"sleep":5}')
    assert (error.code, error.details["OriginalStatusCode"]) == ("ModelError", 0)
    assert "Your invocation timed out while waiting for a response from container primary" in error.message


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ({}, 4_194_304),
        ({"ServerlessConfig": None, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}, 6_291_456),
    ],
    ids=["serverless", "instance"],
)
def test_payload_limits(cloud: Cloud, more: dict[str, Any], limit: int) -> None:
    cloud.model()
    cloud.config("one", variant("adder", **more))
    cloud.endpoint()
    body = b'{"x":1}'.ljust(limit)
    sent = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    assert cloud.engine.invoke_endpoint(SCOPE, "live", body, sent)[0] == 200
    error = invoke_refusal(cloud, body=body + b" ")
    assert (error.status, error.message) == (413, f"HTTP content length exceeded {limit} bytes.")


def test_an_endpoint_that_does_not_exist(cloud: Cloud) -> None:
    error = invoke_refusal(cloud, "absent")
    assert (error.code, error.status) == ("ValidationError", 400)
    assert error.message == "Endpoint absent of account 111122223333 not found."
    assert refusal(cloud, "DescribeEndpoint", EndpointName="absent").message == (
        'Could not find endpoint "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/absent".'
    )


def test_a_names_case_is_kept_and_must_be_matched_to_invoke(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    assert cloud.endpoint("Live")["EndpointArn"] == ARN
    assert cloud.predict(1, "Live") == 2
    assert invoke_refusal(cloud, "live").code == "ValidationError"
    error = refusal(cloud, "CreateEndpoint", EndpointName="LIVE", EndpointConfigName="one")
    assert error.message == f'Cannot create already existing endpoint "{ARN}".'


def test_traffic_follows_the_weights(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.model("adder-2", 2)
    heavy = instances("adder-1", 1, "heavy", InitialVariantWeight=0.75)
    cloud.config("one", heavy, instances("adder-2", 1, "light", InitialVariantWeight=0.25))
    cloud.endpoint()
    answers = Counter(cloud.predict(0) for _ in range(400))
    assert answers[1.0] + answers[2.0] == 400
    assert 240 < answers[1.0] < 360


def test_a_variant_may_be_named(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.model("adder-2", 2)
    cloud.config("one", instances("adder-1", 1, "a"), instances("adder-2", 1, "b", InitialVariantWeight=0))
    cloud.endpoint()
    target = {"X-Amzn-SageMaker-Target-Variant": "b"}
    assert {cloud.predict(0, **target) for _ in range(5)} == {2}
    assert {cloud.predict(0) for _ in range(20)} == {1}
    assert invoke_refusal(cloud, target="c").code == "ValidationError"


def test_each_instance_is_a_container_and_takes_its_turn(cloud: Cloud) -> None:
    cloud.model(inference=INFERENCE.replace('row["x"] + model["add"]', "os.getpid()"))
    cloud.config("one", instances("adder", 3))
    (shown,) = cloud.endpoint()["ProductionVariants"]
    assert (shown["CurrentInstanceCount"], shown["DesiredInstanceCount"]) == (3, 3)
    assert len({cloud.predict(0) for _ in range(6)}) == 3


def test_a_container_that_died_is_replaced(cloud: Cloud) -> None:
    serving(cloud, inference=INFERENCE.replace('row["x"] + model["add"]', "os.getpid()"))
    before = int(cloud.predict(0))
    os.killpg(before, signal.SIGKILL)
    until(lambda: _answers(cloud), timeout=10)
    assert int(cloud.predict(0)) != before
    assert cloud.call("DescribeEndpoint", EndpointName="live")["EndpointStatus"] == "InService"


def test_an_update_switches_without_a_failed_request(cloud: Cloud) -> None:
    serving(cloud, inference=SLOW)
    answers: list[float] = []
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answers.append(cloud.predict(0))
            except Exception as error:  # noqa: BLE001 - any failure is what must not be
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for number in range(2, 6):
        cloud.model(f"adder-{number}", number, SLOW)
        cloud.config(f"config-{number}", variant(f"adder-{number}"))
        cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName=f"config-{number}")
        assert cloud.settled()["EndpointConfigName"] == f"config-{number}"
        # What is asked after InService is answered by the new model only.
        assert cloud.predict(0) == number
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(answers) == {1, 2, 3, 4, 5}


def test_requests_under_way_are_answered_by_the_old_fleet(cloud: Cloud) -> None:
    serving(cloud, inference=SLOW)
    answers: list[bytes] = []
    sent = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}

    def ask() -> None:
        answers.append(cloud.engine.invoke_endpoint(SCOPE, "live", b'{"x":0,"sleep":1.0}', sent)[2])

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    candidate(cloud)
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    cloud.settled()
    assert cloud.predict(0) == 2
    assert answers == []
    thread.join()
    assert answers == [b'{"y": 1}\n']


def test_an_update_that_fails_is_rolled_back(cloud: Cloud) -> None:
    serving(cloud)
    candidate(cloud, inference="import time\ntime.sleep(0.3)\n" + BROKEN)
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    updating = cloud.call("DescribeEndpoint", EndpointName="live")
    assert updating["EndpointStatus"] == "Updating"
    assert updating["EndpointConfigName"] == "one"
    assert updating["PendingDeploymentSummary"]["EndpointConfigName"] == "two"
    assert cloud.predict(1) == 2
    endpoint = cloud.settled()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "one")
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert "PendingDeploymentSummary" not in endpoint
    assert cloud.predict(1) == 2
    statuses(cloud, "CREATING", "IN_SERVICE", "UPDATING", "ROLLING_BACK", "IN_SERVICE")
    until(lambda: "OSError: not a booster" in cloud.host.lines("/aws/sagemaker/Endpoints/live"))


def test_a_later_good_update_forgets_the_failure(cloud: Cloud) -> None:
    serving(cloud)
    candidate(cloud, inference=BROKEN)
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    cloud.settled()
    cloud.model("adder-3", 3)
    cloud.config("three", variant("adder-3"))
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="three")
    assert "FailureReason" not in cloud.settled()
    assert cloud.predict(0) == 3


def test_no_update_while_one_is_under_way(cloud: Cloud) -> None:
    serving(cloud)
    candidate(cloud, inference="import time\ntime.sleep(0.3)\n" + INFERENCE)
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    error = refusal(cloud, "UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    assert (error.code, error.message) == ("ValidationException", f'Cannot update in-progress endpoint "{ARN}".')
    assert cloud.settled()["EndpointConfigName"] == "two"


def test_an_endpoint_that_does_not_come_up_has_failed(cloud: Cloud) -> None:
    cloud.model(inference=BROKEN)
    cloud.config("one", variant("adder"))
    endpoint = cloud.endpoint()
    assert endpoint["EndpointStatus"] == "Failed"
    assert endpoint["FailureReason"].startswith(
        "The primary container for production variant AllTraffic did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )
    statuses(cloud, "CREATING", "FAILED")
    assert cloud.host.events[-1].detail["FailureReason"] == endpoint["FailureReason"]
    assert (
        "Cannot update failed endpoint"
        in refusal(cloud, "UpdateEndpoint", EndpointName="live", EndpointConfigName="one").message
    )
    cloud.call("DeleteEndpoint", EndpointName="live")
    until(lambda: cloud.call("ListEndpoints")["Endpoints"] == [])


def test_a_container_that_is_too_slow_has_failed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.sagemaker.plans.STARTUP_TIMEOUT", 0.3)
    cloud.model(inference="import time\ntime.sleep(60)\n")
    cloud.config("one", variant("adder"))
    assert "did not answer /ping within 0.3 seconds" in cloud.endpoint()["FailureReason"]


def test_model_data_that_is_gone(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    del cloud.host.objects["artifacts/adder.tar.gz"]
    assert cloud.endpoint()["FailureReason"].startswith(
        "Failed to download model data for container of production variant AllTraffic: NoSuchKey (404)"
    )


def test_a_role_that_is_gone(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    cloud.host.unknown_roles.add(ROLE)
    assert "The execution role could not be used" in cloud.endpoint()["FailureReason"]


def test_one_broken_variant_fails_all(cloud: Cloud) -> None:
    cloud.model("good")
    cloud.model("bad", inference=BROKEN)
    cloud.config("one", instances("good", 1, "a"), instances("bad", 1, "b"))
    assert "production variant b did not pass" in cloud.endpoint()["FailureReason"]
    until(lambda: not any(_alive(pid) for pid in pids(cloud)))


def test_a_deleted_endpoint_is_gone_and_its_containers_too(cloud: Cloud) -> None:
    serving(cloud, inference="print('loaded')\n" + INFERENCE)
    until(lambda: pids(cloud))
    (pid,) = pids(cloud)
    assert _alive(pid)
    cloud.call("DeleteEndpoint", EndpointName="live")
    assert invoke_refusal(cloud).code == "ValidationError"
    until(lambda: cloud.call("ListEndpoints")["Endpoints"] == [])
    assert not _alive(pid)
    cloud.endpoint()
    assert cloud.predict(1) == 2


def test_the_model_may_be_deleted_while_it_serves(cloud: Cloud) -> None:
    serving(cloud)
    cloud.call("DeleteModel", ModelName="adder-1")
    cloud.call("DeleteEndpointConfig", EndpointConfigName="one")
    assert cloud.predict(1) == 2


def test_variant_properties_may_be_retained(cloud: Cloud) -> None:
    cloud.model("adder-1")
    cloud.config("one", instances("adder-1", 2, InitialVariantWeight=0.5))
    cloud.endpoint()
    cloud.config("two", instances("adder-1", 1))
    retain = {"RetainAllVariantProperties": True, "EndpointConfigName": "two"}
    cloud.call("UpdateEndpoint", EndpointName="live", **retain)
    (shown,) = cloud.settled()["ProductionVariants"]
    assert (shown["CurrentInstanceCount"], shown["CurrentWeight"]) == (2, 0.5)
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    cloud.call("UpdateEndpoint", EndpointName="live", ExcludeRetainedVariantProperties=excluded, **retain)
    (shown,) = cloud.settled()["ProductionVariants"]
    assert (shown["CurrentInstanceCount"], shown["CurrentWeight"]) == (1, 0.5)


def test_an_absent_configuration(cloud: Cloud) -> None:
    message = 'Could not find endpoint configuration "arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/absent".'
    assert refusal(cloud, "CreateEndpoint", EndpointName="live", EndpointConfigName="absent").message == message
    serving(cloud)
    assert refusal(cloud, "UpdateEndpoint", EndpointName="live", EndpointConfigName="absent").message == message
    assert cloud.predict(1) == 2


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ([{"VariantName": "a", "ModelName": "adder"}], "must have InstanceType and InitialInstanceCount"),
        ([variant("adder", InstanceType="ml.m5.large")], "must not name instances"),
        ([variant("adder"), variant("adder")], "must be unique"),
        ([variant("absent")], 'Could not find model "'),
        ([variant("adder", ModelName=None)], "must have a ModelName"),
        (
            [variant("adder", ServerlessConfig={"MemorySizeInMB": 1500, "MaxConcurrency": 1})],
            "MemorySizeInMB must be one of",
        ),
    ],
)
def test_configurations_that_cannot_be(cloud: Cloud, variants: list[dict[str, Any]], message: str) -> None:
    cloud.model()
    error = refusal(cloud, "CreateEndpointConfig", EndpointConfigName="one", ProductionVariants=variants)
    assert error.code == "ValidationException"
    assert re.search(re.escape(message), error.message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"AsyncInferenceConfig": {"OutputConfig": {}}}, "AsyncInferenceConfig is not supported here."),
        ({"ShadowProductionVariants": [variant("adder", "shadow")]}, "not supported for serverless endpoints"),
        ({"DataCaptureConfig": CAPTURE}, "DataCaptureConfig is not supported for serverless endpoints"),
        ({"ProductionVariants": [variant("adder", "a"), variant("adder", "b")]}, "multiple production variants"),
        (
            {
                "ProductionVariants": [instances("adder", 1, "a"), instances("adder", 1, "b")],
                "ShadowProductionVariants": [instances("adder", 1, "c")],
            },
            "one production variant and one shadow variant",
        ),
    ],
    ids=["async", "shadow", "capture", "several", "too many beside a shadow"],
)
def test_what_does_not_go_together_is_refused(cloud: Cloud, more: dict[str, Any], message: str) -> None:
    cloud.model()
    request = {"EndpointConfigName": "one", "ProductionVariants": [variant("adder")], **more}
    assert message in refusal(cloud, "CreateEndpointConfig", **request).message


def test_configurations_are_described_listed_and_deleted(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    described = cloud.call("DescribeEndpointConfig", EndpointConfigName="one")
    assert described["ProductionVariants"] == [{**variant("adder"), "InitialVariantWeight": 1.0}]
    assert [c["EndpointConfigName"] for c in cloud.call("ListEndpointConfigs")["EndpointConfigs"]] == ["one"]
    taken = refusal(cloud, "CreateEndpointConfig", EndpointConfigName="one", ProductionVariants=[variant("adder")])
    assert taken.message.startswith("Cannot create already existing endpoint configuration")
    cloud.call("DeleteEndpointConfig", EndpointConfigName="one")
    gone = refusal(cloud, "DeleteEndpointConfig", EndpointConfigName="one")
    assert gone.message.startswith("Could not find endpoint configuration")


def _answers(cloud: Cloud) -> bool:
    try:
        return cloud.predict(0) > 0
    except SageMakerError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
