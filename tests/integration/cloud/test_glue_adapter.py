"""Glue jobs on the embedded cloud: API, IAM, Step Functions, CloudFormation, events, logs, restart."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import Account, allow, reset, until

GLUE = "glue.amazonaws.com"
ACTIVE = {"STARTING", "RUNNING", "STOPPING"}
SCRIPT = """
import os, sys, time
import boto3
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "--fail" in arguments:
    raise ValueError(arguments["--fail"])
time.sleep(float(arguments.get("--sleep", 0)))
caller = boto3.client("sts").get_caller_identity()["Arn"]
boto3.client("s3").put_object(Bucket=arguments["--bucket"], Key="out", Body=caller.encode())
print("wrote as", caller)
"""


@pytest.fixture(scope="module")
def account(cloud: Cloud) -> Account:
    return Account(cloud)


@pytest.fixture(scope="module")
def glue(account: Account) -> Any:
    return account.client("glue")


@pytest.fixture
def name() -> str:
    return f"job-{uuid4().hex[:8]}"


@pytest.fixture
def bucket(account: Account, name: str) -> str:
    """A bucket named as the job, with the script in it."""
    account.client("s3").create_bucket(Bucket=name)
    account.client("s3").put_object(Bucket=name, Key="job.py", Body=SCRIPT.encode())
    return name


@pytest.fixture
def job(account: Account, name: str, bucket: str) -> str:
    """A job whose role may read and write its bucket."""
    create_job(account, name, account.role(GLUE, allow("s3:*", f"arn:aws:s3:::{bucket}/*")))
    return name


def create_job(account: Account, name: str, role: str) -> None:
    """A job on the bucket of its own name."""
    account.client("glue").create_job(
        Name=name,
        Role=role,
        Command={"Name": "glueetl", "ScriptLocation": f"s3://{name}/job.py"},
        DefaultArguments={"--bucket": name},
        GlueVersion="5.0",
    )


def finished(glue: Any, job: str, run_id: str) -> dict[str, Any]:
    """The run, once it has ended."""

    def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = glue.get_job_run(JobName=job, RunId=run_id)["JobRun"]
        return run if run["JobRunState"] not in ACTIVE else None

    return until(ended) or {}


def run_task(account: Account, job: str, pattern: str = ".sync", **arguments: str) -> dict[str, Any]:
    """The ended execution of one task that runs the job with these arguments."""
    return account.run(machine(job, pattern, **arguments), role=account.role("states.amazonaws.com", allow("glue:*")))


def machine(job: str, pattern: str = ".sync", **arguments: str) -> dict[str, Any]:
    given = {f"--{name}": value for name, value in arguments.items()}
    parameters = {"JobName": job, "Arguments": given}
    task = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::glue:startJobRun{pattern}",
        "Parameters": parameters,
        "End": True,
    }
    return {"StartAt": "Run", "States": {"Run": task}}


def test_a_run_acts_as_its_jobs_role_and_logs(account: Account, glue: Any, job: str) -> None:
    run = finished(glue, job, glue.start_job_run(JobName=job)["JobRunId"])
    assert (run["JobRunState"], run.get("ErrorMessage")) == ("SUCCEEDED", None)
    caller = account.client("s3").get_object(Bucket=job, Key="out")["Body"].read().decode()
    assert caller.startswith("arn:aws:sts::000000000000:assumed-role/role-")
    assert caller.endswith("/GlueJobRunnerSession")
    found = account.client("logs").get_log_events(logGroupName="/aws-glue/jobs/output", logStreamName=run["Id"])
    assert [event["message"] for event in found["events"]] == [f"wrote as {caller}"]


def test_what_the_role_may_not_do_fails_the_run(account: Account, glue: Any, name: str, bucket: str) -> None:
    create_job(account, name, account.role(GLUE, allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")))
    run = finished(glue, name, glue.start_job_run(JobName=name)["JobRunId"])
    assert run["JobRunState"] == "FAILED"
    assert "AccessDenied" in run["ErrorMessage"]
    assert "s3:PutObject" in run["ErrorMessage"]


def test_a_role_that_glue_may_not_assume_is_refused(account: Account, glue: Any, name: str, bucket: str) -> None:
    create_job(account, name, account.role("lambda.amazonaws.com", allow("s3:*", f"arn:aws:s3:::{bucket}/*")))
    with pytest.raises(ClientError, match="should be given assume role permissions for Glue Service"):
        glue.start_job_run(JobName=name)


@pytest.mark.without("T6", "T19")
def test_without_our_glue_a_job_without_its_script_succeeds_and_none_gets_arguments(bare: Account) -> None:
    glue, s3, name = bare.client("glue"), bare.client("s3"), f"job-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    command = {"Name": "pythonshell", "ScriptLocation": f"s3://{name}/job.py", "PythonVersion": "3.9"}
    glue.create_job(Name=name, Role=bare.role(GLUE, allow("s3:*")), Command=command)
    assert finished(glue, name, glue.start_job_run(JobName=name)["JobRunId"])["JobRunState"] == "SUCCEEDED"

    s3.put_object(Bucket=name, Key="job.py", Body=b"import sys; sys.exit(str(sys.argv[1:]))")
    run = finished(glue, name, glue.start_job_run(JobName=name, Arguments={"--a": "b"})["JobRunId"])
    assert (run["JobRunState"], "[]" in run["ErrorMessage"]) == ("FAILED", True)


def test_callers_need_permission_for_the_job(account: Account, job: str) -> None:
    own = f"arn:aws:glue:us-east-1:000000000000:job/{job}"
    document = {"Version": "2012-10-17", "Statement": [allow("glue:StartJobRun", own)]}
    account.iam.create_user(UserName=job)
    account.iam.put_user_policy(UserName=job, PolicyName="inline", PolicyDocument=json.dumps(document))
    keys = account.iam.create_access_key(UserName=job)["AccessKey"]
    caller = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], region_name="us-east-1")
    glue = caller.client("glue", endpoint_url=account.cloud.endpoint_url)
    run_id = glue.start_job_run(JobName=job)["JobRunId"]
    with pytest.raises(ClientError, match="glue:GetJobRun"):
        glue.get_job_run(JobName=job, RunId=run_id)
    with pytest.raises(ClientError, match="glue:StartJobRun"):
        glue.start_job_run(JobName=f"{job}-other")


def test_the_end_of_a_run_is_an_event(account: Account, glue: Any, job: str) -> None:
    url, arn = account.open_queue()
    account.rule({"source": ["aws.glue"], "detail": {"jobName": [job]}}, Arn=arn)
    run_id = glue.start_job_run(JobName=job, Arguments={"--fail": "no rows"})["JobRunId"]
    event = json.loads(account.received(url)["Body"])
    assert (event["source"], event["detail-type"], event["resources"]) == ("aws.glue", "Glue Job State Change", [])
    assert event["detail"]["jobRunId"] == run_id
    assert (event["detail"]["state"], event["detail"]["severity"]) == ("FAILED", "ERROR")
    assert event["detail"]["message"].endswith("failed to execute with exception ValueError: no rows")


def test_a_sync_task_answers_the_run(account: Account, job: str) -> None:
    started = time.time() * 1000
    execution = run_task(account, job)
    assert execution["status"] == "SUCCEEDED", execution
    run = execution["output"]
    assert (run["JobName"], run["JobRunState"]) == (job, "SUCCEEDED")
    assert isinstance(run["StartedOn"], int)
    assert started <= run["StartedOn"] <= run["CompletedOn"] <= time.time() * 1000


def test_a_task_without_sync_does_not_wait(account: Account, glue: Any, job: str) -> None:
    run_id = run_task(account, job, pattern="", sleep="1")["output"]["JobRunId"]
    assert glue.get_job_run(JobName=job, RunId=run_id)["JobRun"]["JobRunState"] in ACTIVE
    assert finished(glue, job, run_id)["JobRunState"] == "SUCCEEDED"


def test_a_failed_run_is_task_failed_with_the_run_as_cause(account: Account, job: str) -> None:
    execution = run_task(account, job, fail="no rows")
    assert (execution["status"], execution["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(execution["cause"])
    assert (cause["JobRunState"], cause["ErrorMessage"]) == ("FAILED", "ValueError: no rows")


def test_errors_have_the_names_of_aws(account: Account, job: str) -> None:
    run_task(account, job, pattern="", sleep="5")
    assert run_task(account, job)["error"] == "Glue.ConcurrentRunsExceededException"
    assert run_task(account, f"{job}-unknown")["error"] == "Glue.EntityNotFoundException"
    assert run_task(account, "not\na name")["error"] == "Glue.AWSGlueException"
    assert run_task(account, job, pattern=".sync:2")["error"] == "States.Runtime"


def test_stopping_an_execution_stops_the_run_it_waits_for(account: Account, glue: Any, job: str) -> None:
    definition = machine(job, sleep="60")
    definition["States"]["Run"]["Retry"] = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3}]
    role = account.role("states.amazonaws.com", allow("glue:*"))
    execution = account.start(account.machine(definition, role))
    run = until(lambda: [run for run in glue.get_job_runs(JobName=job)["JobRuns"] if run["JobRunState"] == "RUNNING"])[
        0
    ]
    account.states.stop_execution(executionArn=execution)
    assert finished(glue, job, run["Id"])["JobRunState"] == "STOPPED"
    time.sleep(1.5)  # longer than the retry's interval
    assert len(glue.get_job_runs(JobName=job)["JobRuns"]) == 1
    assert (account.ended(execution) or {})["status"] == "ABORTED"


def job_template(name: str, role: str, concurrent: int) -> str:
    properties = {
        "Name": name,
        "Role": role,
        "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{name}/job.py"},
        "ExecutionProperty": {"MaxConcurrentRuns": concurrent},
        "DefaultArguments": {"--bucket": name},
        "GlueVersion": "5.0",
        "Timeout": {"Ref": "Minutes"},
        "Tags": {"stage": "test"},
    }
    document = {
        "Parameters": {"Minutes": {"Type": "Number", "Default": 15}},
        "Resources": {"Job": {"Type": "AWS::Glue::Job", "Properties": properties}},
        "Outputs": {"Name": {"Value": {"Ref": "Job"}}},
    }
    return json.dumps(document)


def settled(stacks: Any, name: str, status: str) -> dict[str, Any]:
    """The stack, once it has this status."""

    def stack() -> dict[str, Any] | None:
        found: dict[str, Any] = stacks.describe_stacks(StackName=name)["Stacks"][0]
        return found if found["StackStatus"] == status else None

    return until(stack) or {}


def test_cloudformation_makes_changes_and_deletes_a_job(account: Account, glue: Any, name: str, bucket: str) -> None:
    role = account.role(GLUE, allow("s3:*", f"arn:aws:s3:::{bucket}/*"))
    stacks = account.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=job_template(name, role, concurrent=2))
    assert settled(stacks, name, "CREATE_COMPLETE")["Outputs"][0]["OutputValue"] == name
    made = glue.get_job(JobName=name)["Job"]
    assert (made["ExecutionProperty"], made["Timeout"]) == ({"MaxConcurrentRuns": 2}, 15)
    tags = glue.get_tags(ResourceArn=f"arn:aws:glue:us-east-1:000000000000:job/{name}")["Tags"]
    assert tags["stage"] == "test"
    assert finished(glue, name, glue.start_job_run(JobName=name)["JobRunId"])["JobRunState"] == "SUCCEEDED"

    stacks.update_stack(StackName=name, TemplateBody=job_template(name, role, concurrent=3))
    settled(stacks, name, "UPDATE_COMPLETE")
    assert glue.get_job(JobName=name)["Job"]["ExecutionProperty"] == {"MaxConcurrentRuns": 3}

    stacks.delete_stack(StackName=name)
    until(lambda: glue.list_jobs()["JobNames"].count(name) == 0)
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        glue.get_job(JobName=name)


def test_cloudformation_reports_what_glue_refuses(account: Account, name: str) -> None:
    job = {"Type": "AWS::Glue::Job", "Properties": {"Role": "r", "Command": {"Name": "glueetl"}, "WorkerTypo": "G.1X"}}
    stacks = account.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Job": job}}))
    settled(stacks, name, "ROLLBACK_COMPLETE")
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    assert any('"WorkerTypo"' in event.get("ResourceStatusReason", "") for event in events)


@pytest.fixture
def own_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that a test may stop and reset."""
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("own")))
    cloud.up()
    yield cloud
    cloud.down()


def test_jobs_and_runs_survive_a_restart_and_not_a_reset(own_cloud: Cloud) -> None:
    account = Account(own_cloud)
    glue, s3 = account.client("glue"), account.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="job.py", Body=b"print('done')")
    create_job(account, "kept", account.role(GLUE, allow("s3:GetObject")))
    run_id = glue.start_job_run(JobName="kept")["JobRunId"]
    finished(glue, "kept", run_id)
    own_cloud.down()
    own_cloud.up()
    assert glue.get_job_run(JobName="kept", RunId=run_id)["JobRun"]["JobRunState"] == "SUCCEEDED"
    assert finished(glue, "kept", glue.start_job_run(JobName="kept")["JobRunId"])["JobRunState"] == "SUCCEEDED"
    reset(own_cloud)
    assert glue.get_jobs()["Jobs"] == []
