"""The Glue engine alone, on a host of plain dictionaries."""

import io
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.glue import GlueEngine, GlueError
from local.host import Metric, Scope

SCOPE = Scope("111122223333", "eu-west-1")
ROLE = "arn:aws:iam::111122223333:role/glue"
COMMAND = {"Name": "glueetl", "ScriptLocation": "s3://code/job.py", "PythonVersion": "3"}


class FakeS3:
    """Objects by (bucket, key)."""

    def __init__(self, objects: dict[tuple[str, str], bytes]) -> None:
        self.objects = objects

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803  boto3's names
        try:
            return {"Body": io.BytesIO(self.objects[Bucket, Key])}
        except KeyError:
            message = "The specified key does not exist."
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": message}}, "GetObject") from None


class FakeHost:
    """Remembers what the engine asked of its cloud."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.events: list[tuple[str, str, Sequence[str], Mapping[str, Any]]] = []
        self.logs: dict[tuple[str, str], list[str]] = {}
        self.roles: list[str] = []

    def environment(self, scope: Scope, role_arn: str) -> Mapping[str, str]:
        return {"AWS_ACCESS_KEY_ID": f"key-of-{role_arn}", "AWS_REGION": scope.region}

    def client(self, scope: Scope, service: str, role_arn: str) -> Any:
        self.roles.append(role_arn)
        return FakeS3(self.objects)

    def emit(
        self, scope: Scope, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]
    ) -> None:
        self.events.append((source, detail_type, resources, detail))

    def log(self, scope: Scope, group: str, stream: str, lines: Sequence[str]) -> None:
        self.logs.setdefault((group, stream), []).extend(lines)

    def measure(self, scope: Scope, namespace: str, metrics: Sequence[Metric]) -> None:
        raise AssertionError("the engine measures nothing")


class Glue:
    """An engine with a job named `job`, and what a test does with it."""

    def __init__(self, directory: Path) -> None:
        self.host = FakeHost()
        self.engine = GlueEngine(self.host, directory, Path(sys.executable))

    def call(self, action: str, **request: Any) -> dict[str, Any]:
        return self.engine.call(SCOPE, action, request)

    def job(self, script: str, **definition: Any) -> None:
        self.host.objects["code", "job.py"] = script.encode()
        self.call("CreateJob", **{"Name": "job", "Role": ROLE, "Command": COMMAND, **definition})

    def start(self, **arguments: str) -> str:
        given = {f"--{name}": value for name, value in arguments.items()}
        return str(self.call("StartJobRun", JobName="job", Arguments=given)["JobRunId"])

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.call("GetJobRun", JobName="job", RunId=run_id)["JobRun"])

    def finished(self, run_id: str) -> dict[str, Any]:
        assert self.engine.wait_finished(SCOPE, "job", run_id, timeout=20)
        return self.run(run_id)

    def output(self, run_id: str, kind: str = "output") -> list[str]:
        return self.host.logs.get((f"/aws-glue/jobs/{kind}", run_id), [])


@pytest.fixture
def glue(tmp_path: Path) -> Iterator[Glue]:
    glue = Glue(tmp_path)
    yield glue
    glue.engine.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited ten seconds in vain"
        time.sleep(0.01)


def archive(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as contents:
        for name, text in files.items():
            contents.writestr(f"{name}.py", text)
    return packed.getvalue()


def test_a_script_gets_its_arguments_as_names_and_values(glue: Glue) -> None:
    glue.job("import sys; print(sys.argv[1:])", DefaultArguments={"--mode": "default", "--kept": "yes"})
    run_id = glue.start(mode="of the run")
    run = glue.finished(run_id)
    assert run["JobRunState"] == "SUCCEEDED"
    words = ["--JOB_NAME", "job", "--JOB_RUN_ID", run_id, "--mode", "of the run", "--kept", "yes"]
    assert glue.output(run_id) == [str(words)]
    assert run["Arguments"] == {"--mode": "of the run"}


def test_fixed_arguments_cannot_be_overridden(glue: Glue) -> None:
    glue.job("import sys; print(sys.argv[-1])", NonOverridableArguments={"--mode": "fixed"})
    run_id = glue.start(mode="of the run")
    glue.finished(run_id)
    assert glue.output(run_id) == ["fixed"]


def test_a_python_shell_script_is_not_told_its_job(glue: Glue) -> None:
    glue.job("import sys; print(sys.argv[1:])", Command={**COMMAND, "Name": "pythonshell"})
    run_id = glue.start(a="b")
    assert glue.finished(run_id)["LogGroupName"] == "/aws-glue/python-jobs"
    assert glue.host.logs["/aws-glue/python-jobs/output", run_id] == ["['--a', 'b']"]


def test_a_script_runs_as_the_jobs_role_and_sees_nothing_of_the_host(
    glue: Glue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/host")
    monkeypatch.setenv("AWS_PROFILE", "host")
    glue.job(
        "import os; e = os.environ; print(e['AWS_ACCESS_KEY_ID'], e['PYTHONPATH'], e.get('AWS_PROFILE'))", Role="glue"
    )
    run_id = glue.start()
    glue.finished(run_id)
    assert glue.output(run_id) == [f"key-of-{ROLE}  None"]
    assert set(glue.host.roles) == {ROLE}


@pytest.mark.parametrize("argument", ["--extra-py-files", "--additional-python-modules"])
def test_libraries_are_importable(glue: Glue, argument: str) -> None:
    glue.host.objects["code", "one.zip"] = archive(one="NAME = 'one'")
    glue.host.objects["code", "two-1.0-py3-none-any.whl"] = archive(two="NAME = 'two'")
    glue.host.objects["code", "three.py"] = b"NAME = 'three'"
    uris = "s3://code/one.zip, s3://code/two-1.0-py3-none-any.whl,s3://code/three.py"
    glue.job("import sys, one, two, three; print(one.NAME, two.NAME, three.NAME, sys.argv[1:3])")
    run_id = glue.call("StartJobRun", JobName="job", Arguments={argument: uris})["JobRunId"]
    assert glue.finished(run_id).get("ErrorMessage") is None
    assert glue.output(run_id) == ["one two three ['--JOB_NAME', 'job']"]


def test_a_library_from_a_package_index_is_refused(glue: Glue) -> None:
    glue.job("print('never')")
    run_id = glue.call("StartJobRun", JobName="job", Arguments={"--additional-python-modules": "numpy==2.1"})[
        "JobRunId"
    ]
    run = glue.finished(run_id)
    assert run["JobRunState"] == "FAILED"
    assert "numpy==2.1 is not in S3" in run["ErrorMessage"]


def test_a_failing_script_fails_its_run_with_the_tracebacks_last_line(glue: Glue) -> None:
    glue.job("print('before')\nraise ValueError('no rows in the snapshot')")
    run_id = glue.start()
    run = glue.finished(run_id)
    assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", "ValueError: no rows in the snapshot")
    assert glue.output(run_id) == ["before"]
    assert glue.output(run_id, "error")[0] == "Traceback (most recent call last):"
    until(lambda: bool(glue.host.events))
    source, detail_type, resources, detail = glue.host.events[0]
    assert (source, detail_type, list(resources)) == ("aws.glue", "Glue Job State Change", [])
    assert detail == {
        "jobName": "job",
        "severity": "ERROR",
        "state": "FAILED",
        "jobRunId": run_id,
        "message": f"JobName:job and JobRunId:{run_id} failed to execute with exception {run['ErrorMessage']}",
    }


def test_an_exit_code_alone_fails_the_run_too(glue: Glue) -> None:
    glue.job("import sys; print('a warning', file=sys.stderr); sys.exit(3)")
    run = glue.finished(glue.start())
    assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", "Command failed with exit code 3")


def test_a_missing_script_fails_the_run_and_names_it(glue: Glue) -> None:
    glue.job("")
    glue.host.objects.clear()
    run = glue.finished(glue.start())
    assert run["JobRunState"] == "FAILED"
    assert "bucket: code, key: job.py. The specified key does not exist." in run["ErrorMessage"]


def test_success_is_announced_and_timed(glue: Glue) -> None:
    glue.job("print('done')")
    run_id = glue.start()
    run = glue.finished(run_id)
    assert run["StartedOn"] <= run["CompletedOn"]
    assert run["ExecutionTime"] == round(run["CompletedOn"] - run["StartedOn"])
    until(lambda: bool(glue.host.events))
    assert glue.host.events[0][3] == {
        "jobName": "job",
        "severity": "INFO",
        "state": "SUCCEEDED",
        "jobRunId": run_id,
        "message": "Job run succeeded",
    }


def test_a_run_is_stopped_with_its_children(glue: Glue, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    child = f"import time, pathlib; p = pathlib.Path({str(alive)!r})\nwhile True: p.touch(); time.sleep(0.02)"
    glue.job(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    run_id = glue.start()
    until(alive.exists)
    assert glue.run(run_id)["JobRunState"] == "RUNNING"
    answer = glue.call("BatchStopJobRun", JobName="job", JobRunIds=[run_id, "jr_unknown"])
    assert answer["SuccessfulSubmissions"] == [{"JobName": "job", "JobRunId": run_id}]
    assert answer["Errors"][0]["ErrorDetail"]["ErrorCode"] == "EntityNotFoundException"
    assert glue.finished(run_id)["JobRunState"] == "STOPPED"
    alive.unlink(missing_ok=True)
    time.sleep(0.1)
    assert not alive.exists()
    errors = glue.call("BatchStopJobRun", JobName="job", JobRunIds=[run_id])["Errors"]
    assert errors[0]["ErrorDetail"]["ErrorCode"] == "InvalidInputException"


def test_a_run_that_ignores_the_polite_end_is_killed(glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.glue.script._KILL_AFTER_SECONDS", 0.2)
    glue.job(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    run_id = glue.start()
    until(lambda: glue.run(run_id)["JobRunState"] == "RUNNING")
    time.sleep(0.3)
    glue.call("BatchStopJobRun", JobName="job", JobRunIds=[run_id])
    assert glue.finished(run_id)["JobRunState"] == "STOPPED"
    assert glue.output(run_id) == ["deaf"]


def test_a_run_over_its_time_is_ended(glue: Glue) -> None:
    glue.job("import time; time.sleep(60)", Timeout=1)
    glue.engine._jobs[SCOPE]["job"]["Timeout"] = 0.005  # minutes; the API takes whole ones
    run = glue.finished(glue.start())
    assert run["JobRunState"] == "TIMEOUT"
    until(lambda: bool(glue.host.events))
    assert glue.host.events[0][3]["message"] == "Job run timed out"


def test_one_run_at_a_time_unless_the_job_allows_more(glue: Glue) -> None:
    glue.job("import time; time.sleep(60)")
    glue.start()
    with pytest.raises(GlueError, match="ConcurrentRunsExceededException"):
        glue.start()
    glue.call(
        "UpdateJob",
        JobName="job",
        JobUpdate={"Role": ROLE, "Command": COMMAND, "ExecutionProperty": {"MaxConcurrentRuns": 2}},
    )
    glue.start()
    with pytest.raises(GlueError, match="ConcurrentRunsExceededException"):
        glue.start()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"JobName": ""}, "Member must have length greater than or equal to 1"),
        (
            {"JobName": "x" * 256},
            "at 'jobName' failed to satisfy constraint: Member must have length less than or equal to 255",
        ),
        ({"JobName": "a\nb"}, "Member must satisfy regular expression pattern"),
        ({"JobName": "job", "WorkerType": "G.99X", "ExecutionClass": "FAST"}, "enum value set: [FLEX, STANDARD]"),
        ({"JobName": "job", "Argumentz": {}}, 'Unknown parameter in input: "Argumentz"'),
        ({"JobName": "job", "Arguments": {"--n": 1}}, "NUMBER_VALUE can not be converted to a String"),
        ({"Arguments": {}}, "Value null at 'jobName' failed to satisfy constraint: Member must not be null"),
    ],
)
def test_requests_that_aws_refuses_are_refused(glue: Glue, request_: dict[str, Any], reason: str) -> None:
    glue.job("")
    with pytest.raises(GlueError) as refused:
        glue.call("StartJobRun", **request_)
    unreadable = "can not be converted" in reason
    assert refused.value.code == ("SerializationException" if unreadable else "ValidationException")
    assert reason in refused.value.message


def test_a_name_beyond_the_basic_plane_is_a_name(glue: Glue) -> None:
    with pytest.raises(GlueError, match="EntityNotFoundException"):
        glue.call("GetJob", JobName="prépare 🚦")


def test_jobs_are_kept_whole(glue: Glue) -> None:
    glue.job("", ExecutionProperty={"MaxConcurrentRuns": 3}, GlueVersion="5.0", Tags={"a": "b"})
    job = glue.call("GetJob", JobName="job")["Job"]
    assert job["ExecutionProperty"] == {"MaxConcurrentRuns": 3}
    assert job["Timeout"] == 480
    assert "Tags" not in job
    assert glue.call("ListJobs")["JobNames"] == ["job"]
    assert glue.call("BatchGetJobs", JobNames=["job", "other"])["JobsNotFound"] == ["other"]
    with pytest.raises(GlueError, match="AlreadyExistsException"):
        glue.job("")
    glue.call("DeleteJob", JobName="job")
    with pytest.raises(GlueError, match="EntityNotFoundException"):
        glue.start()


def test_runs_are_listed_newest_first_in_pages(glue: Glue) -> None:
    glue.job("")
    ids = []
    for _ in range(3):
        ids.append(glue.start())
        glue.finished(ids[-1])
    first = glue.call("GetJobRuns", JobName="job", MaxResults=2)
    rest = glue.call("GetJobRuns", JobName="job", MaxResults=2, NextToken=first["NextToken"])
    assert [run["Id"] for run in first["JobRuns"] + rest["JobRuns"]] == ids[::-1]
    assert "NextToken" not in rest


def test_everything_survives_a_restart_but_a_running_script(glue: Glue, tmp_path: Path) -> None:
    glue.job("import sys, time; time.sleep(60 if 'slow' in sys.argv else 0)")
    done = glue.start()
    glue.finished(done)
    interrupted = glue.start(pace="slow")
    state = glue.engine.dump()
    again = Glue(tmp_path / "again")
    again.engine.load(state)
    assert again.run(done)["JobRunState"] == "SUCCEEDED"
    run = again.run(interrupted)
    assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", "The embedded cloud was restarted during the run.")


def test_a_reset_ends_and_forgets_everything(glue: Glue) -> None:
    glue.job("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    run_id = glue.start()
    until(lambda: glue.run(run_id)["JobRunState"] == "RUNNING")
    script = glue.engine._scripts[run_id]
    until(lambda: script._process is not None)
    glue.engine.reset()
    until(lambda: script._process is not None and script._process.poll() is not None)
    assert glue.call("GetJobs")["Jobs"] == []
    until(lambda: not glue.engine._scripts)
    assert glue.host.events == []
