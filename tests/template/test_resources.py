"""What every resource of a kind must have."""

import re
from typing import Any

import pytest

from ratchet.domain.identity import CAPTURES
from tests.statemachine.definitions import MACHINES, function_of, load, pascal, tasks
from tests.template.reading import Resource, as_list, deployed, functions, reference, resources, template

DATA_STORES = {
    "AWS::S3::Bucket",
    "AWS::DynamoDB::Table",
    "AWS::SQS::Queue",
    "AWS::SageMaker::ModelPackageGroup",
}
STATEFUL = DATA_STORES | {"AWS::Logs::LogGroup"}


def test_sections_stand_in_the_order_of_a_document() -> None:
    order = [
        "AWSTemplateFormatVersion",
        "Transform",
        "Description",
        "Metadata",
        "Parameters",
        "Mappings",
        "Rules",
        "Conditions",
        "Globals",
        "Resources",
        "Outputs",
    ]
    assert list(template()) == order


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_parameters_and_outputs_are_described(section: str) -> None:
    for name, entry in template()[section].items():
        assert entry.get("Description", "").endswith("."), f"{name}: describe it in a sentence"


def test_parameters_stand_in_a_group() -> None:
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert {name for group in groups for name in group["Parameters"]} == template()["Parameters"].keys()


@pytest.mark.parametrize("kind", ["AWS::Serverless::Function", "AWS::IAM::Role", "AWS::Events::Rule", "AWS::Glue::Job"])
def test_what_people_meet_in_the_console_is_described(kind: str) -> None:
    for name, properties in resources(kind).items():
        assert properties.get("Description", "").endswith("."), f"{name}: describe it in a sentence"


