"""Step Functions: executions as they start and end, and their history while they run."""

import threading
from typing import Any

from ministack.core.responses import get_account_id, get_region, now_iso
from ministack.services import stepfunctions

from local.cloud.repairs.durability.codec import Codec, key_of
from local.cloud.repairs.durability.documents import Record, restored
from local.cloud.repairs.durability.duties import Duties
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.patching import Function, replace

SERVICE = "stepfunctions"
STATUS_EVENT = "status-event"  # the duty of telling that an execution has ended
_EXECUTIONS = "executions"
_HISTORY = "history"
_ERROR, _CAUSE = "States.ServiceRestart", "Execution was running when service restarted"


class Executions:
    """Journals executions by their ARN. What ran when the process ended has failed."""

    def __init__(self, journal: Journal, codec: Codec, duties: Duties) -> None:
        self._journal = journal
        self._codec = codec
        self._duties = duties
        self._written: dict[Any, int] = {}  # events of each execution's history
        self._open: dict[Any, dict[str, Any]] = {}
        self._writing = threading.RLock()
        self.cut_short: list[Any] = []

    def install(self) -> None:
        """Follows every change of status; a change and the duty to tell it last together."""
        replace(stepfunctions, "_emit_execution_status_event", "(execution) -> None", self._emit)
        self._duties.handle(STATUS_EVENT, self._tell_again)

    def know(self) -> None:
        """Takes what is there for what lasts already."""
        self._written = {key: len(found["events"]) for key, found in stepfunctions._executions.all_items()}
        for key in self._written.keys() & set(self.cut_short):
            self._written[key] -= 1  # their end is journaled when it is told

    def journal(self) -> None:
        """Journals what running executions have gone through, and that some were deleted with their machine."""
        with self._writing:
            for key, execution in list(self._open.items()):
                self._put_history(key, execution)
            known = stepfunctions._executions._data
            for key in self._written.keys() - known.keys():
                del self._written[key]
                self._open.pop(key, None)
                self._journal.put(SERVICE, _EXECUTIONS, key_of(key), None)

    def restore(self, base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        """What a clean stop saved, with the executions as journaled; those that were running have failed."""
        history = {key: value for store, key, value in records if store == _HISTORY}
        saved = dict(base[_EXECUTIONS]._data) if _EXECUTIONS in base else {}
        state = restored(base, [record for record in records if record[0] != _HISTORY])
        executions = state[_EXECUTIONS]._data if _EXECUTIONS in state else {}
        for key, execution in executions.items():
            if "events" not in execution:
                execution["events"] = list(saved[key]["events"]) if key in saved else []
        for (*scope, arn, _), events in sorted(history.items(), key=lambda item: item[0]):
            if (execution := executions.get((*scope, arn))) is not None:
                execution["events"].extend(events)
        for key, execution in executions.items():
            if execution["status"] == "RUNNING":
                _fail(execution)
                self.cut_short.append(key)
        return state

    def _emit(self, original: Function) -> Function:
        def emit(execution: dict[str, Any]) -> None:
            if execution.get("sync"):  # its caller waits for it, and is told by the broken connection
                original(execution)
                return
            key = get_account_id(), get_region(), execution["executionArn"]
            with self._writing, self._journal.together():
                self._put(key, execution)
                duty = self._duties.add(STATUS_EVENT, execution["executionArn"])
            original(execution)
            self._duties.done(duty)

        return emit

    def _tell_again(self, arn: str) -> None:
        if execution := stepfunctions._executions.get(arn):
            stepfunctions._emit_execution_status_event(execution)

    def _put(self, key: Any, execution: dict[str, Any]) -> None:
        self._put_history(key, execution)
        shown = {name: value for name, value in list(execution.items()) if name != "events"}
        self._journal.put(SERVICE, _EXECUTIONS, key_of(key), self._codec.encode(shown))
        if execution["status"] == "RUNNING":
            self._open[key] = execution
        else:
            self._open.pop(key, None)

    def _put_history(self, key: Any, execution: dict[str, Any]) -> None:
        written, events = self._written.get(key, 0), list(execution["events"])
        if len(events) > written:
            text = self._codec.encode(events[written:])
            self._journal.put(SERVICE, _HISTORY, key_of((*key, written)), text)
        self._written[key] = len(events)


def _fail(execution: dict[str, Any]) -> None:
    stop = now_iso()
    execution.update(status="FAILED", error=_ERROR, cause=_CAUSE, stopDate=stop)
    details = {"executionFailedEventDetails": {"error": _ERROR, "cause": _CAUSE}}
    execution["events"].append(
        {"id": len(execution["events"]) + 1, "type": "ExecutionFailed", "timestamp": stop, **details}
    )
