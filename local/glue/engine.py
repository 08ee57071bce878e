"""Glue's job actions, as its API answers them."""

import base64
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from local.glue.api import GLUE
from local.glue.errors import GlueError
from local.glue.script import Ended, LaunchError, Script
from local.host import Host, Scope

Document = dict[str, Any]

_ACTIVE: Final = frozenset({"STARTING", "RUNNING", "STOPPING"})
_RUN_COPIES: Final = (
    "AllocatedCapacity",
    "ExecutionClass",
    "GlueVersion",
    "MaxCapacity",
    "NumberOfWorkers",
    "SecurityConfiguration",
    "WorkerType",
)
_EVENTS: Final = {
    "SUCCEEDED": ("INFO", "Job run succeeded"),
    "STOPPED": ("INFO", "Job run stopped"),
    "TIMEOUT": ("WARN", "Job run timed out"),
}
_PAGE: Final = 200


class GlueEngine:
    """Jobs of any number of accounts and regions; times are epoch seconds, as on the wire."""

    def __init__(self, host: Host, directory: Path, python: Path) -> None:
        self._host = host
        self._directory = directory
        self._python = python
        self._changed = threading.Condition(threading.RLock())
        self._jobs: dict[Scope, dict[str, Document]] = {}
        self._runs: dict[Scope, dict[str, list[Document]]] = {}
        self._scripts: dict[str, Script] = {}
        self._actions: dict[str, Callable[[Scope, Document], Document]] = {
            "BatchGetJobs": self._batch_get_jobs,
            "BatchStopJobRun": self._batch_stop_job_run,
            "CreateJob": self._create_job,
            "DeleteJob": self._delete_job,
            "GetJob": self._get_job,
            "GetJobRun": self._get_job_run,
            "GetJobRuns": self._get_job_runs,
            "GetJobs": self._get_jobs,
            "ListJobs": self._list_jobs,
            "StartJobRun": self._start_job_run,
            "UpdateJob": self._update_job,
        }
        self.actions = frozenset(self._actions)

    def call(self, scope: Scope, action: str, request: Mapping[str, Any]) -> Document:
        """Answers one request; raises GlueError with what AWS would answer."""
        valid = GLUE.validate(action, request)
        with self._changed:
            return self._actions[action](scope, valid)

    def resource_arn(self, scope: Scope, action: str, request: Mapping[str, Any]) -> str:
        """The ARN that an IAM policy must name for this request."""
        name = request.get("JobName") or request.get("Name")
        return scope.arn("glue", f"job/{name}") if action in self.actions and name else "*"

    def wait_finished(self, scope: Scope, job_name: str, run_id: str, timeout: float) -> bool:
        """Whether the run has ended, after waiting for that at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._run(scope, job_name, run_id)["JobRunState"] not in _ACTIVE, timeout
            )

    def dump(self) -> Document:
        """All jobs and runs as JSON-ready data."""
        with self._changed:
            return {
                "jobs": [[scope.account, scope.region, jobs] for scope, jobs in self._jobs.items()],
                "runs": [[scope.account, scope.region, runs] for scope, runs in self._runs.items()],
            }

    def load(self, state: Document) -> None:
        """Restores what `dump` gave; runs that were active then are FAILED now, for their processes are gone."""
        with self._changed:
            self._jobs = {Scope(account, region): jobs for account, region, jobs in state["jobs"]}
            self._runs = {Scope(account, region): runs for account, region, runs in state["runs"]}
            for run in self._all_runs():
                if run["JobRunState"] in _ACTIVE:
                    run.update(
                        JobRunState="FAILED",
                        CompletedOn=time.time(),
                        ErrorMessage="The embedded cloud was restarted during the run.",
                    )

    def reset(self) -> None:
        """Forgets everything and ends all processes."""
        self.close()
        with self._changed:
            self._jobs.clear()
            self._runs.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all processes."""
        with self._changed:
            for script in self._scripts.values():
                script.kill()

    def _create_job(self, scope: Scope, request: Document) -> Document:
        jobs = self._jobs.setdefault(scope, {})
        name = request["Name"]
        if name in jobs:
            raise GlueError("AlreadyExistsException", f"Job with name: {name} already exists.")
        jobs[name] = _job(request, created=time.time())
        return {"Name": name}

    def _update_job(self, scope: Scope, request: Document) -> Document:
        current = self._job(scope, request["JobName"])
        definition = {**request["JobUpdate"], "Name": request["JobName"]}
        if missing := [name for name in ("Role", "Command") if name not in definition]:
            raise GlueError("InvalidInputException", f"JobUpdate lacks {' and '.join(missing)}.")
        self._jobs[scope][request["JobName"]] = _job(definition, created=current["CreatedOn"])
        return {"JobName": request["JobName"]}

    def _delete_job(self, scope: Scope, request: Document) -> Document:
        self._jobs.get(scope, {}).pop(request["JobName"], None)
        self._runs.get(scope, {}).pop(request["JobName"], None)
        self._changed.notify_all()
        return {"JobName": request["JobName"]}

    def _get_job(self, scope: Scope, request: Document) -> Document:
        return {"Job": dict(self._job(scope, request["JobName"]))}

    def _get_jobs(self, scope: Scope, request: Document) -> Document:
        return _page("Jobs", [dict(job) for job in self._jobs.get(scope, {}).values()], request)

    def _list_jobs(self, scope: Scope, request: Document) -> Document:
        return _page("JobNames", list(self._jobs.get(scope, {})), request)

    def _batch_get_jobs(self, scope: Scope, request: Document) -> Document:
        jobs, names = self._jobs.get(scope, {}), request["JobNames"]
        return {
            "Jobs": [dict(jobs[name]) for name in names if name in jobs],
            "JobsNotFound": [name for name in names if name not in jobs],
        }

    def _start_job_run(self, scope: Scope, request: Document) -> Document:
        job = self._job(scope, request["JobName"])
        if "JobRunId" in request:
            raise GlueError("InvalidInputException", "The embedded cloud does not retry a run by its JobRunId.")
        runs = self._runs.setdefault(scope, {}).setdefault(job["Name"], [])
        limit = job["ExecutionProperty"]["MaxConcurrentRuns"]
        if sum(run["JobRunState"] in _ACTIVE for run in runs) >= limit:
            raise GlueError("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {job['Name']}")
        run = _new_run(job, request)
        runs.insert(0, run)
        script = Script(
            location=job["Command"].get("ScriptLocation", ""),
            arguments=_arguments(job, run),
            python=self._python,
            work=self._directory / "runs" / run["Id"],
            packages=self._directory / "packages",
        )
        self._scripts[run["Id"]] = script
        threading.Thread(target=self._execute, args=(scope, job, run, script), name=run["Id"], daemon=True).start()
        return {"JobRunId": run["Id"]}

    def _get_job_run(self, scope: Scope, request: Document) -> Document:
        return {"JobRun": _shown(self._run(scope, request["JobName"], request["RunId"]))}

    def _get_job_runs(self, scope: Scope, request: Document) -> Document:
        self._job(scope, request["JobName"])
        runs = self._runs.get(scope, {}).get(request["JobName"], [])
        return _page("JobRuns", [_shown(run) for run in runs], request)

    def _batch_stop_job_run(self, scope: Scope, request: Document) -> Document:
        job_name = request["JobName"]
        answer: Document = {"SuccessfulSubmissions": [], "Errors": []}
        for run_id in request["JobRunIds"]:
            pair = {"JobName": job_name, "JobRunId": run_id}
            try:
                self._stop(self._run(scope, job_name, run_id))
                answer["SuccessfulSubmissions"].append(pair)
            except GlueError as error:
                detail = {"ErrorCode": error.code, "ErrorMessage": error.message}
                answer["Errors"].append({**pair, "ErrorDetail": detail})
        return answer

    def _stop(self, run: Document) -> None:
        if run["JobRunState"] not in _ACTIVE:
            raise GlueError("InvalidInputException", f"Job run {run['Id']} is not running: it is {run['JobRunState']}.")
        run.update(JobRunState="STOPPING", LastModifiedOn=time.time())
        self._scripts[run["Id"]].stop()

    def _job(self, scope: Scope, name: str) -> Document:
        try:
            return self._jobs.get(scope, {})[name]
        except KeyError:
            raise GlueError("EntityNotFoundException", f"Job {name} not found.") from None

    def _run(self, scope: Scope, job_name: str, run_id: str) -> Document:
        runs = self._runs.get(scope, {}).get(job_name, [])
        found = next((run for run in runs if run["Id"] == run_id), None)
        if found is None:
            raise GlueError("EntityNotFoundException", f"Job Run {run_id} for job {job_name} was not found.")
        return found

    def _forgotten(self, scope: Scope, run: Document) -> bool:
        """Whether the job was deleted, or everything reset, during the run."""
        return run not in self._runs.get(scope, {}).get(run["JobName"], [])

    def _all_runs(self) -> list[Document]:
        return [run for jobs in self._runs.values() for runs in jobs.values() for run in runs]

    def _execute(self, scope: Scope, job: Document, run: Document, script: Script) -> None:
        """The whole of one run, on a thread of its own."""
        try:
            ended = self._execute_script(scope, job, run, script)
            if not self._forgotten(scope, run):
                self._log(scope, run, ended)
            self._finish(scope, run, _outcome(ended, script), ended.message)
        except LaunchError as error:
            self._finish(scope, run, "STOPPED" if script.stopped else "FAILED", str(error))
        except Exception as error:  # noqa: BLE001  whatever failed around the script is the run's failure
            self._finish(scope, run, "FAILED", f"{type(error).__name__}: {error}")
        finally:
            self._scripts.pop(run["Id"], None)
            script.clear()

    def _execute_script(self, scope: Scope, job: Document, run: Document, script: Script) -> Ended:
        role = _role_arn(scope, job["Role"])
        script.fetch(self._host.client(scope, "s3", role))
        environment = self._host.environment(scope, role)
        with self._changed:
            if run["JobRunState"] == "STARTING":
                run.update(JobRunState="RUNNING", LastModifiedOn=time.time())
        return script.run(environment, run["Timeout"] * 60)

    def _log(self, scope: Scope, run: Document, ended: Ended) -> None:
        for kind, lines in (("output", ended.output), ("error", ended.errors)):
            if lines:
                self._host.log(scope, f"{run['LogGroupName']}/{kind}", run["Id"], lines)

    def _finish(self, scope: Scope, run: Document, state: str, message: str) -> None:
        with self._changed:
            now = time.time()
            run.update(
                JobRunState=state, CompletedOn=now, LastModifiedOn=now, ExecutionTime=round(now - run["StartedOn"])
            )
            if state == "FAILED":
                run["ErrorMessage"] = message
            self._changed.notify_all()
            if self._forgotten(scope, run):
                return
        failed = (
            "ERROR",
            f"JobName:{run['JobName']} and JobRunId:{run['Id']} failed to execute with exception {message}",
        )
        severity, text = _EVENTS.get(state, failed)
        detail = {
            "jobName": run["JobName"],
            "severity": severity,
            "state": state,
            "jobRunId": run["Id"],
            "message": text,
        }
        self._host.emit(scope, "aws.glue", "Glue Job State Change", [], detail)


