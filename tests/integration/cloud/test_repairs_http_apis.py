"""T29, T30: an HTTP API of SAM has its routes, and lets nobody in but whom IAM allows."""

import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
import urllib3

from cli.api import Answer, Api, sign
from local.cloud.process import Cloud
from tests.integration.cloud.account import RUNTIME, Account, allow, archive, cloud_without

ECHO = """
def handler(event, context):
    if event.get("rawPath", "").endswith("/broken"):
        raise ValueError("a secret of the function")
    return {"statusCode": 200, "body": __import__("json").dumps(event)}
"""
HTTP = urllib3.PoolManager(retries=False)


def template(**extra: Any) -> str:
    """A stack of one API with an echoing function."""
    events = {
        "Ask": {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Method": "POST", "Path": "/things/{thing}"}}
    }
    return json.dumps(
        {
            "Transform": "AWS::Serverless-2016-10-31",
            "Resources": {
                "Api": {
                    "Type": "AWS::Serverless::HttpApi",
                    "Properties": {"Auth": {"EnableIamAuthorizer": True, "DefaultAuthorizer": "AWS_IAM"}, **extra},
                },
                "EchoFunction": {
                    "Type": "AWS::Serverless::Function",
                    "Properties": {
                        "CodeUri": "s3://code/echo.zip",
                        "Handler": "app.handler",
                        "Runtime": RUNTIME,
                        "Events": events,
                    },
                },
            },
            "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Api", "ApiEndpoint"]}}},
        }
    )


def deployed(account: Account, **extra: Any) -> str:
    """The URL of a new API."""
    s3, stacks, name = account.client("s3"), account.client("cloudformation"), f"stack-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="echo.zip", Body=archive({"app.py": ECHO}))
    stacks.create_stack(
        StackName=name, TemplateBody=template(**extra), Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    )
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    return str(stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"])


def user(account: Account, *statements: dict[str, Any]) -> boto3.Session:
    """A session of a new user with these rights."""
    name = f"user-{uuid4().hex[:8]}"
    account.iam.create_user(UserName=name)
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        account.iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy)
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")


def assumed(account: Account, *statements: dict[str, Any]) -> boto3.Session:
    """A session of a role that was assumed under the name `somebody`."""
    name = f"role-{uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = account.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    account.iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
    given = account.client("sts").assume_role(RoleArn=arn, RoleSessionName="somebody")["Credentials"]
    return boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name="us-east-1")


