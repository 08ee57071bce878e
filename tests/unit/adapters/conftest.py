"""AWS as moto answers it; the ledger's table comes from template.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from ratchet.adapters.dynamodb_ledger import DynamoDbLedger
from ratchet.adapters.memory_ledger import MemoryLedger
from ratchet.domain.ledger import Ledger

TEMPLATE = Path(__file__).parents[3] / "template.yaml"
TABLE = "ledger"


class _CloudFormationLoader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as their plain value."""


def _plain(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    return loader.construct_mapping(node)  # type: ignore[arg-type]


_CloudFormationLoader.add_multi_constructor("!", _plain)


def ledger_table() -> dict[str, Any]:
    """The table as template.yaml makes it."""
    template = yaml.load(TEMPLATE.read_text(), _CloudFormationLoader)  # noqa: S506  a SafeLoader with string tags
    properties = template["Resources"]["LedgerTable"]["Properties"]
    return {name: properties[name] for name in ("AttributeDefinitions", "KeySchema", "BillingMode")}


@pytest.fixture(scope="session")
def table_schema() -> dict[str, Any]:
    return ledger_table()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield


@pytest.fixture
def dynamodb_ledger(aws: None, table_schema: dict[str, Any]) -> DynamoDbLedger:
    boto3.client("dynamodb").create_table(TableName=TABLE, **table_schema)
    return DynamoDbLedger(TABLE)


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "memory":
        return MemoryLedger()
    found: Ledger = request.getfixturevalue("dynamodb_ledger")
    return found
