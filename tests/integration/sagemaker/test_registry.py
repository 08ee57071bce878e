"""The model registry: groups, versions, approval."""

import json
from datetime import datetime
from typing import Any

import pytest

from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import IMAGE, Cloud
from tests.integration.sagemaker.fakes import until

KIND = "SageMaker Model Package State Change"
GROUP = "arn:aws:sagemaker:eu-west-1:111122223333:model-package-group/traffic"
PACKAGE = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/traffic"
SPECIFICATION = {"Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://artifacts/model.tar.gz"}]}


def register(cloud: Cloud, **fields: Any) -> str:
    """Adds a version to the group `traffic`."""
    request = {"ModelPackageGroupName": "traffic", "InferenceSpecification": SPECIFICATION, **fields}
    arn: str = cloud.call("CreateModelPackage", **request)["ModelPackageArn"]
    return arn


def refusal(cloud: Cloud, action: str, **request: Any) -> SageMakerError:
    """The error that a call meets."""
    with pytest.raises(SageMakerError) as caught:
        cloud.call(action, **request)
    return caught.value


@pytest.fixture
def registry(cloud: Cloud) -> Cloud:
    """A cloud with an empty group."""
    cloud.call("CreateModelPackageGroup", ModelPackageGroupName="traffic", ModelPackageGroupDescription="I-94")
    return cloud


def test_a_group_is_described_by_name_and_arn(registry: Cloud) -> None:
    for name in ("traffic", GROUP):
        described = registry.call("DescribeModelPackageGroup", ModelPackageGroupName=name)
        assert described["ModelPackageGroupArn"] == GROUP
        assert (described["ModelPackageGroupStatus"], described["CreatedBy"]) == ("Completed", {})
    (summary,) = registry.call("ListModelPackageGroups")["ModelPackageGroupSummaryList"]
    assert (summary["ModelPackageGroupName"], summary["ModelPackageGroupDescription"]) == ("traffic", "I-94")


def test_a_groups_name_is_taken(registry: Cloud) -> None:
    error = refusal(registry, "CreateModelPackageGroup", ModelPackageGroupName="Traffic")
    assert error.message == f"Model Package Group already exists: {GROUP}"


def test_versions_count_up_and_are_not_used_again(registry: Cloud) -> None:
    assert [register(registry) for _ in range(3)] == [f"{PACKAGE}/{n}" for n in (1, 2, 3)]
    registry.call("DeleteModelPackage", ModelPackageName=f"{PACKAGE}/3")
    assert register(registry) == f"{PACKAGE}/4"
    listed = registry.call("ListModelPackages", ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]
    assert [package["ModelPackageVersion"] for package in listed] == [1, 2, 4]


def test_the_newest_approved_version(registry: Cloud) -> None:
    for status in ("Approved", "Approved", "Rejected"):
        register(registry, ModelApprovalStatus=status)
    found = registry.call(
        "ListModelPackages",
        ModelPackageGroupName="traffic",
        ModelApprovalStatus="Approved",
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=1,
    )
    assert [package["ModelPackageVersion"] for package in found["ModelPackageSummaryList"]] == [2]


def test_a_version_is_described(registry: Cloud) -> None:
    arn = register(registry, CustomerMetadataProperties={"run": "r1"}, ModelPackageDescription="first")
    described = registry.call("DescribeModelPackage", ModelPackageName=arn)
    assert described["ModelPackageGroupName"] == "traffic"
    assert described["ModelPackageVersion"] == 1
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["CustomerMetadataProperties"] == {"run": "r1"}
    assert described["InferenceSpecification"] == SPECIFICATION
    assert described["ModelPackageStatusDetails"]["ValidationStatuses"] == []


