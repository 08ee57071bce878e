"""T33: a policy for one layer version lets a role read that version and no other."""

import io
import zipfile
from typing import Any
from uuid import uuid4

import pytest

from local.cloud.process import Cloud
from tests.integration.cloud.account import Account, allow

READ = """
import boto3

def handler(event, context):
    name, version = event
    return boto3.client("lambda").get_layer_version(LayerName=name, VersionNumber=version)["Content"]["CodeSha256"]
"""


def packed(text: str) -> bytes:
    """A layer's content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("python/said.py", text)
    return content.getvalue()


def read(account: Account, version: int) -> tuple[Any, list[str]]:
    """What a function gets that may read version 1 of a layer of two; and the digests of both."""
    functions, name = account.client("lambda"), f"layer-{uuid4().hex[:8]}"
    made = [
        functions.publish_layer_version(LayerName=name, Content={"ZipFile": packed(text)}) for text in ("one", "two")
    ]
    first = allow("lambda:GetLayerVersion", made[0]["LayerVersionArn"])
    function = account.function(READ, Role=account.role("lambda.amazonaws.com", first, allow("logs:*")))
    return account.invoke(function, [name, version]), [layer["Content"]["CodeSha256"] for layer in made]


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


def test_the_version_of_a_policy_is_read(account: Account) -> None:
    digest, (first, _) = read(account, 1)
    assert digest == first


def test_another_version_is_not(account: Account) -> None:
    refused, _ = read(account, 2)
    assert "not authorized to perform: lambda:GetLayerVersion" in refused["errorMessage"]


@pytest.mark.without("T33")
def test_without_the_repair_a_policy_for_a_version_allows_nothing(bare: Account) -> None:
    refused, _ = read(bare, 1)
    assert "lambda:ListLayers" in refused["errorMessage"]
