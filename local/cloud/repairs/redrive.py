"""T35: RedriveExecution, and what DescribeExecution, ListExecutions and status events say of redrives."""

import json
import threading
import time
from contextvars import copy_context
from datetime import datetime
from typing import Any

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import stepfunctions

from local.cloud.repairs import walking
from local.cloud.repairs.patching import Function, edit, replace

Execution = dict[str, Any]
_DAY = 24 * 3600
_REDRIVABLE_SECONDS = 14 * _DAY
_LONGEST_SECONDS = 365 * _DAY
_MOST_EVENTS = 24_999
_TOKENS, _TOKEN_SECONDS = 10, 15 * 60
_REDRIVABLE = "REDRIVABLE"
_IN_EVENTS = """        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "REDRIVABLE" if redrivable else "NOT_REDRIVABLE",
        "redriveStatusReason": (
            f"Execution is {status} and is redrivable" if redrivable
            else f"Execution is {status} and cannot be redriven"
        ),
"""


def apply() -> None:
    """Adds the action, and its fields to what is told of executions."""
    stepfunctions._redrive_in_event = _in_event
    edit(
        stepfunctions,
        "_emit_execution_status_event",
        "(execution) -> None",
        _IN_EVENTS,
        "        **_redrive_in_event(execution),\n",
    )
    walking.apply()
    replace(stepfunctions, "handle_request", "(method, path, headers, body, query_params)", _with_redrive)
    replace(stepfunctions, "_describe_execution", "(data)", _described)
    replace(stepfunctions, "_list_executions", "(data)", _listed)
    replace(stepfunctions, "_update_state_machine", "(data)", _definition_kept, ('sm["definition"] =',))


def _with_redrive(original: Function) -> Function:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]) -> Any:
        if headers.get("x-amz-target", "").rpartition(".")[2] != "RedriveExecution":
            return await original(method, path, headers, body, query_params)
        try:
            data = json.loads(body or "{}")
        except ValueError:
            return error_response_json("SerializationException", "Invalid JSON", 400)
        return stepfunctions._finalize_response(_redrive(data))

    return handle


def _redrive(data: dict[str, Any]) -> Any:
    arn, token = data.get("executionArn", ""), data.get("clientToken")
    execution = stepfunctions._executions.get(arn)
    if execution is None:
        return error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"])
    if (machine or {}).get("type") == "EXPRESS":
        return error_response_json("InvalidArn", f"Invalid Arn: '{arn}' is an execution of an Express workflow", 400)
    known = execution.get("redriveTokens", {}).get(token)
    if known and time.time() - _seconds(known) < _TOKEN_SECONDS:
        return json_response({"redriveDate": known})
    status, reason = redrivability(execution, machine is not None, time.time())
    if status != _REDRIVABLE:
        return error_response_json("ExecutionNotRedrivable", reason, 400)
    return json_response({"redriveDate": _start(execution, token)})


def redrivability(execution: Execution, has_machine: bool, now: float) -> tuple[str, str]:
    """Whether the execution may be redriven at `now` (epoch seconds), and AWS's words for why not."""
    status, of_map_run = execution["status"], execution.get("mapRunArn")
    obstacles = {
        f"Execution is {status} and cannot be redriven": status in ("RUNNING", "SUCCEEDED"),
        "State machine is in DELETING status": not has_machine and not of_map_run,
        "Execution history event limit exceeded": len(execution["events"]) >= _MOST_EVENTS,
        "Execution has exceeded the max execution time": now - _seconds(execution["startDate"]) > _LONGEST_SECONDS,
        "Execution redrivable period exceeded": bool(execution["stopDate"])
        and now - _seconds(execution["stopDate"]) > _REDRIVABLE_SECONDS,
    }
    for reason, applies in obstacles.items():
        if applies:
            return "NOT_REDRIVABLE", reason
    if of_map_run:
        return "REDRIVABLE_BY_MAP_RUN", "The execution is redriven with the parent of its Map Run."
    return _REDRIVABLE, ""


