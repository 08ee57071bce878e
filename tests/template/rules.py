"""Our policy rules, over a template as CloudFormation gets it: each yields a sentence for every breach it finds."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.template.reading import Resource, Statement, as_list, reference

Resources = dict[str, Resource]
Rule = Callable[[Resources], Iterator[str]]

_SECRET_NAME = re.compile(r"password|passwd|secret|api_?key|private_?key|credential|access_?token", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_\w{36}|xox[abp]-[\w-]{10,}")
_KMS_BY_DEFAULT = ("aws:kms", "aws:kms:dsse")
# Services that a role is passed to, within its account, with a trust policy that says no more.
_TRUSTED_BARE = {
    "glue.amazonaws.com": "Glue sends neither key when it assumes a job's role",
    "lambda.amazonaws.com": "SAM writes the trust policy; Lambda sends neither key when it assumes a function's role",
    "states.amazonaws.com": "SAM writes the trust policy",
}


def no_wildcard_actions(resources: Resources) -> Iterator[str]:
    """What is allowed is named."""
    for name, statement in allowing(resources):
        if any("*" in action for action in as_list(statement.get("Action", "*"))):
            yield f"{name}: name each action"
        if {"NotAction", "NotResource", "NotPrincipal"} & statement.keys():
            yield f"{name}: say what is allowed, not what is not"


def passed_roles_are_bound(resources: Resources) -> Iterator[str]:
    """A role is passed by name, and to one service only."""
    for name, statement in allowing(resources):
        if "iam:PassRole" in as_list(statement.get("Action", [])):
            condition = statement.get("Condition", {}).get("StringEquals", {})
            if not isinstance(condition.get("iam:PassedToService"), str):
                yield f"{name}: bind iam:PassRole to one service by iam:PassedToService"
            if any(reference(arn) is None for arn in as_list(statement["Resource"])):
                yield f"{name}: pass a role of the template"


def services_act_for_this_account(resources: Resources) -> Iterator[str]:
    """A service is let in on behalf of this account or of one of its resources: no confused deputy."""
    for name, statement in allowing(resources):
        services = as_list(statement.get("Principal", {}).get("Service", []))
        if as_list(statement["Action"]) == ["sts:AssumeRole"] and set(services) <= _TRUSTED_BARE.keys():
            continue
        if services and not _source_keys(statement.get("Condition", {})):
            yield f"{name}: bind {', '.join(services)} by aws:SourceAccount or aws:SourceArn"
    for name, permission in _of(resources, "AWS::Lambda::Permission"):
        if not {"SourceArn", "SourceAccount"} & permission.keys():
            yield f"{name}: bind {permission['Principal']} by SourceArn"


def tls_only(resources: Resources) -> Iterator[str]:
    """Buckets, queues and topics turn away whoever comes without TLS."""
    for kind, policy, field, action in (
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket", "s3:*"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues", "sqs:*"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics", "sns:Publish"),
    ):
        guarded = {
            reference(target)
            for _, properties in _of(resources, policy)
            for target in as_list(properties[field])
            if any(_denies_plain_http(one, action, target) for one in properties["PolicyDocument"]["Statement"])
        }
        yield from (f"{name}: deny what comes without TLS" for name, _ in _of(resources, kind) if name not in guarded)


def encrypted_at_rest(resources: Resources) -> Iterator[str]:
    """Buckets, tables and topics by KMS; queues by KMS or by SQS, for services may not use a key of AWS."""
    for name, bucket in _of(resources, "AWS::S3::Bucket"):
        rules = bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
        chosen = [rule.get("ServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for rule in rules]
        if not chosen or any(algorithm not in _KMS_BY_DEFAULT for algorithm in chosen):
            yield f"{name}: encrypt with KMS by default"
    for name, table in _of(resources, "AWS::DynamoDB::Table"):
        if table.get("SSESpecification", {}).get("SSEEnabled") is not True:
            yield f"{name}: encrypt with KMS"
    for name, queue in _of(resources, "AWS::SQS::Queue"):
        if queue.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in queue:
            yield f"{name}: encrypt the queue"
    for name, topic in _of(resources, "AWS::SNS::Topic"):
        if "KmsMasterKeyId" not in topic:
            yield f"{name}: encrypt with KMS"


def nothing_is_public(resources: Resources) -> Iterator[str]:
    """No bucket can be opened, no policy lets everybody in, no route and no function answers the unsigned."""
    for name, bucket in _of(resources, "AWS::S3::Bucket"):
        blocked = bucket.get("PublicAccessBlockConfiguration", {})
        if len(blocked) != 4 or not all(blocked.values()):
            yield f"{name}: block public access in all four ways"
        if "AccessControl" in bucket:
            yield f"{name}: no access control list"
    for name, statement in allowing(resources):
        principal = statement.get("Principal")
        if principal == "*" or "*" in as_list((principal or {}).get("AWS", [])):
            yield f"{name}: name who is let in"
    for name, permission in _of(resources, "AWS::Lambda::Permission"):
        if permission["Principal"] == "*":
            yield f"{name}: name who may invoke"
    for name, url in _of(resources, "AWS::Lambda::Url"):
        if url.get("AuthType") != "AWS_IAM":
            yield f"{name}: let in signed requests only"
    for name, api in _of(resources, "AWS::ApiGatewayV2::Api"):
        for path, methods in api["Body"]["paths"].items():
            yield from (
                f"{name}: {method} {path} lets in the unsigned"
                for method, route in methods.items()
                if not any("AWS_IAM" in way for way in route.get("security", []))
            )


def no_secret_in_plain_text(resources: Resources) -> Iterator[str]:
    """What is called a secret is a reference to where it is kept, and nothing looks like one."""
    for name, resource in resources.items():
        for path, value in _values(resource.get("Properties", {})):
            if isinstance(value, str) and _SECRET_VALUE.search(value):
                yield f"{name}: {'.'.join(path)} holds a secret"
            elif isinstance(value, str) and _SECRET_NAME.search(path[-1]) and "{{resolve:" not in value:
                yield f"{name}: {'.'.join(path)} is written in plain text"


def logs_are_forgotten(resources: Resources) -> Iterator[str]:
    """Whoever logs does so to a group of the template, and each group has a retention."""
    groups = dict(_of(resources, "AWS::Logs::LogGroup"))
    yield from (f"{name}: state RetentionInDays" for name, group in groups.items() if "RetentionInDays" not in group)
    for kind, place in (
        ("AWS::Lambda::Function", "LoggingConfig"),
        ("AWS::StepFunctions::StateMachine", "LoggingConfiguration"),
        ("AWS::ApiGatewayV2::Stage", "AccessLogSettings"),
    ):
        for name, properties in _of(resources, kind):
            if not any(f'"{group}"' in json.dumps(properties.get(place, {})) for group in groups):
                yield f"{name}: log to a group of the template ({place})"


RULES: tuple[Rule, ...] = (
    no_wildcard_actions,
    passed_roles_are_bound,
    services_act_for_this_account,
    tls_only,
    encrypted_at_rest,
    nothing_is_public,
    no_secret_in_plain_text,
    logs_are_forgotten,
)


def allowing(resources: Resources) -> Iterator[tuple[str, Statement]]:
    """Every statement that allows something, with the resource it stands in: identity, resource and trust policies."""
    for name, resource in resources.items():
        for path, value in _values(resource.get("Properties", {}), inner=True):
            if path[-1:] == ("Statement",):
                yield from ((name, statement) for statement in as_list(value) if statement["Effect"] == "Allow")


def _of(resources: Resources, kind: str) -> Iterator[tuple[str, Resource]]:
    return ((name, one.get("Properties", {})) for name, one in resources.items() if one["Type"] == kind)


def _source_keys(condition: Statement) -> set[str]:
    keys = {key for operator in condition.values() for key in operator}
    return keys & {"aws:SourceAccount", "aws:SourceArn"}


def _denies_plain_http(statement: Statement, action: str, target: Any) -> bool:
    expected = {"Effect": "Deny", "Principal": "*", "Action": action}
    bound = {reference(arn) or arn["Fn::Sub"] for arn in as_list(statement["Resource"])}
    name = str(reference(target))
    return (
        statement.items() >= expected.items()
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and bound == ({name, f"${{{name}.Arn}}/*"} if action == "s3:*" else {name})
    )


def _values(value: Any, path: tuple[str, ...] = (), inner: bool = False) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf with its path; with `inner`, what holds leaves too."""
    held = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if (inner or not isinstance(value, dict | list)) and path:
        yield path, value
    for key, item in held:
        yield from _values(item, (*path, str(key)), inner)
