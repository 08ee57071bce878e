"""The template as written, and as SAM makes CloudFormation of it."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

Resource = dict[str, Any]
Statement = dict[str, Any]

ROOT = Path(__file__).parents[2]
_LOCAL_PATHS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags, which become its long functions."""


def _tag(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tag)


@cache
def _loaded() -> dict[str, Any]:
    template: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506  a SafeLoader
    return template


def template() -> dict[str, Any]:
    """template.yaml as it is written."""
    return copy.deepcopy(_loaded())


@cache
def _translated() -> dict[str, Any]:
    source = template()
    for resource in source["Resources"].values():
        if field := _LOCAL_PATHS.get(resource["Type"]):
            resource["Properties"][field] = "s3://bucket/key"
        if resource["Type"] == "AWS::Serverless::StateMachine":
            resource["Properties"]["DefinitionUri"] = {"Bucket": "bucket", "Key": "key"}
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    translated: dict[str, Any] = translator.translate(source, {})
    return translated


def translated() -> dict[str, Any]:
    """The template that CloudFormation gets, with everything that SAM adds."""
    return copy.deepcopy(_translated())


def deployed() -> dict[str, Resource]:
    """Its resources: the rules, roles and permissions that SAM adds included."""
    resources: dict[str, Resource] = translated()["Resources"]
    return resources


def resources(kind: str, of: dict[str, Resource] | None = None) -> dict[str, Resource]:
    """Logical id -> properties of every resource of a type, as written unless given others."""
    every = template()["Resources"] if of is None else of
    return {name: resource.get("Properties", {}) for name, resource in every.items() if resource["Type"] == kind}


def functions() -> dict[str, Resource]:
    """Every function, Globals merged into its properties."""
    shared = template()["Globals"]["Function"]
    merged = {}
    for name, own in resources("AWS::Serverless::Function").items():
        variables = {**shared["Environment"]["Variables"], **own.get("Environment", {}).get("Variables", {})}
        merged[name] = {**shared, **own, "Environment": {"Variables": variables}}
    return merged


class Grant(NamedTuple):
    """One statement of a policy and the resource it stands in."""

    holder: str
    statement: Statement


def grants() -> Iterator[Grant]:
    """Every statement of every policy in the template: identity, resource and trust policies."""
    for name, resource in template()["Resources"].items():
        for statement in _statements(resource):
            yield Grant(name, statement)


def _statements(value: Any) -> Iterator[Statement]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Statement":
                yield from inner
            else:
                yield from _statements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _statements(inner)


def as_list(value: Any) -> list[Any]:
    """Policies write one of a thing without a list."""
    return value if isinstance(value, list) else [value]


def reference(value: Any) -> str | None:
    """The logical id that a Ref or GetAtt names."""
    if isinstance(value, dict):
        if "Ref" in value:
            return str(value["Ref"])
        if "Fn::GetAtt" in value:
            return str(as_list(value["Fn::GetAtt"])[0])
    return None