def unsigned(url: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    response = HTTP.request("POST", f"{url}/{path}", body=b"{}", headers=headers)
    return Answer(response.status, json.loads(response.data))


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


@pytest.fixture(scope="module")
def url(account: Account) -> str:
    return deployed(account)


FORBIDDEN = Answer(403, {"message": "Forbidden"})


def status_and_body(answer: Answer) -> Answer:
    return Answer(answer.status, answer.body)


def test_a_user_who_may_comes_in_and_is_known_by_name(account: Account, url: str) -> None:
    api_id = url.rsplit("/", 1)[-1]
    session = user(account, allow("execute-api:Invoke", f"arn:aws:execute-api:us-east-1:*:{api_id}/*/POST/things/*"))
    answer = Api(url, session).post("things", "a b", body={"x": 1})
    assert answer.status == 200
    event = answer.body
    caller = event["requestContext"]["authorizer"]["iam"]
    assert event["pathParameters"] == {"thing": "a b"}
    assert event["routeKey"] == "POST /things/{thing}"
    assert json.loads(event["body"]) == {"x": 1}
    assert caller["userArn"].startswith("arn:aws:iam::000000000000:user/user-")
    assert caller["accountId"] == "000000000000"
    assert caller["callerId"] == caller["userId"]
    assert caller["userId"].startswith("AIDA")


def test_an_assumed_role_is_known_by_role_and_session(account: Account, url: str) -> None:
    answer = Api(url, assumed(account, allow("execute-api:Invoke"))).post("things", "1", body={})
    caller = answer.body["requestContext"]["authorizer"]["iam"]
    assert caller["userArn"].startswith("arn:aws:sts::000000000000:assumed-role/role-")
    assert caller["userArn"].endswith("/somebody")
    assert caller["userId"].endswith(":somebody")


def test_the_root_of_the_account_comes_in(account: Account, url: str) -> None:
    answer = Api(url, account.cloud.session()).post("things", "1", body={})
    assert answer.body["requestContext"]["authorizer"]["iam"]["userArn"] == "arn:aws:iam::000000000000:root"


@pytest.mark.parametrize(
    "headers", [None, {"Authorization": "Bearer anything"}, {"Authorization": "AWS4-HMAC-SHA256 nonsense"}]
)
def test_no_signature_no_entry(url: str, headers: dict[str, str] | None) -> None:
    assert status_and_body(unsigned(url, "things/1", headers)) == FORBIDDEN


def test_a_user_without_the_right_stays_outside(account: Account, url: str) -> None:
    elsewhere = allow("execute-api:Invoke", "arn:aws:execute-api:us-east-1:*:other/*/POST/things/*")
    for session in (user(account), user(account, elsewhere)):
        assert status_and_body(Api(url, session).post("things", "1", body={})) == FORBIDDEN


@pytest.mark.parametrize("who", ["user", "root"])
def test_a_wrong_secret_or_a_changed_body_stays_outside(account: Account, url: str, who: str) -> None:
    session = user(account, allow("execute-api:Invoke")) if who == "user" else account.cloud.session()
    key = session.get_credentials()
    assert key is not None
    wrong = boto3.Session(key.access_key, "wrong", region_name="us-east-1")
    assert status_and_body(Api(url, wrong).post("things", "1", body={})) == FORBIDDEN
    headers = sign(session, "POST", f"{url}/things/1", b'{"other": 1}')
    assert status_and_body(unsigned(url, "things/1", headers)) == FORBIDDEN


def test_another_account_stays_outside(url: str) -> None:
    stranger = boto3.Session("111111111111", "test", region_name="us-east-1")
    assert Api(url, stranger).post("things", "1", body={}).status in (403, 404)


def test_a_broken_function_shows_nothing_of_itself(account: Account, url: str) -> None:
    answer = Api(url, account.cloud.session()).post("things", "broken", body={})
    assert status_and_body(answer) == Answer(500, {"message": "Internal Server Error"})


def test_too_much_at_once_is_refused(account: Account, url: str) -> None:
    answer = Api(url, account.cloud.session()).post("things", "1", body="x" * (10 * 1024 * 1024))
    assert status_and_body(answer) == Answer(413, {"message": "Request Entity Too Large"})


def test_too_many_at_once_are_throttled(account: Account) -> None:
    url = deployed(account, DefaultRouteSettings={"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 3})
    api = Api(url, account.cloud.session())
    assert [api.post("things", "1", body={}).status for _ in range(5)].count(429) >= 1
    time.sleep(1.1)
    assert api.post("things", "1", body={}).status == 200


def test_an_api_that_may_not_invoke_the_function_does_not(account: Account) -> None:
    url = deployed(account)
    api_id = url.rsplit("/", 1)[-1]
    integrations = account.client("apigatewayv2").get_integrations(ApiId=api_id)["Items"]
    function = integrations[0]["IntegrationUri"].split("/functions/")[1].removesuffix("/invocations")
    policy = json.loads(account.functions.get_policy(FunctionName=function)["Policy"])
    for statement in policy["Statement"]:
        account.functions.remove_permission(FunctionName=function, StatementId=statement["Sid"])
    answer = Api(url, account.cloud.session()).post("things", "1", body={})
    assert status_and_body(answer) == Answer(500, {"message": "Internal Server Error"})


def test_an_update_replaces_the_routes(account: Account) -> None:
    url = deployed(account)
    name = next(s["StackName"] for s in account.client("cloudformation").describe_stacks()["Stacks"] if url in str(s))
    account.client("cloudformation").update_stack(
        StackName=name,
        TemplateBody=template().replace("/things/", "/others/"),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    account.client("cloudformation").get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    api = Api(url, account.cloud.session())
    assert [api.post(path, "1", body={}).status for path in ("others", "things")] == [200, 404]


@pytest.mark.without("T29")
def test_without_the_import_the_api_has_no_routes(bare: Account) -> None:
    url = deployed(bare)
    api_id = url.split("//")[1].split(".")[0]
    local = f"http://127.0.0.1:{bare.cloud.settings.port}/_aws/execute-api/{api_id}"
    assert Api(local, bare.cloud.session()).post("things", "1", body={}).status == 404


@pytest.mark.without("T30")
def test_without_the_door_anything_that_looks_like_a_header_comes_in(tmp_path: Path) -> None:
    with cloud_without("T30", tmp_path) as account:
        url = deployed(account)
        assert unsigned(url, "things/1", {"Authorization": "Bearer anything"}).status == 200
        broken = Api(url, account.cloud.session()).post("things", "broken", body={})
        assert "secret" in str(broken.body)
