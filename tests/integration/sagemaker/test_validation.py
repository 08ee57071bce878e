"""Requests are refused in AWS's words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from local.autoscaling import AUTOSCALING
from local.glue.api import GLUE
from local.sagemaker import SageMakerEngine, SageMakerError
from local.sagemaker.api import SAGEMAKER
from local.validation import Api, compiled
from tests.integration.sagemaker.cloud import ROLE, Cloud, training_request


def refusal(action: str, request: dict[str, Any]) -> SageMakerError:
    """The error that the request meets."""
    with pytest.raises(SageMakerError) as caught:
        SAGEMAKER.validate(action, request)
    return caught.value


def test_a_good_request_passes_unchanged() -> None:
    request = training_request("job-1", Tags=[{"Key": "team", "Value": "Größe 1"}])
    assert SAGEMAKER.validate("CreateTrainingJob", request) == request


def test_a_name_must_match_its_pattern() -> None:
    error = refusal("CreateTrainingJob", training_request("job_1"))
    assert (error.code, error.status) == ("ValidationException", 400)
    assert error.message == (
        "1 validation error detected: Value 'job_1' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_the_whole_name_must_match() -> None:
    assert "trainingJobName" in refusal("DescribeTrainingJob", {"TrainingJobName": "job-1!"}).message


def test_a_choice_must_be_one_of_the_enum() -> None:
    request = training_request("job-1", AlgorithmSpecification={"TrainingInputMode": "Files"})
    assert refusal("CreateTrainingJob", request).message == (
        "1 validation error detected: Value 'Files' at 'algorithmSpecification.trainingInputMode' failed to satisfy "
        "constraint: Member must satisfy enum value set: [Pipe, File, FastFile]"
    )


def test_what_is_required_must_be_there() -> None:
    request = {"TrainingJobName": "job-1", "RoleArn": ROLE, "OutputDataConfig": {}}
    assert refusal("CreateTrainingJob", request).message == (
        "1 validation error detected: Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: "
        "Member must not be null"
    )


def test_null_counts_as_absent() -> None:
    assert "'trainingJobName'" in refusal("DescribeTrainingJob", {"TrainingJobName": None}).message


def test_all_errors_are_told_at_once() -> None:
    error = refusal("CreateTrainingJob", {"TrainingJobName": "", "RoleArn": "role"})
    assert error.message.startswith("5 validation errors detected: Value null at 'outputDataConfig'")
    assert (
        "Value '' at 'trainingJobName' failed to satisfy constraint: Member must have length greater" in error.message
    )


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    error = refusal("DescribeModel", {"ModelName": "m", "Model": "m"})
    assert error.message == 'Unknown parameter in input: "Model", must be one of: ModelName'


def test_an_unknown_field_is_named_with_its_place() -> None:
    request = training_request("job-1", StoppingCondition={"MaxRuntime": 1})
    assert 'Unknown parameter in stoppingCondition: "MaxRuntime"' in refusal("CreateTrainingJob", request).message


@pytest.mark.parametrize(
    ("field", "value", "constraint"),
    [
        ("MaxResults", 0, "Member must have value greater than or equal to 1"),
        ("MaxResults", 101, "Member must have value less than or equal to 100"),
        ("NameContains", "a" * 64, "Member must have length less than or equal to 63"),
    ],
)
def test_limits(field: str, value: object, constraint: str) -> None:
    assert refusal("ListTrainingJobs", {field: value}).message.endswith(constraint)


def test_a_list_item_is_named_by_its_place() -> None:
    error = refusal("AddTags", {"ResourceArn": "x", "Tags": [{"Key": "a", "Value": "b"}, {"Key": "", "Value": "?"}]})
    assert "Value '' at 'tags.2.member.key' failed" in error.message
    assert (
        "Value '?' at 'tags.2.member.value' failed to satisfy constraint: Member must satisfy regular" in error.message
    )


def test_map_values_are_checked() -> None:
    error = refusal("CreateTrainingJob", training_request("job-1", HyperParameters={"long": "x" * 2501}))
    assert "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: " in error.message
    assert "[Member must have length less than or equal to 2500]" in error.message


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"MaxResults": "ten"}, "STRING_VALUE can not be converted to an Integer"),
        ({"MaxResults": 1.5}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"MaxResults": True}, "TRUE_VALUE can not be converted to an Integer"),
        ({"NameContains": 5}, "NUMBER_VALUE can not be converted to a String"),
        ({"CreationTimeAfter": "soon"}, "STRING_VALUE can not be converted to a Timestamp"),
    ],
)
def test_types(request_: dict[str, Any], message: str) -> None:
    error = refusal("ListTrainingJobs", request_)
    assert (error.code, error.message) == ("SerializationException", message)


def test_a_list_is_no_structure_and_a_structure_is_no_list() -> None:
    assert refusal("CreateTrainingJob", {"OutputDataConfig": []}).code == "SerializationException"
    assert refusal("CreateTrainingJob", {"InputDataConfig": {}}).code == "SerializationException"


def test_times_become_epoch_seconds() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    for given in (moment, moment.timestamp(), moment.isoformat()):
        assert SAGEMAKER.validate("ListTrainingJobs", {"CreationTimeAfter": given}) == {
            "CreationTimeAfter": moment.timestamp()
        }


def test_whole_floats_are_integers_as_json_may_write_them() -> None:
    assert SAGEMAKER.validate("ListTrainingJobs", {"MaxResults": 10.0}) == {"MaxResults": 10}


@pytest.mark.parametrize("api", [SAGEMAKER, GLUE, AUTOSCALING], ids=["sagemaker", "glue", "autoscaling"])
def test_every_pattern_of_a_service_is_understood(api: Api) -> None:
    shapes = [api.model.shape_for(name) for name in api.model.shape_names]
    patterns = {shape.metadata["pattern"] for shape in shapes if "pattern" in shape.metadata}
    assert patterns
    for pattern in patterns:
        compiled(pattern)


def test_what_is_printable_is_ascii() -> None:
    assert compiled(r"\p{Print}+").fullmatch("a name: 1")
    assert not compiled(r"\p{Print}+").fullmatch("a\nname")


def test_an_action_that_aws_knows_and_the_engine_does_not(cloud: Cloud) -> None:
    with pytest.raises(SageMakerError) as caught:
        cloud.call("CreateHyperParameterTuningJob")
    assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)


def test_an_action_that_nobody_knows(cloud: Cloud) -> None:
    with pytest.raises(SageMakerError) as caught:
        cloud.call("CreateTrainingJobs")
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 400)


def test_only_actions_of_the_model_are_implemented(cloud: Cloud) -> None:
    assert cloud.engine.actions <= set(SAGEMAKER.model.operation_names)
    assert isinstance(cloud.engine, SageMakerEngine)
