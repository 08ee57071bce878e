"""SageMaker on the embedded cloud: API, IAM, Step Functions, CloudFormation, events, logs, restart."""

import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud.chaos import Chaos, disturbed
from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import Account, allow, reset, until

TRAIN = """
import json, os, pathlib, sys, time
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "--fail" in arguments:
    raise ValueError(arguments["--fail"])
time.sleep(float(arguments.get("--sleep", 0)))
rows = list(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir())
print(f"validation_score={len(rows)}.5;")
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "model.json").write_text(json.dumps({"factor": 3}))
(model / "code").mkdir()
(model / "code" / "inference.py").write_text(pathlib.Path("inference.py").read_text())
"""
INFERENCE = """
import json, pathlib
def model_fn(model_dir):
    return json.loads((pathlib.Path(model_dir) / "model.json").read_text())["factor"]
def input_fn(data, content_type):
    text = data.decode() if isinstance(data, bytes) else data
    return [json.loads(line) for line in text.splitlines() if line]
def predict_fn(records, factor):
    return [{"prediction": record["x"] * factor} for record in records]
def output_fn(predictions, accept):
    return "".join(json.dumps(prediction) + "\\n" for prediction in predictions)
"""
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5"


@dataclass(frozen=True)
class Studio:
    """A bucket with code and data, a role for jobs, and names of its own."""

    account: Account
    name: str
    role: str

    @property
    def sagemaker(self) -> Any:
        return self.account.client("sagemaker")

    def training(self, job: str, **hyperparameters: str) -> dict[str, Any]:
        """A CreateTrainingJob request."""
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.name}/train/"}
        script = {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{self.name}/code.tar.gz"}
        return {
            "TrainingJobName": f"{self.name}-{job}",
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "validation:score", "Regex": "validation_score=([0-9.]+);"}],
            },
            "RoleArn": self.role,
            "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.name}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "HyperParameters": {**script, **hyperparameters},
            "Tags": [{"Key": "ratchet:pipeline", "Value": "test"}],
        }

    def model(self, artifacts: Any) -> dict[str, Any]:
        """A CreateModel request."""
        environment = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        data = {"ModelDataUrl.$": artifacts} if artifacts.startswith("$") else {"ModelDataUrl": artifacts}
        container = {"Image": IMAGE, "Environment": environment, **data}
        return {"ModelName": self.name, "ExecutionRoleArn": self.role, "PrimaryContainer": container}

    def ended(self, job: str) -> dict[str, Any]:
        """A training job's description, once it has ended."""
        name = f"{self.name}-{job}"
        described: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        while described["TrainingJobStatus"] in {"InProgress", "Stopping"}:
            time.sleep(0.05)
            described = self.sagemaker.describe_training_job(TrainingJobName=name)
        return described

    def machine_role(self, *extra: Mapping[str, Any]) -> str:
        """A role for state machines that use SageMaker."""
        rules = allow(["events:PutTargets", "events:PutRule", "events:DescribeRule"])
        return self.account.role("states.amazonaws.com", allow("sagemaker:*"), rules, self.passing, *extra)

    @property
    def passing(self) -> dict[str, Any]:
        """The right to give the jobs' role to SageMaker."""
        condition = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        return {**allow("iam:PassRole", self.role), "Condition": condition}

    def run(self, **states: Mapping[str, Any]) -> dict[str, Any]:
        """Runs Task states in order."""
        names = list(states)
        chain = {
            name: {"Type": "Task", **state, **({"Next": after} if after else {"End": True})}
            for (name, state), after in zip(states.items(), [*names[1:], None], strict=True)
        }
        return self.account.run({"StartAt": names[0], "States": chain}, role=self.machine_role())


def task(action: str, parameters: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"Resource": f"arn:aws:states:::{action}", "Parameters": parameters, **fields}


