"""T20: loopback counts as secure transport, and nothing else that is plain HTTP does."""

import json

import pytest

from local.cloud.process import Cloud
from local.cloud.repairs.transport import is_loopback
from tests.integration.cloud.account import ALLOW_ALL, Account

TLS_ONLY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": ["arn:aws:s3:::tls", "arn:aws:s3:::tls/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
PUTS = """
import boto3


def handler(event, context):
    return boto3.client("s3").put_object(Bucket="tls", Key="k", Body=b"1")["ResponseMetadata"]["HTTPStatusCode"]
"""


def put_from_a_function(account: Account) -> object:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="tls")
    s3.put_bucket_policy(Bucket="tls", Policy=json.dumps({"Version": "2012-10-17", "Statement": [TLS_ONLY]}))
    role = account.role("lambda.amazonaws.com", ALLOW_ALL)
    return account.invoke(account.function(PUTS, Role=role, Timeout=20))


def test_a_function_on_this_machine_passes_a_tls_only_policy(cloud: Cloud) -> None:
    assert put_from_a_function(Account(cloud)) == 200


@pytest.mark.without("T20")
def test_without_the_repair_it_is_denied(bare: Account) -> None:
    denied = put_from_a_function(bare)
    assert isinstance(denied, dict)
    assert "AccessDenied" in denied["errorMessage"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.7", "::2", "::ffff:10.0.0.1", "localhost", ""])
def test_other_addresses(address: str) -> None:
    assert not is_loopback(address)
