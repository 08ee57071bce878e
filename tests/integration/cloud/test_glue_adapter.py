"""Glue jobs on the embedded cloud: API, IAM, Step Functions, CloudFormation, events, logs, restart."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud.process import Cloud, CloudSettings, free_port

SCRIPT = """
import os, sys
import boto3
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if arguments.get("--fail"):
    raise ValueError(arguments["--fail"])
if arguments.get("--sleep"):
    __import__("time").sleep(float(arguments["--sleep"]))
caller = boto3.client("sts").get_caller_identity()["Arn"]
boto3.client("s3").put_object(Bucket=arguments["--bucket"], Key="out", Body=caller.encode())
print("wrote as", caller)
"""


@pytest.fixture
def name() -> str:
    return f"job-{uuid4().hex[:8]}"


@pytest.fixture
def bucket(cloud: Cloud, name: str) -> str:
    """A bucket named as the job, with the script in it."""
    cloud.client("s3").create_bucket(Bucket=name)
    cloud.client("s3").put_object(Bucket=name, Key="job.py", Body=SCRIPT.encode())
    return name


@pytest.fixture
def make_role(cloud: Cloud) -> Callable[..., str]:
    """Makes a role that a service may assume, with statements."""

    def make(service: str, *statements: dict[str, Any]) -> str:
        role_name = f"{service}-{uuid4().hex[:8]}"
        principal = {"Service": f"{service}.amazonaws.com"}
        trust = [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]
        iam = cloud.client("iam")
        role = iam.create_role(RoleName=role_name, AssumeRolePolicyDocument=policy(*trust))["Role"]
        if statements:
            iam.put_role_policy(RoleName=role_name, PolicyName="p", PolicyDocument=policy(*statements))
        return str(role["Arn"])

    return make


@pytest.fixture
def job(cloud: Cloud, name: str, bucket: str, make_role: Callable[..., str]) -> str:
    """A job whose role may read and write its bucket."""
    role = make_role("glue", allow("s3:*", f"arn:aws:s3:::{bucket}/*"))
    create_job(cloud, name, bucket, role)
    return name


@pytest.fixture
def queue(cloud: Cloud, name: str) -> str:
    """A queue that gets every event of Glue."""
    sqs, events = cloud.client("sqs"), cloud.client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sender = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy({**sender, "Resource": arn})})
    pattern = {"source": ["aws.glue"], "detail": {"jobName": [name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return str(url)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(action: str, resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def create_job(cloud: Cloud, name: str, bucket: str, role: str, **definition: Any) -> None:
    command = {"Name": "glueetl", "ScriptLocation": f"s3://{bucket}/job.py"}
    defaults = {"--bucket": bucket}
    definition = {"GlueVersion": "5.0", "DefaultArguments": defaults, **definition}
    cloud.client("glue").create_job(Name=name, Role=role, Command=command, **definition)


def finished_run(cloud: Cloud, name: str, run_id: str) -> dict[str, Any]:
    glue = cloud.client("glue")
    run: dict[str, Any] = until(
        lambda: glue.get_job_run(JobName=name, RunId=run_id)["JobRun"],
        lambda run: run["JobRunState"] not in {"STARTING", "RUNNING", "STOPPING"},
    )
    return run


def until(read: Callable[[], Any], done: Callable[[Any], bool], timeout: float = 30) -> Any:
    deadline = time.monotonic() + timeout
    while not done(found := read()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.02)
    return found


def start_machine(cloud: Cloud, role: str, task: dict[str, Any]) -> str:
    states = cloud.client("stepfunctions")
    definition = {"StartAt": "Run", "States": {"Run": {"Type": "Task", "End": True, **task}}}
    machine = states.create_state_machine(name=f"m-{uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=role)
    return str(states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"])


def ended_execution(cloud: Cloud, execution: str) -> dict[str, Any]:
    states = cloud.client("stepfunctions")
    ended: dict[str, Any] = until(
        lambda: states.describe_execution(executionArn=execution), lambda found: found["status"] != "RUNNING"
    )
    return ended


@pytest.fixture
def machine_role(make_role: Callable[..., str]) -> str:
    """A role for state machines that run Glue jobs."""
    return make_role("states", allow("glue:*", "*"))


def test_a_run_acts_as_its_jobs_role_and_logs(cloud: Cloud, job: str, bucket: str) -> None:
    started = cloud.client("glue").start_job_run(JobName=job)
    run = finished_run(cloud, job, started["JobRunId"])
    assert (run["JobRunState"], run.get("ErrorMessage")) == ("SUCCEEDED", None)
    caller = cloud.client("s3").get_object(Bucket=bucket, Key="out")["Body"].read().decode()
    assert caller.startswith("arn:aws:sts::000000000000:assumed-role/glue-")
    assert caller.endswith("/GlueJobRunnerSession")
    logged = cloud.client("logs").get_log_events(logGroupName="/aws-glue/jobs/output", logStreamName=run["Id"])
    assert [event["message"] for event in logged["events"]] == [f"wrote as {caller}"]


def test_what_the_role_may_not_do_fails_the_run(
    cloud: Cloud, name: str, bucket: str, make_role: Callable[..., str]
) -> None:
    create_job(cloud, name, bucket, make_role("glue", allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")))
    run = finished_run(cloud, name, cloud.client("glue").start_job_run(JobName=name)["JobRunId"])
    assert run["JobRunState"] == "FAILED"
    assert "AccessDenied" in run["ErrorMessage"]
    assert "s3:PutObject" in run["ErrorMessage"]


def test_a_role_that_glue_may_not_assume_is_refused(
    cloud: Cloud, name: str, bucket: str, make_role: Callable[..., str]
) -> None:
    create_job(cloud, name, bucket, make_role("lambda", allow("s3:*", "*")))
    with pytest.raises(ClientError, match="should be given assume role permissions for Glue Service"):
        cloud.client("glue").start_job_run(JobName=name)


def test_callers_need_permission_for_the_job(cloud: Cloud, job: str) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName=job)
    own = f"arn:aws:glue:us-east-1:000000000000:job/{job}"
    iam.put_user_policy(UserName=job, PolicyName="p", PolicyDocument=policy(allow("glue:StartJobRun", own)))
    keys = iam.create_access_key(UserName=job)["AccessKey"]
    caller = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], region_name="us-east-1")
    glue = caller.client("glue", endpoint_url=cloud.endpoint_url)
    run_id = glue.start_job_run(JobName=job)["JobRunId"]
    with pytest.raises(ClientError, match="glue:GetJobRun"):
        glue.get_job_run(JobName=job, RunId=run_id)
    with pytest.raises(ClientError, match="glue:StartJobRun"):
        glue.start_job_run(JobName=f"{job}-other")
    finished_run(cloud, job, run_id)


def test_the_end_of_a_run_is_an_event(cloud: Cloud, job: str, queue: str) -> None:
    run_id = cloud.client("glue").start_job_run(JobName=job, Arguments={"--fail": "no rows"})["JobRunId"]
    sqs = cloud.client("sqs")
    messages = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages", []), bool)
    event = json.loads(messages[0]["Body"])
    assert (event["source"], event["detail-type"], event["resources"]) == ("aws.glue", "Glue Job State Change", [])
    assert event["detail"]["jobRunId"] == run_id
    assert (event["detail"]["state"], event["detail"]["severity"]) == ("FAILED", "ERROR")
    assert event["detail"]["message"].endswith("failed to execute with exception ValueError: no rows")


def test_a_sync_task_answers_the_run(cloud: Cloud, job: str, machine_role: str) -> None:
    task = {"Resource": "arn:aws:states:::glue:startJobRun.sync", "Parameters": {"JobName": job}}
    execution = ended_execution(cloud, start_machine(cloud, machine_role, task))
    assert execution["status"] == "SUCCEEDED", execution
    run = json.loads(execution["output"])
    assert (run["JobName"], run["JobRunState"]) == (job, "SUCCEEDED")
    assert isinstance(run["StartedOn"], int)
    assert time.time() * 1000 - 60_000 < run["StartedOn"] <= run["CompletedOn"] < time.time() * 1000


def test_a_task_without_sync_does_not_wait(cloud: Cloud, job: str, machine_role: str) -> None:
    parameters = {"JobName": job, "Arguments": {"--sleep": "1"}}
    task = {"Resource": "arn:aws:states:::glue:startJobRun", "Parameters": parameters}
    execution = ended_execution(cloud, start_machine(cloud, machine_role, task))
    run_id = json.loads(execution["output"])["JobRunId"]
    assert cloud.client("glue").get_job_run(JobName=job, RunId=run_id)["JobRun"]["JobRunState"] == "RUNNING"
    assert finished_run(cloud, job, run_id)["JobRunState"] == "SUCCEEDED"


def test_a_failed_run_is_task_failed_with_the_run_as_cause(cloud: Cloud, job: str, machine_role: str) -> None:
    parameters = {"JobName": job, "Arguments": {"--fail": "no rows"}}
    task = {"Resource": "arn:aws:states:::glue:startJobRun.sync", "Parameters": parameters}
    execution = ended_execution(cloud, start_machine(cloud, machine_role, task))
    assert (execution["status"], execution["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(execution["cause"])
    assert (cause["JobRunState"], cause["ErrorMessage"]) == ("FAILED", "ValueError: no rows")


def test_errors_have_the_names_of_aws(cloud: Cloud, job: str, machine_role: str) -> None:
    parameters = {"JobName": job, "Arguments": {"--sleep": "2"}}
    task = {"Resource": "arn:aws:states:::glue:startJobRun", "Parameters": parameters}
    first = ended_execution(cloud, start_machine(cloud, machine_role, task))
    second = ended_execution(cloud, start_machine(cloud, machine_role, task))
    assert second["error"] == "Glue.ConcurrentRunsExceededException"
    unknown = {**task, "Parameters": {"JobName": f"{job}-unknown"}}
    assert (
        ended_execution(cloud, start_machine(cloud, machine_role, unknown))["error"] == "Glue.EntityNotFoundException"
    )
    invalid = {**task, "Parameters": {"JobName": job, "Timeout": 0}}
    assert ended_execution(cloud, start_machine(cloud, machine_role, invalid))["error"] == "Glue.AWSGlueException"
    finished_run(cloud, job, json.loads(first["output"])["JobRunId"])


def test_stopping_an_execution_stops_the_run_it_waits_for(cloud: Cloud, job: str, machine_role: str) -> None:
    parameters = {"JobName": job, "Arguments": {"--sleep": "60"}}
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3}]
    task = {"Resource": "arn:aws:states:::glue:startJobRun.sync", "Parameters": parameters, "Retry": retry}
    execution = start_machine(cloud, machine_role, task)
    glue = cloud.client("glue")
    runs = until(
        lambda: glue.get_job_runs(JobName=job)["JobRuns"], lambda runs: runs and runs[0]["JobRunState"] == "RUNNING"
    )
    cloud.client("stepfunctions").stop_execution(executionArn=execution)
    assert finished_run(cloud, job, runs[0]["Id"])["JobRunState"] == "STOPPED"
    time.sleep(1.5)  # longer than the retry's interval
    assert len(glue.get_job_runs(JobName=job)["JobRuns"]) == 1
    assert ended_execution(cloud, execution)["status"] == "ABORTED"


def test_cloudformation_makes_changes_and_deletes_a_job(
    cloud: Cloud, name: str, bucket: str, make_role: Callable[..., str]
) -> None:
    role = make_role("glue", allow("s3:*", f"arn:aws:s3:::{bucket}/*"))

    def template(concurrent: int) -> str:
        properties = {
            "Name": name,
            "Role": role,
            "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{bucket}/job.py"},
            "ExecutionProperty": {"MaxConcurrentRuns": concurrent},
            "DefaultArguments": {"--bucket": bucket},
            "GlueVersion": "5.0",
            "Timeout": {"Ref": "Minutes"},
            "Tags": {"stage": "test"},
        }
        resources = {"Job": {"Type": "AWS::Glue::Job", "Properties": properties}}
        parameters = {"Minutes": {"Type": "Number", "Default": 15}}
        return json.dumps(
            {"Parameters": parameters, "Resources": resources, "Outputs": {"Name": {"Value": {"Ref": "Job"}}}}
        )

    stacks, glue = cloud.client("cloudformation"), cloud.client("glue")
    stacks.create_stack(StackName=name, TemplateBody=template(2))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"] == name
    made = glue.get_job(JobName=name)["Job"]
    assert (made["ExecutionProperty"], made["Timeout"]) == ({"MaxConcurrentRuns": 2}, 15)
    assert glue.get_tags(ResourceArn=f"arn:aws:glue:us-east-1:000000000000:job/{name}")["Tags"]["stage"] == "test"
    assert finished_run(cloud, name, glue.start_job_run(JobName=name)["JobRunId"])["JobRunState"] == "SUCCEEDED"

    stacks.update_stack(StackName=name, TemplateBody=template(3))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert glue.get_job(JobName=name)["Job"]["ExecutionProperty"] == {"MaxConcurrentRuns": 3}

    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        glue.get_job(JobName=name)


def test_cloudformation_reports_what_glue_refuses(cloud: Cloud, name: str) -> None:
    job = {"Type": "AWS::Glue::Job", "Properties": {"Role": "r", "Command": {"Name": "glueetl"}, "WorkerTypo": "G.1X"}}
    stacks = cloud.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Job": job}}))
    until(
        lambda: stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"], lambda s: s == "ROLLBACK_COMPLETE"
    )
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
    own_cloud.client("s3").create_bucket(Bucket="code")
    own_cloud.client("s3").put_object(Bucket="code", Key="job.py", Body=b"print('done')")
    trust = policy({"Effect": "Allow", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"})
    iam = own_cloud.client("iam")
    role = iam.create_role(RoleName="glue", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="glue", PolicyName="p", PolicyDocument=policy(allow("s3:*", "*")))
    create_job(own_cloud, "job", "code", role)
    run_id = own_cloud.client("glue").start_job_run(JobName="job")["JobRunId"]
    finished_run(own_cloud, "job", run_id)
    own_cloud.down()
    own_cloud.up()
    glue = own_cloud.client("glue")
    assert glue.get_job_run(JobName="job", RunId=run_id)["JobRun"]["JobRunState"] == "SUCCEEDED"
    again = finished_run(own_cloud, "job", glue.start_job_run(JobName="job")["JobRunId"])
    assert again["JobRunState"] == "SUCCEEDED"
    reset(own_cloud)
    assert glue.get_jobs()["Jobs"] == []


def reset(cloud: Cloud) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", cloud.settings.port, timeout=30)
    connection.request("POST", "/_ministack/reset")
    assert connection.getresponse().status == 200
    connection.close()
