"""Starting, stopping and isolating embedded clouds."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud import launch
from local.cloud.process import Cloud, CloudError, CloudSettings, free_port

ROLE_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
PRINT_ENVIRONMENT = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"


@pytest.fixture
def make_cloud(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Makes clouds by name; all are stopped at the end of the test."""
    made: list[Cloud] = []

    def make(name: str = "one", **settings: Any) -> Cloud:
        made.append(Cloud(CloudSettings(**{"port": free_port(), "state": tmp_path / name, **settings})))
        return made[-1]

    yield make
    for cloud in made:
        cloud.down()


def call_environment_function(cloud: Cloud) -> dict[str, str]:
    role = cloud.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps(ROLE_TRUST))["Role"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", PRINT_ENVIRONMENT)
    functions = cloud.client("lambda")
    functions.create_function(
        FunctionName="environment",
        Runtime="python3.11",
        Handler="app.handler",
        Role=role["Arn"],
        Code={"ZipFile": package.getvalue()},
    )
    answer: dict[str, str] = json.load(functions.invoke(FunctionName="environment")["Payload"])
    return answer


def test_a_cloud_reports_itself_while_it_runs_and_after(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud()
    assert not cloud.status().running
    cloud.up()
    status = cloud.status()
    assert (status.running, status.healthy, status.port) == (True, True, cloud.settings.port)
    assert status.version == "1.5.33"
    cloud.up()
    assert cloud.status().pid == status.pid
    cloud.down()
    assert not cloud.status().running
    cloud.down()


def test_everything_comes_back_after_a_restart(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud()
    cloud.up()
    cloud.client("s3").create_bucket(Bucket="kept")
    cloud.client("s3").put_object(Bucket="kept", Key="a b+ü", Body=b"bytes")
    cloud.client("sqs").create_queue(QueueName="kept")
    cloud.down()
    cloud.up()
    assert cloud.client("s3").get_object(Bucket="kept", Key="a b+ü")["Body"].read() == b"bytes"
    assert cloud.client("sqs").get_queue_url(QueueName="kept")["QueueUrl"].endswith("/kept")


def test_a_killed_cloud_starts_again_with_its_objects(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud()
    cloud.up()
    cloud.client("s3").create_bucket(Bucket="kept")
    cloud.client("s3").put_object(Bucket="kept", Key="a", Body=b"bytes")
    first = cloud.status().pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    while cloud.status().running:
        time.sleep(0.01)
    cloud.up()
    assert cloud.status().pid != first
    assert cloud.client("s3").get_object(Bucket="kept", Key="a")["Body"].read() == b"bytes"


def test_a_relative_state_folder_is_the_callers(
    make_cloud: Callable[..., Cloud], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_cloud(state=Path("here")).up()
    assert (tmp_path / "here" / "cloud.pid").exists()


def test_two_clouds_run_side_by_side(make_cloud: Callable[..., Cloud]) -> None:
    first, second = make_cloud("first"), make_cloud("second", account="111122223333")
    first.up()
    second.up()
    first.client("s3").create_bucket(Bucket="of-the-first")
    assert second.client("s3").list_buckets()["Buckets"] == []
    assert second.client("sts").get_caller_identity()["Account"] == "111122223333"


def test_a_second_server_on_the_same_state_is_refused(make_cloud: Callable[..., Cloud]) -> None:
    first, second = make_cloud(), make_cloud()
    first.up()
    with pytest.raises(CloudError, match=f"already runs, on port {first.settings.port}"):
        second.up()
    command = [sys.executable, "-m", "local.cloud", "--port", str(free_port()), "--state", str(first.settings.state)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert "Another embedded cloud is running" in refused.stderr
    assert first.status().healthy


def test_a_taken_port_is_named(make_cloud: Callable[..., Cloud]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CloudError, match=f"Port {port} is taken"):
            make_cloud(port=port).up()


def test_a_failed_start_shows_the_log(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(glue_python=Path("no/such/python"))
    with pytest.raises(CloudError, match=r"exit code 1(.|\n)*No interpreter at .*/no/such/python"):
        cloud.up()
    assert not cloud.status().running


def test_another_version_of_ministack_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "version", lambda name: "1.6.0")
    with pytest.raises(SystemExit, match=r"written for MiniStack 1.5.33, and 1.6.0 is installed"):
        launch.run(CloudSettings(port=free_port(), state=tmp_path))


def test_functions_see_nothing_of_the_host(make_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = {"AWS_CA_BUNDLE": "/no/bundle", "HTTPS_PROXY": "http://proxy", "PYTHONPATH": "/host", "SECRET": "x"}
    for name, value in {**leaks, "AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL_S3": "http://elsewhere"}.items():
        monkeypatch.setenv(name, value)
    cloud = make_cloud()
    cloud.up()
    seen = call_environment_function(cloud)
    assert {name for name, value in leaks.items() if seen.get(name) == value} == set()
    assert "AWS_PROFILE" not in seen
    assert "AWS_ENDPOINT_URL_S3" not in seen
    assert seen["AWS_ENDPOINT_URL"] == cloud.endpoint_url


def test_sessions_and_subprocesses_ignore_the_callers_aws_settings(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "nobody",
        "AWS_SESSION_TOKEN": "stale",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_CA_BUNDLE": "/no/bundle",
        "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    # The variables are laid over the caller's, as the deployment of a stack does.
    environment = {**os.environ, **cloud.environment()}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "arn:aws:iam::000000000000:root"
    assert cloud.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_temporary_files_stay_in_the_state_folder(make_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    cloud = make_cloud()
    cloud.up()
    call_environment_function(cloud)
    temporary = cloud.settings.state / "tmp"
    left = {path.name for path in temporary.iterdir()}
    assert any(name.startswith("environment-") for name in left)
    cloud.down()
    cloud.up()
    assert not any(path.name.startswith("environment-") for path in temporary.iterdir())