def _job(definition: Document, created: float) -> Document:
    # Unless told otherwise AWS ends a run on Glue 5 after eight hours, on older versions after two days.
    version = definition.get("GlueVersion", "5.1")
    job = {
        "MaxRetries": 0,
        "GlueVersion": version,
        "Timeout": 480 if float(version) >= 5 else 2880,
        "JobMode": "SCRIPT",
        **definition,
        "ExecutionProperty": {"MaxConcurrentRuns": 1, **definition.get("ExecutionProperty", {})},
        "CreatedOn": created,
        "LastModifiedOn": time.time(),
    }
    job.pop("Tags", None)
    return job


def _new_run(job: Document, request: Document) -> Document:
    spark = job["Command"]["Name"] != "pythonshell"
    now = time.time()
    copies = {name: request.get(name, job.get(name)) for name in _RUN_COPIES}
    return {
        "Id": f"jr_{hashlib.sha256(os.urandom(32)).hexdigest()}",
        "Attempt": 0,
        "JobName": job["Name"],
        "JobMode": job["JobMode"],
        "StartedOn": now,
        "LastModifiedOn": now,
        "JobRunState": "STARTING",
        "Arguments": request.get("Arguments", {}),
        "PredecessorRuns": [],
        "ExecutionTime": 0,
        "Timeout": request.get("Timeout", job["Timeout"]),
        "LogGroupName": "/aws-glue/jobs" if spark else "/aws-glue/python-jobs",
        **{name: value for name, value in copies.items() if value is not None},
    }


