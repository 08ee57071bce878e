"""One name, seven spellings: folder, logical id, substitution, contract, variable."""

import importlib.util
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

from ratchet import settings
from ratchet.domain import identity
from ratchet.settings import Settings
from tests.statemachine.definitions import CONTRACTS, MACHINES, pascal, substitutions_in, text_of
from tests.template.reading import ROOT, deployed, functions, resources, template

KINDS = {
    "AWS::S3::Bucket": "Bucket",
    "AWS::S3::BucketPolicy": "BucketPolicy",
    "AWS::DynamoDB::Table": "Table",
    "AWS::Events::EventBus": "EventBus",
    "AWS::Events::Rule": "Rule",
    "AWS::SQS::Queue": "Queue",
    "AWS::SQS::QueuePolicy": "QueuePolicy",
    "AWS::Scheduler::ScheduleGroup": "ScheduleGroup",
    "AWS::IAM::Role": "Role",
    "AWS::Serverless::LayerVersion": "Layer",
    "AWS::Serverless::StateMachine": "StateMachine",
    "AWS::Serverless::Function": "Function",
    "AWS::Serverless::HttpApi": "Api",
    "AWS::Lambda::EventSourceMapping": "EventSourceMapping",
    "AWS::Logs::LogGroup": "LogGroup",
    "AWS::Glue::Job": "Job",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroup",
    "AWS::CloudWatch::Alarm": "Alarm",
    "AWS::SSM::Parameter": "Parameter",
    "AWS::SNS::Topic": "Topic",
    "AWS::SNS::TopicPolicy": "TopicPolicy",
    "AWS::SNS::Subscription": "Subscription",
    "AWS::CloudWatch::Dashboard": "Dashboard",
}
NAMED_BY = {
    "AWS::S3::Bucket": "BucketName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::ScheduleGroup": "Name",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::Glue::Job": "Name",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName",
    "AWS::SNS::Topic": "TopicName",
}
BY_NAME = {"IngestStateMachineArn"}  # two workflows that start each other: one knows the other by its name
SET_BY_LAMBDA = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}
FUNCTIONS = sorted(functions())


def snake(pascal: str) -> str:
    """ValidateData -> validate_data"""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", pascal).lower()


def folder_of(function: str) -> Path:
    """ValidateDataFunction -> functions/validate_data"""
    return ROOT / "functions" / snake(function.removesuffix("Function"))


def module_of(function: str) -> ModuleType:
    """The function's app.py."""
    path = folder_of(function) / "app.py"
    spec = importlib.util.spec_from_file_location(f"functions_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def lambda_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """What powertools wants to know while a handler's module is imported."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "ratchet-test")
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "1")