def _start(execution: Execution, token: str | None) -> str:
    moment, place = str(now_iso()), _place(execution)
    if execution.get("error") == "States.DataLimitExceeded":
        place["branches"] = {}  # their results together were too large, so they are all made anew
    tokens = {**execution.get("redriveTokens", {}), **({token: moment} if token else {})}
    execution.update(
        redriveCount=execution.get("redriveCount", 0) + 1,
        redriveDate=moment,
        redriveTokens=dict(list(tokens.items())[-_TOKENS:]),
        place=place,
        error=None,
        cause=None,
        output=None,
        stopDate=None,
        status="RUNNING",
    )
    details = {"redriveCount": execution["redriveCount"]}
    stepfunctions._add_event(execution, "ExecutionRedriven", {"executionRedrivenEventDetails": details})
    stepfunctions._emit_execution_status_event(execution)
    arguments = (stepfunctions._run_execution, execution["executionArn"])
    threading.Thread(target=copy_context().run, args=arguments, daemon=True).start()
    return moment


def _place(execution: Execution) -> walking.Place:
    """Where it stood. After a crash only the history tells: the state it had entered, and nothing of its branches."""
    known = execution.get("place") or walking.new_place()
    machine = stepfunctions._state_machines[execution["stateMachineArn"]]
    states = json.loads(execution.get("definition") or machine["definition"])["States"]
    entered = (event.get("stateEnteredEventDetails", {}) for event in reversed(execution["events"]))
    last = next((details for details in entered if details.get("name") in states), None)
    if last is None:
        return walking.new_place()
    state, given = last["name"], last["input"]
    if (known["state"], known["input"]) == (state, given):
        return known
    return {**walking.new_place(), "state": state, "input": given, "variables": known["variables"]}


def _told(execution: Execution) -> dict[str, Any]:
    """The fields that DescribeExecution and status events share."""
    has_machine = execution["stateMachineArn"] in stepfunctions._state_machines
    status, reason = redrivability(execution, has_machine, time.time())
    return {
        "redriveCount": execution.get("redriveCount", 0),
        "redriveDate": execution.get("redriveDate"),
        "redriveStatus": status,
        "redriveStatusReason": reason if status == "NOT_REDRIVABLE" else None,
    }


def _in_event(execution: Execution) -> dict[str, Any]:
    told = _told(execution)
    return {**told, "redriveDate": stepfunctions._iso_to_epoch_ms(told["redriveDate"])}


def _described(original: Function) -> Function:
    def describe(data: dict[str, Any]) -> Any:
        status, headers, body = original(data)
        execution = stepfunctions._executions.get(data.get("executionArn"))
        if status != 200 or execution is None:
            return status, headers, body
        told = {name: value for name, value in _told(execution).items() if value is not None}
        return json_response({**json.loads(body), **told})

    return describe


def _listed(original: Function) -> Function:
    def list_executions(data: dict[str, Any]) -> Any:
        status, headers, body = original(data)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        wanted = data.get("redriveFilter")
        answer["executions"] = [
            item for item in map(_with_redrives, answer["executions"]) if wanted in (None, _kind(item))
        ]
        return json_response(answer)

    return list_executions


def _with_redrives(item: dict[str, Any]) -> dict[str, Any]:
    execution = stepfunctions._executions.get(item["executionArn"]) or {}
    date = execution.get("redriveDate")
    return {**item, "redriveCount": execution.get("redriveCount", 0), **({"redriveDate": date} if date else {})}


def _kind(item: dict[str, Any]) -> str:
    return "REDRIVEN" if item["redriveCount"] else "NOT_REDRIVEN"


def _definition_kept(original: Function) -> Function:
    def update(data: dict[str, Any]) -> Any:
        """An execution goes on with the definition it began with, so it is kept before the machine gets another."""
        machine = stepfunctions._state_machines.get(data.get("stateMachineArn", "")) or {}
        before = machine.get("definition")
        answer = original(data)
        if machine.get("definition") != before:
            for execution in list(stepfunctions._executions.values()):
                if execution["stateMachineArn"] == machine["stateMachineArn"] and execution["status"] != "SUCCEEDED":
                    execution.setdefault("definition", before)
        return answer

    return update


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