def _shown(run: Document) -> Document:
    active = {"ExecutionTime": round(time.time() - run["StartedOn"])} if run["JobRunState"] in _ACTIVE else {}
    return {**run, **active}


def _arguments(job: Document, run: Document) -> dict[str, str]:
    """What the script is given: the run's arguments over the job's, and never over its fixed ones."""
    named = {"--JOB_NAME": job["Name"], "--JOB_RUN_ID": run["Id"]} if job["Command"]["Name"] != "pythonshell" else {}
    return {
        **named,
        **job.get("DefaultArguments", {}),
        **run["Arguments"],
        **job.get("NonOverridableArguments", {}),
    }


def _outcome(ended: Ended, script: Script) -> str:
    if script.stopped:
        return "STOPPED"
    if ended.timed_out:
        return "TIMEOUT"
    return "FAILED" if ended.exit_code else "SUCCEEDED"


def _role_arn(scope: Scope, role: str) -> str:
    return role if role.startswith("arn:") else f"arn:aws:iam::{scope.account}:role/{role}"


def _page(name: str, items: list[Any], request: Document) -> Document:
    start = int(base64.b64decode(request["NextToken"])) if request.get("NextToken") else 0
    end = start + request.get("MaxResults", _PAGE)
    token = {"NextToken": base64.b64encode(str(end).encode()).decode()} if end < len(items) else {}
    return {name: items[start:end], **token}