def stock(account: Account) -> Studio:
    """A studio whose bucket holds two training files and the code."""
    name = f"studio-{uuid4().hex[:8]}"
    s3 = account.client("s3")
    s3.create_bucket(Bucket=name)
    code = io.BytesIO()
    with tarfile.open(fileobj=code, mode="w:gz") as archive:
        for path, text in (("train.py", TRAIN), ("inference.py", INFERENCE)):
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    s3.put_object(Bucket=name, Key="code.tar.gz", Body=code.getvalue())
    for part in ("a", "b"):
        s3.put_object(Bucket=name, Key=f"train/{part}.json", Body=b"{}")
    bucket = f"arn:aws:s3:::{name}"
    role = account.role("sagemaker.amazonaws.com", allow("s3:*", bucket), allow("s3:*", f"{bucket}/*"))
    return Studio(account, name, role)


@pytest.fixture(scope="module")
def studio(cloud: Cloud) -> Studio:
    return stock(Account(cloud))


def test_a_job_trains_as_its_role_and_logs(studio: Studio) -> None:
    studio.sagemaker.create_training_job(**studio.training("plain"))
    job = studio.ended("plain")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert job["FinalMetricDataList"][0]["Value"] == 2.5
    assert "validation_score=2.5;" in until(lambda: logged(studio, "plain"))
    tags = studio.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "ratchet:pipeline", "Value": "test"}]


def test_what_the_role_may_not_do_fails_the_job(studio: Studio) -> None:
    blind = studio.account.role("sagemaker.amazonaws.com", allow("s3:ListBucket"))
    studio.sagemaker.create_training_job(**{**studio.training("blind"), "RoleArn": blind})
    job = studio.ended("blind")
    assert job["TrainingJobStatus"] == "Failed"
    assert "s3:GetObject" in job["FailureReason"]


def logged(studio: Studio, job: str) -> list[str]:
    """The lines of a training job; like CloudWatch's, they may come after the job's end."""
    logs, group = studio.account.client("logs"), "/aws/sagemaker/TrainingJobs"
    try:
        found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{studio.name}-{job}/")
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in found["events"]]


@pytest.mark.parametrize("service", ["lambda.amazonaws.com", None])
def test_a_role_that_sagemaker_may_not_assume_is_refused(studio: Studio, service: str | None) -> None:
    role = studio.account.role(service) if service else "arn:aws:iam::000000000000:role/absent"
    with pytest.raises(ClientError) as refused:
        studio.sagemaker.create_training_job(**{**studio.training("unassumable"), "RoleArn": role})
    assert refused.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": f"Could not assume role {role}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role.",
    }
    with pytest.raises(ClientError, match="Could not assume role"):
        studio.sagemaker.create_model(**{**studio.model("s3://b/k"), "ExecutionRoleArn": role})


def test_requests_outside_the_model_are_refused(studio: Studio) -> None:
    sagemaker = studio.account.cloud.session().client("sagemaker")
    with pytest.raises(ClientError, match="Member must satisfy regular expression pattern"):
        sagemaker.create_training_job(**{**studio.training("x"), "TrainingJobName": "not_a_name"})
    with pytest.raises(ClientError, match="at 'roleArn' failed to satisfy constraint"):
        sagemaker.create_training_job(**{**studio.training("x"), "RoleArn": "the role of the training jobs"})


