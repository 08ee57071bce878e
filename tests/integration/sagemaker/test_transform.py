"""Batch transform jobs, from their request to their output objects."""

import gzip
import json
from typing import Any

import pytest

from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import INFERENCE, ROLE, SCOPE, Cloud, transform_request
from tests.integration.sagemaker.fakes import until

KIND = "SageMaker Transform Job State Change"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:transform-job/score-1"
SLOW = INFERENCE.replace("return [row", "import time; print('asked'); time.sleep(rows[0].get('sleep', 0)); return [row")


def lines(*rows: dict[str, Any]) -> bytes:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rows(body: bytes) -> list[dict[str, Any]]:
    """JSON Lines as rows."""
    return [json.loads(line) for line in body.splitlines()]


def with_input(**changes: Any) -> dict[str, Any]:
    """TransformInput with changes."""
    return {**transform_request("x")["TransformInput"], **changes}


def test_every_object_gets_its_output(cloud: Cloud) -> None:
    cloud.model(add=1)
    cloud.host.objects |= {
        "data/in/a.jsonl": lines({"x": 1}, {"x": 2}),
        "data/in/deep/b.jsonl": lines({"x": 3}),
        "data/in/deep/": b"",
        "data/other/c.jsonl": lines({"x": 4}),
    }
    job = cloud.transform("score-1")
    assert (job["TransformJobStatus"], job["TransformJobArn"]) == ("Completed", ARN)
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert cloud.host.objects["data/out/a.jsonl.out"] == b'{"y": 2}\n{"y": 3}\n'
    assert cloud.host.objects["data/out/deep/b.jsonl.out"] == b'{"y": 4}\n'
    assert not [name for name in cloud.host.objects if name.endswith("c.jsonl.out")]


def test_one_object_may_be_named_exactly(cloud: Cloud) -> None:
    cloud.model()
    cloud.host.objects["data/in/holdout.jsonl"] = lines({"x": 1})
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in/holdout.jsonl"}}
    cloud.transform("score-1", TransformInput=with_input(DataSource=source))
    assert "data/out/holdout.jsonl.out" in cloud.host.objects


def test_events(cloud: Cloud) -> None:
    cloud.model()
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    cloud.transform("score-1")
    until(lambda: cloud.host.statuses(KIND, "TransformJobStatus") == ["InProgress", "Completed"])
    event = cloud.host.events[-1]
    assert event.resources == (ARN,)
    assert event.detail["TransformOutput"]["S3OutputPath"] == "s3://data/out"
    json.dumps(event.detail)


def test_rows_are_joined_with_their_keys(cloud: Cloud) -> None:
    cloud.model(
        inference=INFERENCE.replace(
            "predict_fn(rows, model):", "predict_fn(rows, model):\n    assert 'z' not in rows[0]"
        )
    )
    cloud.host.objects["data/in/a.jsonl"] = lines(*({"id": n, "x": n, "z": "secret"} for n in range(3000)))
    job = cloud.transform(
        "score-1",
        MaxPayloadInMB=1,
        MaxConcurrentTransforms=2,
        DataProcessing={
            "InputFilter": "$['x','w']",
            "JoinSource": "Input",
            "OutputFilter": "$['id','SageMakerOutput']",
        },
    )
    assert job["TransformJobStatus"] == "Completed", job
    expected = [{"id": n, "SageMakerOutput": {"y": n + 1}} for n in range(3000)]
    assert rows(cloud.host.objects["data/out/a.jsonl.out"]) == expected


def test_order_is_kept_when_requests_overtake_each_other(cloud: Cloud) -> None:
    cloud.model(inference=SLOW)
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 0, "sleep": 0.3}, {"x": 1}, {"x": 2, "sleep": 0.1}, {"x": 3})
    cloud.transform("score-1", BatchStrategy="SingleRecord", MaxConcurrentTransforms=4)
    assert [row["y"] for row in rows(cloud.host.objects["data/out/a.jsonl.out"])] == [1, 2, 3, 4]


