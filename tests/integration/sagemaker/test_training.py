"""Training jobs, from their request to their artefact."""

import itertools
import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from local.host import Scope
from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import IMAGE, ROLE, SCOPE, Cloud, archive, training_request, unpacked
from tests.integration.sagemaker.fakes import until

SAVE = """
import os, pathlib
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text('{"add": 1}')
"""
REPORT = """
import json, os, pathlib, sys
pathlib.Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps({
    "env": dict(os.environ), "argv": sys.argv[1:], "cwd": os.getcwd(),
    "config": {f.name: json.loads(f.read_text()) for f in pathlib.Path(os.environ["SM_INPUT_CONFIG_DIR"]).iterdir()},
    "data": {str(f.relative_to(os.environ["SM_INPUT_DIR"])): f.read_text()
             for f in pathlib.Path(os.environ["SM_INPUT_DIR"], "data").rglob("*") if f.is_file()},
}))
"""
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:training-job/job-1"


def channel(name: str, uri: str, kind: str = "S3Prefix", **fields: Any) -> dict[str, Any]:
    """An input channel."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}, **fields}


def metrics(**patterns: str) -> dict[str, Any]:
    """An AlgorithmSpecification with metric definitions."""
    definitions = [{"Name": name, "Regex": regex} for name, regex in patterns.items()]
    return {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": definitions}


def seen(cloud: Cloud, name: str = "job-1") -> dict[str, Any]:
    """What the script REPORT wrote down."""
    result: dict[str, Any] = json.loads(
        unpacked(cloud.host.objects[f"artifacts/models/{name}/output/model.tar.gz"])["seen.json"]
    )
    return result


def refusal(cloud: Cloud, request: dict[str, Any]) -> SageMakerError:
    """The error that a CreateTrainingJob meets."""
    with pytest.raises(SageMakerError) as caught:
        cloud.call("CreateTrainingJob", **request)
    return caught.value


def test_a_job_leaves_its_model(cloud: Cloud) -> None:
    job = cloud.train("job-1", SAVE)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    assert job["TrainingJobArn"] == ARN
    artefact = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert artefact == "s3://artifacts/models/job-1/output/model.tar.gz"
    assert unpacked(cloud.host.objects[artefact.removeprefix("s3://")]) == {"model.json": '{"add": 1}'}
    assert "artifacts/models/job-1/output/output.tar.gz" not in cloud.host.objects


def test_times_and_transitions(cloud: Cloud) -> None:
    job = cloud.train("job-1", SAVE + "import time; time.sleep(1.1)")
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"] <= job["LastModifiedTime"]
    seconds = math.ceil(job["TrainingEndTime"] - job["TrainingStartTime"])
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] == seconds >= 2
    steps = job["SecondaryStatusTransitions"]
    assert [step["Status"] for step in steps] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(first["EndTime"] == second["StartTime"] for first, second in itertools.pairwise(steps))
    assert steps[-1]["StatusMessage"] == "Training job completed"


def test_each_change_is_an_event(cloud: Cloud) -> None:
    cloud.train("job-1", SAVE, Tags=[{"Key": "team", "Value": "a"}])
    kind = "SageMaker Training Job State Change"
    until(lambda: "Completed" in cloud.host.statuses(kind, "SecondaryStatus"))
    assert cloud.host.statuses(kind, "SecondaryStatus") == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert cloud.host.statuses(kind, "TrainingJobStatus") == ["InProgress"] * 4 + ["Completed"]
    last = cloud.host.events[-1]
    assert last.resources == (ARN,)
    assert last.detail["ModelArtifacts"]["S3ModelArtifacts"].endswith("model.tar.gz")
    assert last.detail["Tags"] == {"team": "a"}
    assert abs(last.detail["TrainingEndTime"] / 1000 - time.time()) < 60
    json.dumps(last.detail)


def test_the_container_contract(cloud: Cloud) -> None:
    cloud.host.objects |= {"data/in/train/a.csv": b"1,2", "data/in/train/deep/b.csv": b"3,4", "data/in/x.csv": b"5,6"}
    request = training_request("job-1")
    cloud.train(
        "job-1",
        REPORT,
        HyperParameters={
            **request["HyperParameters"],
            "max_depth": "8",
            "eta": "0.3",
            "n": '"text"',
            "sagemaker_x": "1",
        },
        InputDataConfig=[
            channel("train", "s3://data/in/train", ContentType="text/csv"),
            channel("extra", "s3://data/in/x.csv"),
        ],
        Environment={"STAGE": "test"},
    )
    found = seen(cloud)
    env, base = found["env"], found["env"]["SAGEMAKER_BASE_DIR"]
    assert found["data"] == {
        "data/train/a.csv": "1,2",
        "data/train/deep/b.csv": "3,4",
        "data/extra/x.csv": "5,6",
    }
    assert found["argv"] == ["--eta", "0.3", "--max_depth", "8", "-n", "text"]
    assert found["cwd"] == f"{base}/code"
    expected = {
        "SM_CHANNEL_TRAIN": f"{base}/input/data/train",
        "SM_CHANNEL_EXTRA": f"{base}/input/data/extra",
        "SM_CHANNELS": '["extra","train"]',
        "SM_MODEL_DIR": f"{base}/model",
        "SM_OUTPUT_DIR": f"{base}/output",
        "SM_OUTPUT_DATA_DIR": f"{base}/output/data",
        "SM_INPUT_DIR": f"{base}/input",
        "SM_INPUT_CONFIG_DIR": f"{base}/input/config",
        "SM_HPS": '{"eta":0.3,"max_depth":8,"n":"text"}',
        "SM_HP_MAX_DEPTH": "8",
        "SM_HP_N": "text",
        "SM_USER_ARGS": '["--eta","0.3","--max_depth","8","-n","text"]',
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
        "SM_NUM_CPUS": str(os.cpu_count()),
        "SM_NUM_GPUS": "0",
        "SM_MODULE_NAME": "train",
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_MODULE_DIR": "s3://artifacts/code.tar.gz",
        "TRAINING_JOB_NAME": "job-1",
        "TRAINING_JOB_ARN": ARN,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": ROLE,
        "STAGE": "test",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert json.loads(env["SM_TRAINING_ENV"])["channel_train"] == f"{base}/input/data/train"
    assert found["config"]["hyperparameters.json"]["max_depth"] == "8"
    assert found["config"]["inputdataconfig.json"]["train"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "text/csv",
    }
    assert found["config"]["resourceconfig.json"]["hosts"] == ["algo-1"]


def test_nothing_of_the_hosts_environment_gets_in(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    cloud.train("job-1", REPORT)
    assert "SECRET_OF_THE_HOST" not in seen(cloud)["env"]


def test_a_manifest_names_the_objects(cloud: Cloud) -> None:
    cloud.host.objects |= {
        "data/lake/one.csv": b"1",
        "data/lake/two.csv": b"2",
        "data/m.json": json.dumps([{"prefix": "s3://data/lake/"}, "two.csv"]).encode(),
    }
    cloud.train("job-1", REPORT, InputDataConfig=[channel("train", "s3://data/m.json", "ManifestFile")])
    assert seen(cloud)["data"] == {"data/train/two.csv": "2"}


def test_a_broken_manifest_is_the_callers_error(cloud: Cloud) -> None:
    cloud.host.objects["data/m.json"] = b"{"
    job = cloud.train("job-1", SAVE, InputDataConfig=[channel("train", "s3://data/m.json", "ManifestFile")])
    assert job["FailureReason"].startswith("ClientError: Data download failed:the manifest is not a JSON list")


def test_a_prefix_without_objects(cloud: Cloud) -> None:
    job = cloud.train("job-1", SAVE, InputDataConfig=[channel("train", "s3://data/nothing/")])
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert (
        'ClientError: Data download failed:No S3 objects found under S3 URL "s3://data/nothing/"'
        in job["FailureReason"]
    )
    assert "ModelArtifacts" not in job


def test_a_role_that_may_not_read(cloud: Cloud) -> None:
    cloud.host.denied_roles.add(ROLE)
    job = cloud.train("job-1", SAVE, InputDataConfig=[channel("train", "s3://data/in/")])
    assert job["FailureReason"].startswith("ClientError: Data download failed:AccessDenied (403)")


def test_a_role_that_cannot_be_assumed(cloud: Cloud) -> None:
    cloud.host.unknown_roles.add(ROLE)
    error = refusal(cloud, training_request("job-1"))
    assert error.code == "ValidationException"
    assert error.message.startswith(f"Could not assume role {ROLE}.")
    assert cloud.call("ListTrainingJobs")["TrainingJobSummaries"] == []


def test_data_outside_of_its_folder_is_refused(cloud: Cloud) -> None:
    cloud.host.objects["data/in/../../../evil.csv"] = b"1"
    job = cloud.train("job-1", SAVE, InputDataConfig=[channel("train", "s3://data/in/")])
    assert "s3://data/in/../../../evil.csv would be written outside of its folder" in job["FailureReason"]


def test_code_outside_of_its_folder_is_refused(cloud: Cloud) -> None:
    cloud.host.objects["artifacts/code.tar.gz"] = archive({"../train.py": SAVE})
    cloud.call("CreateTrainingJob", **training_request("job-1"))
    assert "is not a usable tar.gz archive" in cloud.trained("job-1")["FailureReason"]


def test_code_that_is_no_archive_is_refused(cloud: Cloud) -> None:
    cloud.host.objects["artifacts/code.tar.gz"] = b"print()"
    cloud.call("CreateTrainingJob", **training_request("job-1"))
    assert "s3://artifacts/code.tar.gz is not a usable tar.gz archive" in cloud.trained("job-1")["FailureReason"]


def test_code_without_the_program(cloud: Cloud) -> None:
    cloud.host.objects["artifacts/code.tar.gz"] = archive({"other.py": SAVE})
    cloud.call("CreateTrainingJob", **training_request("job-1"))
    assert "AlgorithmError: train.py is not in sagemaker_submit_directory" in cloud.trained("job-1")["FailureReason"]


def test_an_exception_is_the_reason_of_failure(cloud: Cloud) -> None:
    job = cloud.train("job-1", "raise ValueError('no such column: temp')")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError:")
    assert "ValueError: no such column: temp" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 1")
    assert job["SecondaryStatusTransitions"][-1]["StatusMessage"] == job["FailureReason"]


def test_a_long_reason_is_cut(cloud: Cloud) -> None:
    job = cloud.train("job-1", "import sys; print('x' * 5000); sys.exit(1)")
    assert len(job["FailureReason"]) <= 1024


def test_the_failure_file_is_the_reason_of_failure(cloud: Cloud) -> None:
    script = "import os, sys; open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('too few rows'); sys.exit(3)"
    job = cloud.train("job-1", script)
    assert job["FailureReason"] == "AlgorithmError: too few rows, exit code: 3"


def test_a_failed_job_leaves_its_output_and_no_model(cloud: Cloud) -> None:
    cloud.train("job-1", SAVE + "pathlib.Path(os.environ['SM_OUTPUT_DATA_DIR'], 'why').write_text('x'); 1 / 0")
    assert unpacked(cloud.host.objects["artifacts/models/job-1/output/output.tar.gz"]) == {"why": "x"}
    assert "artifacts/models/job-1/output/model.tar.gz" not in cloud.host.objects


def test_a_killed_script_names_the_signal(cloud: Cloud) -> None:
    job = cloud.train("job-1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert "SIGKILL" in job["FailureReason"]


def test_output_data_is_uploaded(cloud: Cloud) -> None:
    cloud.train("job-1", "import os; open(os.environ['SM_OUTPUT_DATA_DIR'] + '/report', 'w').write('good')")
    assert unpacked(cloud.host.objects["artifacts/models/job-1/output/output.tar.gz"]) == {"report": "good"}


def test_metrics_are_the_last_values_in_the_log(cloud: Cloud) -> None:
    script = "print('rmse=2.5;'); print('rmse=1.25;'); print('seen: 1e3'); print('bad=x;')"
    spec = metrics(rmse="rmse=(.*?);", rows="seen: (.+)", absent="mae=(.*)", bad="bad=(.*?);", groupless="seen")
    job = cloud.train("job-1", script, AlgorithmSpecification=spec)
    assert {m["MetricName"]: m["Value"] for m in job["FinalMetricDataList"]} == {"rmse": 1.25, "rows": 1000.0}


def test_output_goes_to_the_log_stream(cloud: Cloud) -> None:
    cloud.train("job-1", "import sys; print('one'); print('two', file=sys.stderr); print('three', end='')")
    assert cloud.host.lines("/aws/sagemaker/TrainingJobs", "job-1/algo-1-") == ["one", "two", "three"]


def test_output_is_logged_while_the_job_runs(cloud: Cloud) -> None:
    cloud.start_training("job-1", "import time; print('half way'); time.sleep(60)")
    until(lambda: cloud.host.lines("/aws/sagemaker/TrainingJobs") == ["half way"])
    assert cloud.call("DescribeTrainingJob", TrainingJobName="job-1")["SecondaryStatus"] == "Training"
    cloud.call("StopTrainingJob", TrainingJobName="job-1")
    cloud.trained("job-1")


def test_a_stopped_job_keeps_what_it_saved(cloud: Cloud) -> None:
    cloud.start_training("job-1", SAVE + "print('saved'); import time; time.sleep(60)")
    until(lambda: cloud.host.lines("/aws/sagemaker/TrainingJobs") == ["saved"])
    cloud.call("StopTrainingJob", TrainingJobName="job-1")
    job = cloud.trained("job-1")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert "artifacts/models/job-1/output/model.tar.gz" in cloud.host.objects
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    kind = "SageMaker Training Job State Change"
    until(lambda: "Stopped" in cloud.host.statuses(kind, "TrainingJobStatus"))
    assert cloud.host.statuses(kind, "TrainingJobStatus")[3:] == ["Stopping", "Stopping", "Stopped"]


def test_a_job_that_ignores_the_stop_is_killed(cloud: Cloud) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    cloud.start_training("job-1", script)
    until(lambda: cloud.host.lines("/aws/sagemaker/TrainingJobs") == ["deaf"])
    cloud.call("StopTrainingJob", TrainingJobName="job-1")
    assert cloud.trained("job-1")["TrainingJobStatus"] == "Stopped"


def test_a_job_stopped_at_once_never_trains(cloud: Cloud) -> None:
    cloud.start_training("job-1", "import time; time.sleep(60)")
    cloud.call("StopTrainingJob", TrainingJobName="job-1")
    assert cloud.trained("job-1")["TrainingJobStatus"] == "Stopped"


def test_a_stop_comes_too_late(cloud: Cloud) -> None:
    cloud.train("job-1", SAVE)
    with pytest.raises(SageMakerError, match="the training job is in status Completed"):
        cloud.call("StopTrainingJob", TrainingJobName="job-1")


def test_too_long_a_run_is_stopped(cloud: Cloud) -> None:
    job = cloud.train("job-1", SAVE + "import time; time.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "ModelArtifacts" in job


def test_names_are_unique_whatever_their_case(cloud: Cloud) -> None:
    cloud.train("job-1", SAVE)
    error = refusal(cloud, training_request("JOB-1"))
    assert error.code == "ResourceInUse"
    assert error.message == (
        "Training job names must be unique within an AWS account and region, "
        f"and a training job with this name already exists ({ARN})"
    )


def test_other_accounts_and_regions_have_their_own_names(cloud: Cloud) -> None:
    cloud.train("job-1", SAVE)
    for other in (Scope("999922223333", "eu-west-1"), Scope("111122223333", "us-east-1")):
        cloud.engine.call(other, "CreateTrainingJob", training_request("job-1"))
        assert cloud.engine.wait_finished(other, "CreateTrainingJob", {"TrainingJobName": "job-1"}, 20)
        arn = cloud.engine.call(other, "DescribeTrainingJob", {"TrainingJobName": "job-1"})["TrainingJobArn"]
        assert arn == f"arn:aws:sagemaker:{other.region}:{other.account}:training-job/job-1"


def test_a_job_that_does_not_exist(cloud: Cloud) -> None:
    for action in ("DescribeTrainingJob", "StopTrainingJob"):
        with pytest.raises(SageMakerError) as caught:
            cloud.call(action, TrainingJobName="job-1")
        assert (caught.value.code, caught.value.message) == ("ValidationException", "Requested resource not found.")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"HyperParameters": {}}, "Only script mode runs here"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "Pipe"}}, "Input mode Pipe is not supported"),
        ({"InputDataConfig": [channel("a", "s3://b/c", InputMode="Pipe")]}, "Input mode Pipe is not supported"),
        ({"InputDataConfig": [channel("a", "s3://b/c", "AugmentedManifestFile")]}, "must have an S3DataSource of type"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://b", "CompressionType": "NONE"}}, "CompressionType NONE"),
        ({"AlgorithmSpecification": metrics(rmse="(")}, "The regular expression of metric rmse is not valid"),
        ({"CheckpointConfig": {"S3Uri": "s3://b"}}, "CheckpointConfig is not supported"),
        ({"StoppingCondition": None}, "StoppingCondition is required"),
    ],
)
def test_what_this_engine_cannot_do_is_refused(cloud: Cloud, fields: dict[str, Any], message: str) -> None:
    error = refusal(cloud, training_request("job-1", **fields))
    assert error.code == "ValidationException"
    assert message in error.message


def test_more_than_one_instance_is_beyond_the_limit(cloud: Cloud) -> None:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10}
    assert refusal(cloud, training_request("job-1", ResourceConfig=resources)).code == "ResourceLimitExceeded"


def test_sync_waits_without_polling(cloud: Cloud) -> None:
    request = {"TrainingJobName": "job-1"}
    cloud.start_training("job-1", "import time; time.sleep(0.3)")
    assert cloud.engine.finished(SCOPE, "CreateTrainingJob", request)[0] == "running"
    assert not cloud.engine.wait_finished(SCOPE, "CreateTrainingJob", request, 0.01)
    assert cloud.engine.wait_finished(SCOPE, "CreateTrainingJob", request, 20)
    outcome, description = cloud.engine.finished(SCOPE, "CreateTrainingJob", request)
    assert (outcome, description["TrainingJobStatus"]) == ("succeeded", "Completed")


def test_sync_sees_failure(cloud: Cloud) -> None:
    cloud.train("job-1", "1 / 0")
    outcome, description = cloud.engine.finished(SCOPE, "CreateTrainingJob", {"TrainingJobName": "job-1"})
    assert outcome == "failed"
    assert "ZeroDivisionError" in description["FailureReason"]


def test_sync_stops_its_job_once_or_not_at_all(cloud: Cloud) -> None:
    cloud.start_training("job-1", "import time; time.sleep(60)")
    for _ in range(2):
        cloud.engine.stop(SCOPE, "CreateTrainingJob", {"TrainingJobName": "job-1"})
    assert cloud.trained("job-1")["TrainingJobStatus"] == "Stopped"
    cloud.engine.stop(SCOPE, "CreateTrainingJob", {"TrainingJobName": "job-1"})
    outcome, _ = cloud.engine.finished(SCOPE, "CreateTrainingJob", {"TrainingJobName": "job-1"})
    assert outcome == "failed"


def test_only_one_of_many_gets_the_name(cloud: Cloud) -> None:
    cloud.host.objects["artifacts/code.tar.gz"] = archive({"train.py": SAVE})
    codes: list[str] = []

    def create() -> None:
        try:
            cloud.call("CreateTrainingJob", **training_request("job-1"))
            codes.append("created")
        except SageMakerError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["ResourceInUse"] * 7 + ["created"]
    cloud.trained("job-1")


def test_jobs_run_beside_each_other(cloud: Cloud, tmp_path: Path) -> None:
    meet = f"""
import os, pathlib, time
place = pathlib.Path({str(tmp_path)!r})
(place / os.environ["TRAINING_JOB_NAME"]).touch()
while len(list(place.iterdir())) < 4:
    time.sleep(0.01)
"""
    for number in range(4):
        cloud.start_training(f"job-{number}", meet)
    for number in range(4):
        assert cloud.trained(f"job-{number}")["TrainingJobStatus"] == "Completed"


def test_a_job_leaves_nothing_on_disk(cloud: Cloud) -> None:
    job = cloud.train("job-1", REPORT)
    assert job["TrainingJobStatus"] == "Completed"
    assert not Path(seen(cloud)["env"]["SAGEMAKER_BASE_DIR"]).exists()