def test_endpoints_answer_and_callers_need_permission(studio: Studio) -> None:
    studio.sagemaker.create_training_job(**studio.training("served"))
    artifacts = studio.ended("served")["ModelArtifacts"]["S3ModelArtifacts"]
    deployed = studio.run(
        model=task("sagemaker:createModel", studio.model(artifacts)),
        config=task("sagemaker:createEndpointConfig", endpoint_config(studio.name)),
        endpoint=task("sagemaker:createEndpoint", {"EndpointName": studio.name, "EndpointConfigName": studio.name}),
    )
    assert deployed["status"] == "SUCCEEDED", deployed
    assert deployed["output"] == {"EndpointArn": f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{studio.name}"}
    described = until(lambda: in_service(studio)) or {}
    seen = studio.run(see=task("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": studio.name}))
    assert seen["output"]["EndpointStatus"] == "InService"
    assert seen["output"]["CreationTime"] == f"{described['CreationTime']:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"

    runtime = studio.account.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=studio.name, Body=b'{"x": 14}', ContentType="application/jsonlines")
    assert json.loads(answer["Body"].read()) == {"prediction": 42}
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    with pytest.raises(ClientError) as failed:
        runtime.invoke_endpoint(EndpointName=studio.name, Body=b'{"y": 1}', ContentType="application/jsonlines")
    assert failed.value.response["Error"]["Code"] == "ModelError"
    assert "Received server error (500) from primary" in failed.value.response["Error"]["Message"]

    arn = deployed["output"]["EndpointArn"]
    assert user(studio, allow("sagemaker:InvokeEndpoint", arn)).invoke_endpoint(EndpointName=studio.name, Body=b"")
    stranger = user(studio, allow("sagemaker:InvokeEndpoint", f"{arn}-other"))
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:InvokeEndpoint"):
        stranger.invoke_endpoint(EndpointName=studio.name, Body=b"")


def endpoint_config(name: str) -> dict[str, Any]:
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}


def in_service(studio: Studio) -> dict[str, Any] | None:
    found: dict[str, Any] = studio.sagemaker.describe_endpoint(EndpointName=studio.name)
    assert found["EndpointStatus"] != "Failed", found
    return found if found["EndpointStatus"] == "InService" else None


def user(
    studio: Studio,
    *statements: dict[str, Any],
    service: Literal["sagemaker", "sagemaker-runtime"] = "sagemaker-runtime",
) -> Any:
    """A client of a new IAM user with these statements."""
    name, iam = f"user-{uuid4().hex[:8]}", studio.account.iam
    iam.create_user(UserName=name)
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document)
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], region_name="us-east-1")
    return session.client(service, endpoint_url=studio.account.cloud.endpoint_url)


def test_tags_need_a_permission_of_their_own(studio: Studio) -> None:
    jobs = "arn:aws:sagemaker:us-east-1:000000000000:training-job/*"
    request = studio.training("tagged")
    creator = user(studio, allow("sagemaker:CreateTrainingJob", jobs), studio.passing, service="sagemaker")
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:AddTags"):
        creator.create_training_job(**request)
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:DescribeTrainingJob"):
        creator.describe_training_job(TrainingJobName=request["TrainingJobName"])
    tagging = allow(["sagemaker:CreateTrainingJob", "sagemaker:AddTags"], jobs)
    tagger = user(studio, tagging, studio.passing, service="sagemaker")
    tagger.create_training_job(**request)
    assert studio.ended("tagged")["TrainingJobStatus"] == "Completed"


def test_a_sync_task_answers_the_described_job(studio: Studio) -> None:
    started = time.time() * 1000
    execution = studio.run(train=task("sagemaker:createTrainingJob.sync", studio.training("sync")))
    assert execution["status"] == "SUCCEEDED", execution
    job = execution["output"]
    assert job["ModelArtifacts"] == {
        "S3ModelArtifacts": f"s3://{studio.name}/models/{studio.name}-sync/output/model.tar.gz"
    }
    assert isinstance(job["CreationTime"], int)
    assert started - 1000 < job["CreationTime"] <= job["TrainingEndTime"] < time.time() * 1000
    assert job["FinalMetricDataList"][0]["MetricName"] == "validation:score"


def test_a_failed_job_is_task_failed_with_the_job_as_cause(studio: Studio) -> None:
    execution = studio.run(train=task("sagemaker:createTrainingJob.sync", studio.training("failing", fail="no signal")))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(execution["cause"])
    assert cause["TrainingJobStatus"] == "Failed"
    assert "ValueError: no signal" in cause["FailureReason"]