def test_requests_run_at_the_same_time(cloud: Cloud) -> None:
    meeting = "import threading\nall_four = threading.Barrier(4)\n"
    cloud.model(inference=meeting + INFERENCE.replace("return [row", "all_four.wait(10); return [row"))
    cloud.host.objects["data/in/a.jsonl"] = lines(*({"x": n} for n in range(4)))
    job = cloud.transform("score-1", BatchStrategy="SingleRecord", MaxConcurrentTransforms=4)
    assert job["TransformJobStatus"] == "Completed", job


def test_compressed_input(cloud: Cloud) -> None:
    cloud.model()
    cloud.host.objects["data/in/a.jsonl.gz"] = gzip.compress(lines({"x": 1}))
    cloud.transform("score-1", TransformInput=with_input(CompressionType="Gzip"))
    assert cloud.host.objects["data/out/a.jsonl.gz.out"] == b'{"y": 2}\n'


def test_the_containers_environment(cloud: Cloud) -> None:
    inference = INFERENCE.replace('model["add"]', 'float(os.environ["ADD"])') + (
        "assert os.environ['SAGEMAKER_BATCH'] == 'true' and os.environ['KEPT'] == 'yes'\n"
        f"assert os.environ['AWS_ACCESS_KEY_ID'] == '{ROLE}'\n"
    )
    cloud.model(inference=inference, ADD="1", KEPT="yes")
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    job = cloud.transform("score-1", Environment={"ADD": "10"})
    assert job["TransformJobStatus"] == "Completed", job
    assert cloud.host.objects["data/out/a.jsonl.out"] == b'{"y": 11.0}\n'


def test_a_failing_prediction_fails_the_job_with_its_words(cloud: Cloud) -> None:
    cloud.model(inference=INFERENCE.replace("return [row", "raise ValueError('unseen category: Squall'); return [row"))
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    job = cloud.transform("score-1")
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: a.jsonl: 500 from the container: unseen category: Squall")
    until(lambda: cloud.host.statuses(KIND, "TransformJobStatus") == ["InProgress", "Failed"])
    assert cloud.host.events[-1].detail["FailureReason"] == job["FailureReason"]
    logged = cloud.host.lines("/aws/sagemaker/TransformJobs", "score-1/")
    assert "ValueError: unseen category: Squall" in logged
    assert not [name for name in cloud.host.objects if name.startswith("data/out")]


def test_a_refused_input_is_the_callers_error_and_not_tried_again(cloud: Cloud) -> None:
    refusing = (
        "class Refused(Exception):\n    status_code = 422\n"
        "def input_fn(body, content_type):\n    print('asked')\n    raise Refused('no such column')\n"
    )
    cloud.model(inference=INFERENCE + refusing)
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    job = cloud.transform("score-1")
    assert job["FailureReason"].startswith("ClientError: a.jsonl: 422 from the container: no such column")
    assert cloud.host.lines("/aws/sagemaker/TransformJobs", "score-1/").count("asked") == 1


def test_a_failing_request_is_tried_again(cloud: Cloud) -> None:
    flaky = INFERENCE.replace(
        "return [row", "model['tries'] = model.get('tries', 0) + 1; assert model['tries'] > 2; return [row"
    )
    cloud.model(inference=flaky)
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    assert cloud.transform("score-1")["TransformJobStatus"] == "Completed"
    assert cloud.transform("score-2", ModelClientConfig={"InvocationsMaxRetries": 1})["TransformJobStatus"] == "Failed"


def test_an_answer_that_takes_too_long(cloud: Cloud) -> None:
    cloud.model(inference=SLOW)
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1, "sleep": 30})
    limits = {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0}
    job = cloud.transform("score-1", ModelClientConfig=limits)
    assert "AlgorithmError: a.jsonl: no answer from the container: Your invocation timed out" in job["FailureReason"]


