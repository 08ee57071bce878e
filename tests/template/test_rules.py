"""The template breaks none of our rules, and each rule finds what it is for."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.template.reading import deployed
from tests.template.rules import (
    RULES,
    Resources,
    Rule,
    encrypted_at_rest,
    logs_are_forgotten,
    no_secret_in_plain_text,
    no_wildcard_actions,
    nothing_is_public,
    passed_roles_are_bound,
    services_act_for_this_account,
    tls_only,
)

Flaw = Callable[[Resources], object]


def statement(resources: Resources, holder: str, name: str) -> dict[str, Any]:
    """A statement of a role's or a resource's policy, or of its trust policy, to be changed."""
    properties = resources[holder]["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties[field] for field in ("AssumeRolePolicyDocument", "PolicyDocument") if field in properties]
    found = (one for document in documents for one in document["Statement"])
    return next(one for one in found if name in (one.get("Sid"), one["Action"]))


def change(holder: str, name: str, **values: Any) -> Flaw:
    """The statement with other values."""
    return lambda resources: statement(resources, holder, name).update(values)


def without(holder: str, *path: str) -> Flaw:
    """The resource without a property."""

    def flaw(resources: Resources) -> None:
        place = resources[holder]["Properties"]
        for field in path[:-1]:
            place = place[field]
        del place[path[-1]]

    return flaw


def having(holder: str, **properties: Any) -> Flaw:
    """The resource with other properties."""
    return lambda resources: resources[holder]["Properties"].update(properties)


def with_variable(name: str, value: str) -> Flaw:
    """A function with one more variable."""
    return lambda resources: resources["NotifyFunction"]["Properties"]["Environment"]["Variables"].update({name: value})


def unsigned(resources: Resources) -> None:
    """A route that anybody may call."""
    route = resources["Api"]["Properties"]["Body"]["paths"]["/pipelines/{pipeline}/predictions"]["post"]
    route["security"] = [{"NONE": []}]


PASS = {"StringEquals": {"iam:PassedToService": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]}}
UNENCRYPTED = {"ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
OPEN = {"BlockPublicAcls": True, "BlockPublicPolicy": False, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
FLAWS: list[tuple[Rule, str, Flaw]] = [
    (no_wildcard_actions, "GlueRole", change("GlueRole", "WriteOutput", Action=["s3:GetObject", "s3:Put*"])),
    (no_wildcard_actions, "TrainingRole", change("TrainingRole", "ReadInputs", Action="*")),
    (no_wildcard_actions, "SchedulerRole", change("SchedulerRole", "StartRun", NotResource="arn:aws:s3:::x")),
    (
        passed_roles_are_bound,
        "RetrainStateMachineRole",
        change("RetrainStateMachineRole", "iam:PassRole", Condition={}),
    ),
    (
        passed_roles_are_bound,
        "RetrainStateMachineRole",
        change("RetrainStateMachineRole", "iam:PassRole", Condition=PASS),
    ),
    (passed_roles_are_bound, "CloseRunFunctionRole", change("CloseRunFunctionRole", "iam:PassRole", Resource="*")),
    (services_act_for_this_account, "TrainingRole", change("TrainingRole", "sts:AssumeRole", Condition={})),
    (services_act_for_this_account, "ScoreQueuePolicy", change("ScoreQueuePolicy", "BucketMayNotify", Condition={})),
    (
        services_act_for_this_account,
        "PredictFunctionAskedPermission",
        without("PredictFunctionAskedPermission", "SourceArn"),
    ),
    (tls_only, "DataBucket", change("DataBucketPolicy", "TlsOnly", Effect="Allow")),
    (tls_only, "DataBucket", change("DataBucketPolicy", "TlsOnly", Resource={"Fn::GetAtt": ["DataBucket", "Arn"]})),
    (
        tls_only,
        "ScoreQueue",
        change("ScoreQueuePolicy", "TlsOnly", Condition={"Bool": {"aws:SecureTransport": "true"}}),
    ),
    (tls_only, "NotificationTopic", having("NotificationTopicPolicy", Topics=[])),
    (encrypted_at_rest, "DataBucket", having("DataBucket", BucketEncryption=UNENCRYPTED)),
    (encrypted_at_rest, "ArtifactsBucket", without("ArtifactsBucket", "BucketEncryption")),
    (encrypted_at_rest, "LedgerTable", without("LedgerTable", "SSESpecification")),
    (encrypted_at_rest, "ScoreQueue", having("ScoreQueue", SqsManagedSseEnabled=False)),
    (encrypted_at_rest, "NotificationTopic", without("NotificationTopic", "KmsMasterKeyId")),
    (nothing_is_public, "DataBucket", having("DataBucket", PublicAccessBlockConfiguration=OPEN)),
    (nothing_is_public, "DataBucket", having("DataBucket", AccessControl="PublicRead")),
    (nothing_is_public, "ScoreQueuePolicy", change("ScoreQueuePolicy", "BucketMayNotify", Principal="*")),
    (nothing_is_public, "ScoreQueuePolicy", change("ScoreQueuePolicy", "BucketMayNotify", Principal={"AWS": "*"})),
    (nothing_is_public, "PredictFunctionAskedPermission", having("PredictFunctionAskedPermission", Principal="*")),
    (nothing_is_public, "Api", unsigned),
    (
        nothing_is_public,
        "Door",
        lambda resources: resources.update(Door={"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "NONE"}}),
    ),
    (no_secret_in_plain_text, "NotifyFunction", with_variable("SMTP_PASSWORD", "hunter2")),
    (no_secret_in_plain_text, "NotifyFunction", with_variable("WHO", "AKIA" + "IOSFODNN7EXAMPLE")),
    (logs_are_forgotten, "IngestLogGroup", without("IngestLogGroup", "RetentionInDays")),
    (logs_are_forgotten, "NotifyFunction", without("NotifyFunction", "LoggingConfig")),
    (logs_are_forgotten, "RetrainStateMachine", without("RetrainStateMachine", "LoggingConfiguration")),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(deployed())) == []


@pytest.mark.parametrize(
    ("rule", "holder", "flaw"), FLAWS, ids=[f"{r.__name__}-{h}-{n}" for n, (r, h, _) in enumerate(FLAWS)]
)
def test_the_rule_finds_a_flaw(rule: Rule, holder: str, flaw: Flaw) -> None:
    resources = deployed()
    flaw(resources)
    found = list(rule(resources))
    assert [one for one in found if one.startswith(f"{holder}: ")] == found != []


def test_every_rule_has_a_flaw() -> None:
    assert {rule for rule, _, _ in FLAWS} == set(RULES)