def test_errors_have_the_names_of_aws(studio: Studio) -> None:
    request = studio.training("twice")
    studio.sagemaker.create_training_job(**request)
    twice = studio.run(train=task("sagemaker:createTrainingJob.sync", request))
    assert twice["error"] == "SageMaker.ResourceInUseException"
    invalid = studio.run(train=task("sagemaker:createTrainingJob", {**request, "TrainingJobName": "not_a_name"}))
    assert invalid["error"] == "SageMaker.AmazonSageMakerException"
    by_sdk = studio.run(train=task("aws-sdk:sagemaker:createTrainingJob", request))
    assert by_sdk["error"] == "SageMaker.ResourceInUseException", by_sdk["cause"]
    absent = studio.run(see=task("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": "absent"}))
    assert absent["error"] == "SageMaker.SageMakerException"
    unknown = studio.run(see=task("sagemaker:createModelPackage", {}))
    assert unknown["error"] == "States.Runtime"
    studio.ended("twice")


def test_stopping_an_execution_stops_the_job_it_waits_for(studio: Studio) -> None:
    request = studio.training("orphan", sleep="60")
    train = {"Type": "Task", "End": True, **task("sagemaker:createTrainingJob.sync", request, TimeoutSeconds=100)}
    retrying = {**train, "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1}]}
    branches = [{"StartAt": "Train", "States": {"Train": retrying}}]
    machine = {"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": branches, "End": True}}}
    execution = studio.account.start(studio.account.machine(machine, studio.machine_role()))
    until(lambda: is_training(studio, request["TrainingJobName"]))
    studio.account.states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    assert studio.ended("orphan")["TrainingJobStatus"] == "Stopped"
    time.sleep(1.5)  # longer than the retry's interval
    ended = studio.account.ended(execution)
    assert ended is not None
    assert (ended["status"], ended["cause"]) == ("ABORTED", "by hand")


@pytest.mark.without("T24")
def test_the_switch_leaves_the_job_of_a_stopped_execution_at_work(studio: Studio) -> None:
    request = studio.training("abandoned", sleep="60")
    train = {"Type": "Task", "End": True, **task("sagemaker:createTrainingJob.sync", request, TimeoutSeconds=100)}
    machine = studio.account.machine({"StartAt": "Train", "States": {"Train": train}}, studio.machine_role())
    execution = studio.account.start(machine)
    until(lambda: is_training(studio, request["TrainingJobName"]))
    with disturbed(studio.account.cloud.settings, Chaos(abandons=True)):
        studio.account.states.stop_execution(executionArn=execution)
        until(lambda: studio.account.ended(execution))
        time.sleep(0.5)  # several looks of the waiting task
        assert is_training(studio, request["TrainingJobName"])
    studio.sagemaker.stop_training_job(TrainingJobName=request["TrainingJobName"])
    assert studio.ended("abandoned")["TrainingJobStatus"] == "Stopped"


def is_training(studio: Studio, name: str) -> bool:
    try:
        job = studio.sagemaker.describe_training_job(TrainingJobName=name)
    except ClientError:
        return False
    return bool(job["SecondaryStatus"] == "Training")


def test_the_states_of_a_job_are_events(studio: Studio) -> None:
    url, arn = studio.account.open_queue()
    name = f"{studio.name}-observed"
    pattern = {"source": ["aws.sagemaker"], "detail": {"TrainingJobName": [name]}}
    studio.account.rule(pattern, Arn=arn)
    studio.sagemaker.create_training_job(**studio.training("observed"))
    seen: list[tuple[str, str]] = []
    while not seen or seen[-1][1] != "Completed":
        event = json.loads(studio.account.received(url)["Body"])
        assert event["detail-type"] == "SageMaker Training Job State Change"
        assert event["resources"] == [f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}"]
        seen.append((event["detail"]["TrainingJobStatus"], event["detail"]["SecondaryStatus"]))
    assert ("InProgress", "Training") in seen