def test_a_container_that_loses_rows(cloud: Cloud) -> None:
    cloud.model(inference=INFERENCE.replace("in predictions)", "in predictions[1:])"))
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1}, {"x": 2})
    job = cloud.transform("score-1")
    assert job["FailureReason"] == "ClientError: a.jsonl: the container answered 1 records for 2"


def test_a_model_that_does_not_load(cloud: Cloud) -> None:
    cloud.model(inference="def model_fn(model_dir):\n    raise OSError('not a booster')\n")
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    reason = cloud.transform("score-1")["FailureReason"]
    assert reason.startswith("AlgorithmError: The container did not pass the ping health check")
    assert "OSError: not a booster" in reason


def test_a_container_that_dies_midway(cloud: Cloud) -> None:
    cloud.model(inference=INFERENCE.replace("return [row", "os._exit(1); return [row"))
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1})
    assert "no answer from the container" in cloud.transform("score-1")["FailureReason"]


def test_no_input(cloud: Cloud) -> None:
    cloud.model()
    assert (
        'ClientError: No S3 objects found under S3 URL "s3://data/in/"' in cloud.transform("score-1")["FailureReason"]
    )


def test_a_job_is_stopped(cloud: Cloud) -> None:
    cloud.model(inference=SLOW)
    cloud.host.objects["data/in/a.jsonl"] = lines({"x": 1, "sleep": 60})
    cloud.call("CreateTransformJob", **transform_request("score-1"))
    until(lambda: cloud.host.lines("/aws/sagemaker/TransformJobs") == ["asked"])
    cloud.call("StopTransformJob", TransformJobName="score-1")
    request = {"TransformJobName": "score-1"}
    assert cloud.engine.wait_finished(SCOPE, "CreateTransformJob", request, 20)
    outcome, job = cloud.engine.finished(SCOPE, "CreateTransformJob", request)
    assert (outcome, job["TransformJobStatus"]) == ("failed", "Stopped")
    assert "FailureReason" not in job
    until(lambda: cloud.host.statuses(KIND, "TransformJobStatus") == ["InProgress", "Stopping", "Stopped"])
    with pytest.raises(SageMakerError, match="the transform job is in status Stopped"):
        cloud.call("StopTransformJob", TransformJobName="score-1")


def test_names_are_unique(cloud: Cloud) -> None:
    cloud.model()
    cloud.transform("score-1")
    with pytest.raises(SageMakerError) as caught:
        cloud.call("CreateTransformJob", **transform_request("score-1"))
    assert caught.value.code == "ResourceInUse"
    assert caught.value.message.endswith(f"a job with this name already exists ({ARN})")


def test_a_job_that_does_not_exist(cloud: Cloud) -> None:
    with pytest.raises(SageMakerError, match="Could not find requested job with name: score-1"):
        cloud.call("DescribeTransformJob", TransformJobName="score-1")


def test_a_model_that_does_not_exist(cloud: Cloud) -> None:
    with pytest.raises(SageMakerError, match=r'Could not find model "arn:aws:sagemaker:.*:model/adder"'):
        cloud.call("CreateTransformJob", **transform_request("score-1"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"MaxPayloadInMB": 30, "MaxConcurrentTransforms": 4}, "must not exceed 100 MB"),
        ({"MaxPayloadInMB": 101}, "must not exceed 100 MB"),
        ({"TransformInput": with_input(SplitType="RecordIO")}, "SplitType RecordIO is not supported"),
        ({"TransformInput": with_input(SplitType="None"), "BatchStrategy": "MultiRecord"}, "needs a SplitType"),
        ({"DataProcessing": {"InputFilter": "$..x"}}, "has an operator that is not supported"),
    ],
)
def test_what_cannot_be_is_refused(cloud: Cloud, fields: dict[str, Any], message: str) -> None:
    cloud.model()
    with pytest.raises(SageMakerError, match=message) as caught:
        cloud.call("CreateTransformJob", **transform_request("score-1", **fields))
    assert caught.value.code == "ValidationException"