def test_every_folder_is_a_function_and_every_function_a_folder() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == {folder_of(function).name for function in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_built_from_its_own_folder(function: str) -> None:
    assert Path(functions()[function]["CodeUri"]) == folder_of(function).relative_to(ROOT)
    assert functions()[function]["Handler"] == "app.handler"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_events_of_its_name(function: str) -> None:
    assert list((ROOT / "events" / folder_of(function).name).glob("*.json")), (
        f"add events/{folder_of(function).name}/<case>.json: tests and sam local invoke read it"
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_gets_the_variables_its_settings_read(function: str) -> None:
    wanted: type[Settings] = getattr(settings, f"{function.removesuffix('Function')}Settings", Settings)
    read = {name.upper() for name in wanted.fields()} - SET_BY_LAMBDA
    given = functions()[function]["Environment"]["Variables"].keys()
    shared = template()["Globals"]["Function"]["Environment"]["Variables"].keys()
    assert given - shared == read


@pytest.mark.parametrize("function", sorted(CONTRACTS))
def test_a_door_parses_and_answers_the_contracts_that_the_workflows_are_tested_with(function: str) -> None:
    hints: dict[str, Any] = get_type_hints(inspect.unwrap(module_of(function).handler))
    request, result = CONTRACTS[function]
    answered = hints.pop("return")
    assert any(request in (hint, *get_args(hint)) for hint in hints.values())
    assert answered is (type(None) if function in ("DeployEndpointFunction", "RequestApprovalFunction") else result)


@pytest.mark.parametrize("name", sorted(template()["Resources"]))
def test_a_logical_id_ends_in_its_kind(name: str) -> None:
    kind = template()["Resources"][name]["Type"]
    assert kind in KINDS, f"{name}: add the kind of {kind} to KINDS"
    assert name.endswith(KINDS[kind])
    assert re.fullmatch(r"([A-Z][a-z]+)+", name), f"{name}: write it in Pascal case"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_workflow_gets_every_substitution_it_uses_and_no_other(machine: str) -> None:
    properties = resources("AWS::Serverless::StateMachine")[f"{pascal(machine)}StateMachine"]
    assert properties["DefinitionUri"] == f"statemachine/{machine}.asl.json"
    assert properties["DefinitionSubstitutions"].keys() == substitutions_in(text_of(machine))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_substitution_is_called_as_what_it_stands_for(machine: str) -> None:
    substitutions = resources("AWS::Serverless::StateMachine")[f"{pascal(machine)}StateMachine"][
        "DefinitionSubstitutions"
    ]
    for name, value in substitutions.items():
        if "Fn::GetAtt" in value:
            resource, attribute = value["Fn::GetAtt"]
            if resource != "ResourcePrefixParameter":  # the name of whatever is called by it
                assert name == f"{resource}{attribute}"
        elif name.endswith("Arn") and name not in BY_NAME:
            pytest.fail(f"{name}: take it from a resource, !GetAtt {name.removesuffix('Arn')}.Arn")


def test_only_what_others_must_know_by_name_is_named() -> None:
    named = {
        name
        for name, resource in deployed().items()
        if resource["Type"] in NAMED_BY and NAMED_BY[resource["Type"]] in resource["Properties"]
    }
    assert named == {
        "EventBus",  # CloudFormation asks for a name
        "ModelPackageGroup",  # so does it here
        "IngestLogGroup",  # /aws/vendedlogs/states/…, see the template
        "RetrainLogGroup",
        "ApiLogGroup",  # /aws/vendedlogs/apis/…, see the template
        "ValidateLargeLogGroup",
        "IngestStateMachine",  # what it starts starts it
        "RetrainStateMachine",  # its own functions start it
        "ScheduleGroup",  # `ratchet apply` makes schedules in it
        "ReconcileFunctionEveryFiveMinutes",  # SAM names it
        "CleanupEndpointsFunctionEveryHour",  # likewise
    }


STACK_ID = "arn:aws:cloudformation:ap-southeast-2:123456789012:stack/any/8d2a6f10-c5e7-11f0-9a3b-0a58a9feac02"


def value_of(expression: Any, parameters: dict[str, str]) -> Any:
    """What CloudFormation makes of an expression of Ref, Sub, Select and Split."""
    match expression:
        case {"Ref": name}:
            return parameters[name]
        case {"Fn::Split": [separator, inner]}:
            return value_of(inner, parameters).split(separator)
        case {"Fn::Select": [place, inner]}:
            return value_of(inner, parameters)[place]
        case {"Fn::Sub": [pattern, names]}:
            found = parameters | {name: value_of(inner, parameters) for name, inner in names.items()}
            return re.sub(r"\$\{([\w:]+)\}", lambda name: found[name[1]], pattern)
    return expression


def prefix_of(stage: str, stack_id: str = STACK_ID) -> str:
    """How a stack calls what must have a name."""
    expression = resources("AWS::SSM::Parameter")["ResourcePrefixParameter"]["Value"]
    return str(value_of(expression, {"Stage": stage, "AWS::StackId": stack_id}))


def test_a_stack_made_anew_has_other_names() -> None:
    anew = STACK_ID.replace("8d2a6f10", "b1f0c2d3")
    assert prefix_of("dev") == "ratchet-dev-8d2a6f10"
    assert prefix_of("dev", anew) == "ratchet-dev-b1f0c2d3"


def test_what_outlives_a_stack_or_its_own_deletion_is_called_by_the_stack() -> None:
    deployed_names = {
        name: resource["Properties"][NAMED_BY[resource["Type"]]]
        for name, resource in deployed().items()
        if resource["Type"] in NAMED_BY and NAMED_BY[resource["Type"]] in resource["Properties"]
    }
    of_stage = {name for name, value in deployed_names.items() if "ResourcePrefixParameter" not in json.dumps(value)}
    assert of_stage == {
        "EventBus",
        "ReconcileFunctionEveryFiveMinutes",
        "CleanupEndpointsFunctionEveryHour",
    }  # all are free again once deleted


@pytest.mark.parametrize("stage", template()["Parameters"]["Stage"]["AllowedValues"])
def test_no_name_is_longer_than_aws_allows(stage: str) -> None:
    """SageMaker: 63; Scheduler: 64; Step Functions: 80. A pipeline's name has 24 characters at most."""
    prefix, pipeline = prefix_of(stage), "p" * 24
    run = identity.run_id(pipeline, 999_999)
    named_by_sagemaker = [
        prefix,
        identity.endpoint_name(prefix, pipeline),
        identity.model_name(prefix, run),
        *(f"{identity.job_name(prefix, run, step)}-99" for step in ("c999", "score-candidate", "score-champion")),
    ]
    assert max(map(len, named_by_sagemaker)) <= 63
    assert all(name.startswith(prefix) for name in named_by_sagemaker), "the roles' policies name the prefix"
    assert len(f"{prefix}-{pipeline}") <= 64
    assert max(len(f"{prefix}-{machine}") for machine in MACHINES) <= 80
    assert len(run) <= 80