def group_template(name: str, description: str = "models", **tags: str) -> str:
    tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
    properties = {"ModelPackageGroupName": name, "ModelPackageGroupDescription": description, "Tags": tag_list}
    group = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": properties}
    outputs = {"Ref": {"Value": {"Ref": "Group"}}, "Status": {"Value": {"Fn::GetAtt": "Group.ModelPackageGroupStatus"}}}
    return json.dumps({"Resources": {"Group": group}, "Outputs": outputs})


def stack_outputs(stacks: Any, name: str) -> dict[str, str]:
    stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def settled(stacks: Any, name: str, status: str) -> None:
    until(lambda: stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == status)


def test_cloudformation_makes_tags_renames_and_deletes_a_group(studio: Studio) -> None:
    stacks, sagemaker = studio.account.client("cloudformation"), studio.sagemaker
    stack, first, second = (f"{studio.name}-{part}" for part in ("stack", "first", "second"))
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/"
    stacks.create_stack(StackName=stack, TemplateBody=group_template(first, owner="a", stage="test"))
    settled(stacks, stack, "CREATE_COMPLETE")
    assert stack_outputs(stacks, stack) == {"Ref": f"{arn}{first}", "Status": "Completed"}

    stacks.update_stack(StackName=stack, TemplateBody=group_template(first, owner="b"))
    settled(stacks, stack, "UPDATE_COMPLETE")
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=f"{arn}{first}")["Tags"]}
    assert (tags["owner"], "stage" in tags) == ("b", False)

    stacks.update_stack(StackName=stack, TemplateBody=group_template(first, description="changed"))
    settled(stacks, stack, "UPDATE_ROLLBACK_COMPLETE")
    reasons = [
        event.get("ResourceStatusReason", "") for event in stacks.describe_stack_events(StackName=stack)["StackEvents"]
    ]
    assert any("custom-named resource requires replacing" in reason for reason in reasons)

    stacks.update_stack(StackName=stack, TemplateBody=group_template(second))
    settled(stacks, stack, "UPDATE_COMPLETE")
    assert stack_outputs(stacks, stack)["Ref"] == f"{arn}{second}"
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=first)

    stacks.delete_stack(StackName=stack)
    with pytest.raises(ClientError):
        until(lambda: stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "DELETE_FAILED")
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.describe_model_package_group(ModelPackageGroupName=second)


@pytest.fixture
def own_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that a test may stop."""
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("own")))
    cloud.up()
    yield cloud
    cloud.down()


def test_jobs_and_endpoints_survive_a_restart_and_not_a_reset(own_cloud: Cloud) -> None:
    studio = stock(Account(own_cloud))
    studio.sagemaker.create_training_job(**studio.training("kept"))
    artifacts = studio.ended("kept")["ModelArtifacts"]["S3ModelArtifacts"]
    studio.sagemaker.create_model(**studio.model(artifacts))
    studio.sagemaker.create_endpoint_config(**endpoint_config(studio.name))
    studio.sagemaker.create_endpoint(EndpointName=studio.name, EndpointConfigName=studio.name)
    until(lambda: in_service(studio))
    studio.sagemaker.create_training_job(**studio.training("interrupted", sleep="60"))
    until(lambda: is_training(studio, f"{studio.name}-interrupted"))
    own_cloud.down()
    own_cloud.up()
    assert studio.ended("kept")["TrainingJobStatus"] == "Completed"
    assert studio.ended("interrupted")["TrainingJobStatus"] == "Failed"
    until(lambda: in_service(studio))
    runtime = own_cloud.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=studio.name, Body=b'{"x": 1}', ContentType="application/jsonlines")
    assert json.loads(answer["Body"].read()) == {"prediction": 3}
    reset(own_cloud)
    assert studio.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    assert studio.sagemaker.list_endpoints()["Endpoints"] == []