@pytest.mark.parametrize("name", [name for name, r in template()["Resources"].items() if r["Type"] in STATEFUL])
def test_what_holds_state_says_what_deletion_does(name: str) -> None:
    resource = template()["Resources"][name]
    expected = "Retain" if resource["Type"] in DATA_STORES else "Delete"
    assert resource.get("DeletionPolicy") == expected
    assert resource.get("UpdateReplacePolicy") == expected


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_function_logs_to_a_group_of_its_own_that_forgets(function: str) -> None:
    group = f"{function.removesuffix('Function')}LogGroup"
    assert functions()[function]["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": group}}
    assert resources("AWS::Logs::LogGroup")[group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_workflow_logs_and_traces(machine: str) -> None:
    properties = resources("AWS::Serverless::StateMachine")[f"{pascal(machine)}StateMachine"]
    assert properties["Tracing"] == {"Enabled": True}
    (destination,) = properties["Logging"]["Destinations"]
    assert reference(destination["CloudWatchLogsLogGroup"]["LogGroupArn"]) == f"{pascal(machine)}LogGroup"
    group = resources("AWS::Logs::LogGroup")[f"{pascal(machine)}LogGroup"]
    assert group["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/states/")
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert properties["Type"] == ("EXPRESS" if machine == "ingest" else "STANDARD")


def test_an_express_workflow_logs_everything_for_it_has_no_other_history() -> None:
    assert resources("AWS::Serverless::StateMachine")["IngestStateMachine"]["Logging"]["Level"] == "ALL"


@pytest.mark.parametrize("function", sorted(functions()))
def test_a_function_traces(function: str) -> None:
    assert functions()[function]["Tracing"] == "Active"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_function_ends_before_the_task_that_waits_for_it(machine: str) -> None:
    for place in tasks(load(machine)):
        if function := function_of(place.state):
            limit = functions()[function]["Timeout"]
            assert limit < place.state["TimeoutSeconds"], f"{function} may go on after {place.name} gave up"


def _targets() -> list[tuple[str, Resource]]:
    rules = resources("AWS::Events::Rule", deployed())
    schedules = resources("AWS::Scheduler::Schedule", deployed())
    return [(name, target) for name, rule in rules.items() for target in rule["Targets"]] + [
        (name, schedule["Target"]) for name, schedule in schedules.items()
    ]


@pytest.mark.parametrize(("name", "target"), _targets(), ids=[name for name, _ in _targets()])
def test_whatever_cannot_be_delivered_is_kept(name: str, target: Resource) -> None:
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 86400
    assert target["RetryPolicy"]["MaximumRetryAttempts"] <= 185
    queue = reference(target["DeadLetterConfig"]["Arn"])
    assert queue in resources("AWS::SQS::Queue")
    kept = {reference(arn) for arn in _arns_that_may_write(str(queue))}
    if "RoleArn" in target and "Schedule" not in str(target["RoleArn"]):
        assert name in kept
    elif "RoleArn" not in target:
        assert name in kept, f"the policy of {queue} does not let {name} write to it"


def _arns_that_may_write(queue: str) -> list[Any]:
    for policy in resources("AWS::SQS::QueuePolicy").values():
        if policy["Queues"] == [{"Ref": queue}]:
            allowed = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
            return [arn for one in allowed for arn in as_list(one["Condition"]["ArnEquals"]["aws:SourceArn"])]
    return []


def test_an_asynchronous_invocation_that_fails_is_kept() -> None:
    """EventBridge and Scheduler invoke asynchronously: what the function raises afterwards is Lambda's to keep."""
    invoked = {reference(target["Arn"]) for _, target in _targets()} | {"StartRunFunction"}
    for name in sorted(str(name) for name in invoked if name in functions()):
        config = functions()[name].get("EventInvokeConfig", {})
        assert reference(config["DestinationConfig"]["OnFailure"]["Destination"]) == "EventsDeadLetterQueue", name


@pytest.mark.parametrize("bucket", sorted(resources("AWS::S3::Bucket")))
def test_a_bucket_is_versioned_encrypted_and_closed(bucket: str) -> None:
    properties = resources("AWS::S3::Bucket")[bucket]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_nothing_expires_but_what_models_were_asked() -> None:
    rules = {
        (bucket, rule["Prefix"])
        for bucket, properties in resources("AWS::S3::Bucket").items()
        for rule in properties["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule or "NoncurrentVersionExpiration" in rule
    }
    assert rules == {("ArtifactsBucket", f"{CAPTURES}/")}


@pytest.mark.parametrize("queue", sorted(resources("AWS::SQS::Queue")))
def test_a_queue_is_encrypted_and_keeps_as_long_as_it_can(queue: str) -> None:
    kept = {"MessageRetentionPeriod": 1209600, "SqsManagedSseEnabled": True}
    assert resources("AWS::SQS::Queue")[queue].items() >= kept.items()


def test_a_message_outlives_its_function_and_ends_in_a_queue() -> None:
    for mapping in resources("AWS::Lambda::EventSourceMapping").values():
        queue = resources("AWS::SQS::Queue")[mapping["EventSourceArn"]["Fn::GetAtt"][0]]
        function = functions()[mapping["FunctionName"]["Ref"]]
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0].endswith("DeadLetterQueue")
        last = function["Environment"]["Variables"]["MAX_RECEIVES"]
        assert last == str(queue["RedrivePolicy"]["maxReceiveCount"])


def test_the_ledger_can_be_put_back_to_any_second_and_is_protected_where_it_matters() -> None:
    table = resources("AWS::DynamoDB::Table")["LedgerTable"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] == {"Fn::If": ["IsProtected", True, False]}
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {"PK": "HASH", "SK": "RANGE"}


def test_uploads_are_announced() -> None:
    notifications = resources("AWS::S3::Bucket")["DataBucket"]["NotificationConfiguration"]
    assert notifications["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}
    (scored,) = notifications["QueueConfigurations"]
    assert scored["Filter"] == {"S3Key": {"Rules": [{"Name": "prefix", "Value": "score/"}]}}
    assert scored["Event"] == "s3:ObjectCreated:*"
    detail = resources("AWS::Events::Rule")["IngestRule"]["EventPattern"]["detail"]
    assert detail == {"bucket": {"name": [{"Ref": "DataBucket"}]}, "object": {"key": [{"prefix": "incoming/"}]}}


def test_people_are_told_of_everything_that_the_workflows_announce_but_acceptance() -> None:
    announced = {
        entry.get("DetailType", "Run Failed")  # or Work Stalled, as close_run says
        for machine in MACHINES
        for place in tasks(load(machine))
        for entry in place.state["Parameters"].get("Entries", ())
    }
    pattern = resources("AWS::Events::Rule", deployed())["NotifyFunctionAnnounced"]["EventPattern"]
    by_others = {
        "Work Stalled",
        "Champion Rolled Back",
        "Approval Requested",
        "Endpoint Deleted",
    }  # functions and commands
    assert set(pattern["detail-type"]) == announced - {"Data Accepted"} | by_others


def test_a_report_is_written_again_whenever_a_run_ends() -> None:
    rules = resources("AWS::Events::Rule", deployed())
    told, written = (rules[name]["EventPattern"] for name in ("NotifyFunctionAnnounced", "WriteReportFunctionRunEnded"))
    assert written["source"] == ["ratchet"]
    assert set(written["detail-type"]) == set(told["detail-type"]) - {
        "Data Rejected",
        "Approval Requested",
        "Champion Rolled Back",
        "Endpoint Deleted",
    }


def test_training_images_are_known_wherever_the_image_is() -> None:
    images = template()["Mappings"]["TrainingImages"]
    assert len(images) == 37
    assert all(re.fullmatch(r"\d{12}", image["Account"]) for image in images.values())


def test_the_outputs_are_what_the_command_reads() -> None:
    assert template()["Outputs"].keys() == {
        "Stage",
        "ResourcePrefix",
        "DataBucketName",
        "ArtifactsBucketName",
        "LedgerTableName",
        "EventBusName",
        "NotificationTopicArn",
        "ApiUrl",
        "IngestStateMachineArn",
        "RetrainStateMachineArn",
        "StartRunFunctionName",
        "StartRunFunctionArn",
        "WriteReportFunctionName",
        "CleanupEndpointsFunctionName",
        "ReconcileFunctionName",
        "PreprocessJobName",
        "ModelPackageGroupName",
        "TrainingImageUri",
        "ScheduleGroupName",
        "SchedulerRoleArn",
        "SchedulerDeadLetterQueueArn",
        "IngestDeadLetterQueueUrl",
    }
