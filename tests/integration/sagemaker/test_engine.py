"""The engine as a whole: its state over a restart, its end, and the ARNs that policies name."""

import json
import os
import time
from pathlib import Path

import pytest

from local.sagemaker import SageMakerEngine, SageMakerError
from local.sagemaker.api import SAGEMAKER
from tests.integration.sagemaker.cloud import INFERENCE, PYTHON, SCOPE, Cloud, archive, variant
from tests.integration.sagemaker.fakes import FakeHost, until

PREFIX = "arn:aws:sagemaker:eu-west-1:111122223333:"
BROKEN = "def model_fn(model_dir):\n    raise OSError('not a booster')\n"
SLOW_START = "import time\ntime.sleep(0.5)\n" + INFERENCE


def restarted(cloud: Cloud) -> None:
    """Takes the state through JSON and back."""
    cloud.engine.load(json.loads(json.dumps(cloud.engine.dump())))


def test_everything_comes_back(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    cloud.train("job-1", "pass", Tags=[{"Key": "a", "Value": "b"}])
    cloud.call("CreateModelPackageGroup", ModelPackageGroupName="g")
    for _ in range(2):
        cloud.call("CreateModelPackage", ModelPackageGroupName="g")
    cloud.call("DeleteModelPackage", ModelPackageName=f"{PREFIX}model-package/g/2")
    before = cloud.engine.dump()
    restarted(cloud)
    assert cloud.engine.dump() == before
    assert cloud.call("ListTags", ResourceArn=f"{PREFIX}training-job/job-1")["Tags"] == [{"Key": "a", "Value": "b"}]
    assert cloud.call("CreateModelPackage", ModelPackageGroupName="g")["ModelPackageArn"].endswith("/3")


def test_the_dump_is_a_copy(cloud: Cloud) -> None:
    cloud.model()
    state = cloud.engine.dump()
    cloud.call("DeleteModel", ModelName="adder")
    assert state["records"][0]["records"]["adder"]["ModelName"] == "adder"


def test_a_job_that_ran_has_failed(cloud: Cloud) -> None:
    cloud.start_training("job-1", "import time; print('runs'); time.sleep(60)")
    until(lambda: cloud.host.lines("/aws/sagemaker/TrainingJobs"))
    restarted(cloud)
    outcome, job = cloud.engine.finished(SCOPE, "CreateTrainingJob", {"TrainingJobName": "job-1"})
    assert (outcome, job["SecondaryStatus"]) == ("failed", "Failed")
    assert job["FailureReason"].startswith("InternalServerError")


def test_an_endpoint_serves_again_with_fresh_data(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    told = len(cloud.host.events)
    restarted(cloud)
    endpoint = cloud.settled()
    assert endpoint["EndpointStatus"] == "InService"
    assert cloud.predict(1) == 2
    assert len(cloud.host.events) == told


def test_an_endpoint_waits_for_the_cloud_around_it(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    data = cloud.host.objects.pop("artifacts/adder.tar.gz")
    restarted(cloud)
    assert cloud.call("DescribeEndpoint", EndpointName="live")["EndpointStatus"] == "SystemUpdating"
    cloud.host.objects["artifacts/adder.tar.gz"] = data
    assert cloud.settled()["EndpointStatus"] == "InService"
    assert cloud.predict(1) == 2


def test_an_endpoint_whose_code_is_broken_is_not_tried_again_and_again(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    cloud.host.objects["artifacts/adder.tar.gz"] = archive({"code/inference.py": "print('tried')\n" + BROKEN})
    restarted(cloud)
    assert "did not pass the ping health check" in cloud.settled()["FailureReason"]
    until(lambda: cloud.host.lines("/aws/sagemaker/Endpoints/live").count("tried") == 1)


def test_an_endpoint_whose_model_is_gone_has_failed(cloud: Cloud) -> None:
    cloud.model()
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    cloud.call("DeleteModel", ModelName="adder")
    restarted(cloud)
    endpoint = cloud.settled()
    assert endpoint["EndpointStatus"] == "Failed"
    assert endpoint["FailureReason"].startswith("Could not find model")


def test_what_was_being_created_is_finished(cloud: Cloud) -> None:
    cloud.model(inference=SLOW_START)
    cloud.config("one", variant("adder"))
    cloud.call("CreateEndpoint", EndpointName="live", EndpointConfigName="one")
    restarted(cloud)
    assert cloud.settled()["EndpointStatus"] == "InService"


def test_an_update_that_was_under_way_is_finished(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.model("adder-2", 2, SLOW_START)
    cloud.config("one", variant("adder-1"))
    cloud.config("two", variant("adder-2"))
    cloud.endpoint()
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    restarted(cloud)
    endpoint = cloud.settled()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "two")
    assert "PendingDeploymentSummary" not in endpoint
    assert cloud.predict(0) == 2


def test_a_bad_update_that_was_under_way_is_rolled_back(cloud: Cloud) -> None:
    cloud.model("adder-1", 1)
    cloud.model("adder-2", 2, "import time\ntime.sleep(0.3)\n" + BROKEN)
    cloud.config("one", variant("adder-1"))
    cloud.config("two", variant("adder-2"))
    cloud.endpoint()
    cloud.call("UpdateEndpoint", EndpointName="live", EndpointConfigName="two")
    restarted(cloud)
    endpoint = cloud.settled()
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "one")
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert cloud.predict(0) == 1


def test_a_reset_forgets_all_and_ends_all(cloud: Cloud) -> None:
    cloud.model(inference=INFERENCE.replace('row["x"] + model["add"]', "os.getpid()"))
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    pid = int(cloud.predict(0))
    cloud.start_training("job-1", "import time; time.sleep(60)")
    begun = time.monotonic()
    cloud.engine.reset()
    assert time.monotonic() - begun < 5
    cloud.host.events.clear()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert cloud.engine.dump() == {"records": [], "tags": {}, "versions": {}}
    with pytest.raises(SageMakerError, match="not found"):
        cloud.predict(0)
    cloud.train("job-1", "pass")
    until(lambda: len(cloud.host.events) == 5)
    assert [event.detail["TrainingJobName"] for event in cloud.host.events] == ["job-1"] * 5


def test_a_close_ends_every_process(folder: Path) -> None:
    engine = SageMakerEngine(FakeHost(), folder, PYTHON)
    cloud = Cloud(engine, engine._host)  # type: ignore[arg-type]
    cloud.model(inference=INFERENCE.replace('row["x"] + model["add"]', "os.getpid() * 10_000_000 + os.getppid()"))
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    container, zygote = divmod(int(cloud.predict(0)), 10_000_000)
    engine.close()
    for pid in (container, zygote):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_without_the_warm_process_all_works_the_same(folder: Path) -> None:
    host = FakeHost()
    cloud = Cloud(SageMakerEngine(host, folder, PYTHON, warm=False), host)
    cloud.model()
    cloud.config("one", variant("adder"))
    assert cloud.endpoint()["EndpointStatus"] == "InService"
    assert cloud.predict(1) == 2
    assert cloud.train("job-1", "import os; print(os.environ['SM_MODEL_DIR'])")["TrainingJobStatus"] == "Completed"
    assert cloud.train("job-2", "1 / 0")["TrainingJobStatus"] == "Failed"
    cloud.engine.close()


@pytest.mark.parametrize(
    ("action", "request_", "resource"),
    [
        ("CreateTrainingJob", {"TrainingJobName": "Job-1"}, "training-job/job-1"),
        ("StopTransformJob", {"TransformJobName": "score-1"}, "transform-job/score-1"),
        ("CreateModel", {"ModelName": "m"}, "model/m"),
        ("DeleteEndpointConfig", {"EndpointConfigName": "c"}, "endpoint-config/c"),
        ("UpdateEndpoint", {"EndpointName": "Live", "EndpointConfigName": "c"}, "endpoint/live"),
        ("InvokeEndpoint", {"EndpointName": "Live"}, "endpoint/live"),
        ("CreateModelPackageGroup", {"ModelPackageGroupName": "g"}, "model-package-group/g"),
        ("CreateModelPackage", {"ModelPackageGroupName": "g"}, "model-package/g/*"),
        ("CreateModelPackage", {"ModelPackageName": "p"}, "model-package/p"),
        ("UpdateModelPackage", {"ModelPackageArn": f"{PREFIX}model-package/g/1"}, "model-package/g/1"),
        ("DescribeModelPackage", {"ModelPackageName": f"{PREFIX}model-package/g/1"}, "model-package/g/1"),
        ("DeleteModelPackage", {"ModelPackageName": "g/1"}, "model-package/g/1"),
        ("AddTags", {"ResourceArn": f"{PREFIX}endpoint/live"}, "endpoint/live"),
    ],
)
def test_the_arn_that_a_policy_must_name(cloud: Cloud, action: str, request_: dict[str, str], resource: str) -> None:
    assert cloud.engine.resource_arn(SCOPE, action, request_) == PREFIX + resource


@pytest.mark.parametrize("action", ["ListModels", "ListModelPackages", "CreateModel", "Unknown"])
def test_calls_that_name_no_resource(cloud: Cloud, action: str) -> None:
    assert cloud.engine.resource_arn(SCOPE, action, {}) == "*"


def test_only_jobs_can_be_waited_for(cloud: Cloud) -> None:
    with pytest.raises(SageMakerError, match="CreateModel starts no job"):
        cloud.engine.finished(SCOPE, "CreateModel", {"ModelName": "m"})


def test_every_answer_fits_the_service_model(cloud: Cloud) -> None:
    """What Describe and List answer has only fields that the model knows."""
    cloud.train("job-1", "print('rmse=1;')")
    cloud.model()
    cloud.transform("score-1")
    cloud.config("one", variant("adder"))
    cloud.endpoint()
    cloud.call("CreateModelPackageGroup", ModelPackageGroupName="g")
    package = cloud.call("CreateModelPackage", ModelPackageGroupName="g")["ModelPackageArn"]
    cloud.call("UpdateModelPackage", ModelPackageArn=package, ModelApprovalStatus="Approved")
    names = {
        "TrainingJob": "job-1",
        "TransformJob": "score-1",
        "Model": "adder",
        "EndpointConfig": "one",
        "Endpoint": "live",
        "ModelPackageGroup": "g",
        "ModelPackage": package,
    }
    answers = {
        f"Describe{noun}": cloud.call(f"Describe{noun}", **{f"{noun}Name": name}) for noun, name in names.items()
    }
    only = {"ModelPackage": {"ModelPackageGroupName": "g"}}
    answers |= {f"List{noun}s": cloud.call(f"List{noun}s", **only.get(noun, {})) for noun in names}
    assert len(answers) == 14
    for action, answer in answers.items():
        shape = SAGEMAKER.model.operation_model(action).output_shape
        assert shape is not None
        known = getattr(shape, "members", {})
        assert set(answer) <= set(known), action
        for field, value in answer.items():
            if isinstance(value, list) and hasattr(known[field].member, "members"):
                assert value, (action, field)
                assert all(set(item) <= set(known[field].member.members) for item in value), (action, field)
