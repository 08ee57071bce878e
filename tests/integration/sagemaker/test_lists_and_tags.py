"""Pages, order and filters of the List calls; tags of any resource."""

from typing import Any

import pytest

from local.sagemaker import SageMakerError
from tests.integration.sagemaker.cloud import IMAGE, ROLE, Cloud, transform_request


def models(cloud: Cloud, *names: str) -> None:
    """Makes models without data."""
    for name in names:
        cloud.call("CreateModel", ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})


def listed(cloud: Cloud, **request: Any) -> list[str]:
    """The names of the models on one page."""
    return [model["ModelName"] for model in cloud.call("ListModels", **request)["Models"]]


def test_pages_cover_all_once(cloud: Cloud) -> None:
    names = [f"m{n:02}" for n in range(23)]
    models(cloud, *names)
    found, token, sizes = [], None, []
    while True:
        page = cloud.call("ListModels", SortBy="Name", SortOrder="Ascending", NextToken=token)
        found += [model["ModelName"] for model in page["Models"]]
        sizes.append(len(page["Models"]))
        token = page.get("NextToken")
        if token is None:
            break
    assert (found, sizes) == (names, [10, 10, 3])


def test_a_last_page_that_is_full_has_no_next(cloud: Cloud) -> None:
    models(cloud, "a", "b")
    assert "NextToken" not in cloud.call("ListModels", MaxResults=2)


def test_pages_hold_while_resources_come_and_go(cloud: Cloud) -> None:
    models(cloud, "b", "d", "f", "h")
    page = cloud.call("ListModels", SortBy="Name", SortOrder="Ascending", MaxResults=2)
    cloud.call("DeleteModel", ModelName="b")
    models(cloud, "a", "c", "e")
    rest = {"SortBy": "Name", "SortOrder": "Ascending", "NextToken": page["NextToken"]}
    assert listed(cloud, **rest) == ["e", "f", "h"]


def test_newest_first_by_default(cloud: Cloud) -> None:
    models(cloud, "b", "a", "c")
    assert listed(cloud) == ["c", "a", "b"]
    assert listed(cloud, SortOrder="Ascending") == ["b", "a", "c"]
    assert listed(cloud, SortBy="Name") == ["c", "b", "a"]


def test_filters(cloud: Cloud) -> None:
    models(cloud, "traffic-1", "flights-1")
    middle = cloud.call("DescribeModel", ModelName="flights-1")["CreationTime"]
    models(cloud, "traffic-2")
    assert listed(cloud, NameContains="Traffic") == ["traffic-2", "traffic-1"]
    assert listed(cloud, CreationTimeAfter=middle) == ["traffic-2"]
    assert listed(cloud, CreationTimeBefore=middle) == ["traffic-1"]


def test_a_token_that_is_none(cloud: Cloud) -> None:
    with pytest.raises(SageMakerError, match="Invalid pagination token"):
        cloud.call("ListModels", NextToken="x")


def test_jobs_by_status(cloud: Cloud) -> None:
    cloud.train("good", "pass")
    cloud.train("bad", "1 / 0")
    for status, name in (("Completed", "good"), ("Failed", "bad")):
        (summary,) = cloud.call("ListTrainingJobs", StatusEquals=status)["TrainingJobSummaries"]
        assert (summary["TrainingJobName"], summary["TrainingJobStatus"]) == (name, status)
    by_status = cloud.call("ListTrainingJobs", SortBy="Status")["TrainingJobSummaries"]
    assert [summary["TrainingJobName"] for summary in by_status] == ["good", "bad"]


def test_transform_jobs_and_endpoints(cloud: Cloud) -> None:
    cloud.model()
    cloud.transform("score-1", **transform_request("score-1"))
    (job,) = cloud.call("ListTransformJobs", StatusEquals="Failed")["TransformJobSummaries"]
    assert (job["TransformJobName"], "No S3 objects found" in job["FailureReason"]) == ("score-1", True)
    cloud.config(
        "one",
        {
            "VariantName": "a",
            "ModelName": "adder",
            "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
        },
    )
    cloud.endpoint()
    (endpoint,) = cloud.call("ListEndpoints", StatusEquals="InService")["Endpoints"]
    assert endpoint["EndpointName"] == "live"
    assert cloud.call("ListEndpoints", StatusEquals="Failed")["Endpoints"] == []


def test_tags_are_added_replaced_and_deleted(cloud: Cloud) -> None:
    tag = [{"Key": "stage", "Value": "dev"}]
    cloud.call("CreateModelPackageGroup", ModelPackageGroupName="g", Tags=tag)
    arn = cloud.call("DescribeModelPackageGroup", ModelPackageGroupName="g")["ModelPackageGroupArn"]
    assert cloud.call("ListTags", ResourceArn=arn)["Tags"] == tag
    more = [{"Key": "stage", "Value": "prod"}, {"Key": "team", "Value": "ml"}]
    assert cloud.call("AddTags", ResourceArn=arn, Tags=more)["Tags"] == more
    cloud.call("DeleteTags", ResourceArn=arn, TagKeys=["stage", "absent"])
    assert cloud.call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "ml"}]


def test_tags_end_with_their_resource(cloud: Cloud) -> None:
    models(cloud, "a")
    arn = cloud.call("DescribeModel", ModelName="a")["ModelArn"]
    cloud.call("AddTags", ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    cloud.call("DeleteModel", ModelName="a")
    with pytest.raises(SageMakerError, match="Could not find resource"):
        cloud.call("ListTags", ResourceArn=arn)
    models(cloud, "a")
    assert cloud.call("ListTags", ResourceArn=arn)["Tags"] == []


def test_fifty_tags_at_most(cloud: Cloud) -> None:
    models(cloud, "a")
    arn = cloud.call("DescribeModel", ModelName="a")["ModelArn"]
    cloud.call("AddTags", ResourceArn=arn, Tags=[{"Key": f"k{n}", "Value": "v"} for n in range(50)])
    with pytest.raises(SageMakerError, match="at most 50 tags"):
        cloud.call("AddTags", ResourceArn=arn, Tags=[{"Key": "one-more", "Value": "v"}])
