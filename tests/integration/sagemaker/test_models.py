"""Models: what they may name, and what they are refused for."""

from typing import Any

import pytest

from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import IMAGE, INFERENCE, ROLE, Cloud, archive, transform_request, variant

ARN = "arn:aws:sagemaker:eu-west-1:111122223333:model/adder"
DATA = "s3://artifacts/adder.tar.gz"


def refusal(cloud: Cloud, action: str, **request: Any) -> SageMakerError:
    """The error that a call meets."""
    with pytest.raises(SageMakerError) as caught:
        cloud.call(action, **request)
    return caught.value


def test_a_model_is_described_listed_and_deleted(cloud: Cloud) -> None:
    cloud.model()
    described = cloud.call("DescribeModel", ModelName="adder")
    assert (described["ModelArn"], described["ExecutionRoleArn"]) == (ARN, ROLE)
    assert described["PrimaryContainer"]["ModelDataUrl"] == DATA
    (summary,) = cloud.call("ListModels")["Models"]
    assert summary == {"ModelName": "adder", "ModelArn": ARN, "CreationTime": described["CreationTime"]}
    cloud.call("DeleteModel", ModelName="adder")
    assert refusal(cloud, "DescribeModel", ModelName="adder").message == f'Could not find model "{ARN}".'
    assert "artifacts/adder.tar.gz" in cloud.host.objects


def test_a_name_is_taken(cloud: Cloud) -> None:
    cloud.model()
    request = {"ModelName": "adder", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    assert refusal(cloud, "CreateModel", **request).message == f'Cannot create already existing model "{ARN}".'


def test_data_that_is_not_there(cloud: Cloud) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": DATA}
    error = refusal(cloud, "CreateModel", ModelName="adder", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert error.code == "ValidationException"
    assert error.message.startswith(f"Could not find model data at {DATA}.")


def test_data_that_the_role_may_not_read(cloud: Cloud) -> None:
    cloud.host.denied_roles.add(ROLE)
    container = {"Image": IMAGE, "ModelDataUrl": DATA}
    error = refusal(cloud, "CreateModel", ModelName="adder", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert error.message.startswith(f"Could not access model data at {DATA}.")
    assert '"s3:GetObject"' in error.message


def test_a_role_that_cannot_be_assumed(cloud: Cloud) -> None:
    cloud.host.unknown_roles.add(ROLE)
    request = {"ModelName": "adder", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    assert refusal(cloud, "CreateModel", **request).message.startswith("Could not assume role")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ExecutionRoleArn": None}, "ExecutionRoleArn is required"),
        ({"PrimaryContainer": None, "Containers": [{"Image": IMAGE}] * 2}, "Only one container is supported"),
        ({"PrimaryContainer": {}}, "must have an Image or a ModelPackageName"),
        ({"PrimaryContainer": {"Image": IMAGE, "Mode": "MultiModel"}}, "Multi-model containers are not supported"),
    ],
)
def test_what_cannot_be_is_refused(cloud: Cloud, fields: dict[str, Any], message: str) -> None:
    request = {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}, **fields}
    assert message in refusal(cloud, "CreateModel", **request).message


def test_the_only_container_of_a_list(cloud: Cloud) -> None:
    cloud.model()
    container = cloud.call("DescribeModel", ModelName="adder")["PrimaryContainer"]
    cloud.call("CreateModel", ModelName="listed", ExecutionRoleArn=ROLE, Containers=[container])
    cloud.config("one", variant("listed"))
    assert cloud.endpoint()["EndpointStatus"] == "InService"
    assert cloud.predict(1) == 2


def test_uncompressed_model_data(cloud: Cloud) -> None:
    cloud.host.objects |= {
        "artifacts/flat/model.json": b'{"add": 4}',
        "artifacts/flat/code/inference.py": INFERENCE.encode(),
    }
    source = {"S3Uri": "s3://artifacts/flat/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    environment = {"SAGEMAKER_PROGRAM": "inference.py"}
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}, "Environment": environment}
    cloud.call("CreateModel", ModelName="flat", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    cloud.config("one", variant("flat"))
    assert cloud.endpoint()["EndpointStatus"] == "InService"
    assert cloud.predict(1) == 5


def test_model_data_cannot_leave_its_folder(cloud: Cloud) -> None:
    cloud.host.objects["artifacts/evil.tar.gz"] = archive({"../../evil": "x"})
    container = {"Image": IMAGE, "ModelDataUrl": "s3://artifacts/evil.tar.gz"}
    cloud.call("CreateModel", ModelName="adder", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    cloud.host.objects["data/in/a.jsonl"] = b"{}"
    reason = cloud.transform("score-1", **transform_request("score-1"))["FailureReason"]
    assert reason.startswith("ClientError: s3://artifacts/evil.tar.gz is not a usable tar.gz archive")


def test_a_model_from_a_package_needs_its_approval(cloud: Cloud) -> None:
    cloud.model()
    container = cloud.call("DescribeModel", ModelName="adder")["PrimaryContainer"]
    cloud.call("CreateModelPackageGroup", ModelPackageGroupName="traffic")
    specification = {"Containers": [container], "SupportedContentTypes": ["application/jsonlines"]}
    package = cloud.call("CreateModelPackage", ModelPackageGroupName="traffic", InferenceSpecification=specification)[
        "ModelPackageArn"
    ]
    packaged = {"ModelPackageName": package, "Environment": {"ADD": "1"}}
    request = {"ModelName": "packaged", "ExecutionRoleArn": ROLE, "PrimaryContainer": packaged}
    assert "only an Approved model package can be deployed" in refusal(cloud, "CreateModel", **request).message
    cloud.call("UpdateModelPackage", ModelPackageArn=package, ModelApprovalStatus="Approved")
    cloud.call("CreateModel", **request)
    cloud.config("one", variant("packaged"))
    assert cloud.endpoint()["EndpointStatus"] == "InService"
    assert cloud.predict(1) == 2