def test_approval_is_an_event(registry: Cloud) -> None:
    arn = register(registry)
    registry.call("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="ok")
    until(lambda: registry.host.statuses(KIND, "ModelApprovalStatus") == ["PendingManualApproval", "Approved"])
    event = registry.host.events[-1]
    assert event.resources == (arn,)
    assert event.detail["ModelPackageVersion"] == 1
    assert event.detail["ModelPackageStatus"] == "Completed"
    assert event.detail["ApprovalDescription"] == "ok"
    assert event.detail["CertifyForMarketplace"] is False
    datetime.fromisoformat(event.detail["LastModifiedTime"])
    json.dumps(event.detail)


def test_metadata_is_merged_and_removed(registry: Cloud) -> None:
    arn = register(registry, CustomerMetadataProperties={"a": "1", "b": "2"})
    changes = {"CustomerMetadataProperties": {"b": "3", "c": "4"}, "CustomerMetadataPropertiesToRemove": ["a"]}
    registry.call("UpdateModelPackage", ModelPackageArn=arn, **changes)
    described = registry.call("DescribeModelPackage", ModelPackageName=arn)
    assert described["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    assert described["LastModifiedTime"] >= described["CreationTime"]


def test_metadata_has_its_limits(registry: Cloud) -> None:
    for metadata in ({f"k{n}": "v" for n in range(51)}, {"k": "v" * 257}, {"k": "?"}):
        with pytest.raises(SageMakerError, match="customerMetadataProperties"):
            register(registry, CustomerMetadataProperties=metadata)


def test_a_version_takes_no_tags(registry: Cloud) -> None:
    with pytest.raises(SageMakerError, match="Tags are not allowed on a versioned model package"):
        register(registry, Tags=[{"Key": "a", "Value": "b"}])


def test_a_refused_version_uses_no_number(registry: Cloud) -> None:
    with pytest.raises(SageMakerError):
        register(registry, Tags=[{"Key": "a", "Value": "b"}])
    assert register(registry) == f"{PACKAGE}/1"


def test_a_group_with_versions_stays(registry: Cloud) -> None:
    arn = register(registry)
    error = refusal(registry, "DeleteModelPackageGroup", ModelPackageGroupName="traffic")
    assert (error.code, GROUP in error.message) == ("ConflictException", True)
    registry.call("DeleteModelPackage", ModelPackageName=arn)
    registry.call("DeleteModelPackageGroup", ModelPackageGroupName="traffic")
    assert refusal(registry, "DescribeModelPackageGroup", ModelPackageGroupName="traffic").message == (
        f"ModelPackageGroup {GROUP} does not exist."
    )


def test_a_package_without_a_group(cloud: Cloud) -> None:
    request = {"ModelPackageName": "alone", "InferenceSpecification": SPECIFICATION}
    arn = cloud.call("CreateModelPackage", **request, Tags=[{"Key": "a", "Value": "b"}])["ModelPackageArn"]
    assert arn.endswith(":model-package/alone")
    described = cloud.call("DescribeModelPackage", ModelPackageName="alone")
    assert "ModelApprovalStatus" not in described
    assert "Tags" not in described
    assert cloud.call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    (summary,) = cloud.call("ListModelPackages")["ModelPackageSummaryList"]
    assert summary["ModelPackageName"] == "alone"
    assert refusal(cloud, "CreateModelPackage", **request).message == f"Model Package already exists: {arn}"


def test_kinds_of_packages_are_told_apart(registry: Cloud) -> None:
    register(registry)
    registry.call("CreateModelPackage", ModelPackageName="alone")
    counts = {
        kind: len(registry.call("ListModelPackages", ModelPackageType=kind)["ModelPackageSummaryList"])
        for kind in ("Versioned", "Unversioned", "Both")
    }
    assert counts == {"Versioned": 1, "Unversioned": 1, "Both": 2}


def test_a_package_belongs_to_one_thing(registry: Cloud) -> None:
    for names in ({}, {"ModelPackageName": "a", "ModelPackageGroupName": "traffic"}):
        assert "Exactly one of" in refusal(registry, "CreateModelPackage", **names).message


def test_what_does_not_exist(cloud: Cloud) -> None:
    absent = f"{PACKAGE}/1"
    for action, field in (
        ("DescribeModelPackage", "ModelPackageName"),
        ("UpdateModelPackage", "ModelPackageArn"),
        ("DeleteModelPackage", "ModelPackageName"),
    ):
        assert refusal(cloud, action, **{field: absent}).message == f"ModelPackage {absent} does not exist."
    message = f"ModelPackageGroup {GROUP} does not exist."
    assert refusal(cloud, "CreateModelPackage", ModelPackageGroupName="traffic").message == message
    assert refusal(cloud, "ListModelPackages", ModelPackageGroupName="traffic").message == message
