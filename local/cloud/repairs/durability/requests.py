"""No answer leaves before what it acknowledges is written."""

import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from ministack import app
from ministack.services import cloudformation, stepfunctions

from local.cloud.repairs.durability.documents import Documents, under_way
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.patching import Function, replace

# Actions that change nothing, or only what is followed where it changes: items, messages, executions, lines, values.
_FOLLOWED = re.compile(
    r"Get|List|Describe|Head|BatchGet|Query$|Scan|Simulate|Validate|Lookup|Filter|Decode|Assume|"
    r"(PutItem|UpdateItem|DeleteItem|BatchWriteItem|TransactWriteItems|TransactGetItems)$|"
    r"(SendMessage|ReceiveMessage|DeleteMessage|ChangeMessageVisibility)|"
    r"(StartExecution|StartSyncExecution|StopExecution|SendTask\w+)$|"
    r"(PutLogEvents|PutMetricData|PutEvents|Publish|PublishBatch)$|"
    r"(Encrypt|Decrypt|ReEncrypt|GenerateDataKey\w*|GenerateRandom|Sign|Verify)$"
)
_ACTION = re.compile(rb"(?:^|&)Action=(\w+)")
_STACKS = "cloudformation"
_ENGINES = ("glue", "sagemaker")  # whose tasks Step Functions hands over without a request
_TASKS = "arn:aws:states:::{}:"
_PARTS = frozenset({"uploads", "uploadId"})
_READING = ("GET", "HEAD", "OPTIONS")


class Requests:
    """Finds out which services a request may have changed."""

    def __init__(self, journal: Journal, documents: Documents) -> None:
        self._journal = journal
        self._documents = documents
        self._deploying = False
        self._looking = threading.Lock()

    def install(self) -> None:
        """Commits before each answer."""
        replace(app, "_send_response", "(send, status, headers, body, *, head=False)", self._committed)
        replace(app, "_send_streaming_response", "(send, receive, status, headers, streaming)", self._committed)

    def follow_services(self) -> None:
        """Wraps the services' doors; done when all services are registered."""
        keys = {module: key for key, module in app._state_map.items()}
        for name, settings in app.SERVICE_REGISTRY.items():
            modules = (settings["module"], *settings.get("sub_modules", ()))
            states = [keys[module] for module in modules if module in keys]
            app.SERVICE_HANDLERS[name] = self._followed(name, states, app.SERVICE_HANDLERS[name])
            if name in _ENGINES:
                tasks = stepfunctions._SERVICE_DISPATCH
                tasks[_TASKS.format(name)] = self._followed_task(states, tasks[_TASKS.format(name)])

    def sweep(self, restless: Iterable[str]) -> None:
        """Journals what has changed without a request."""
        if not self._while_deploying():
            used = set(self._documents.services())
            self._documents.journal(service for service in restless if service in used)

    def _committed(self, original: Function) -> Function:
        async def send(*values: Any, **more: Any) -> None:
            self._journal.commit()
            await original(*values, **more)

        return send

    def _followed(self, name: str, states: list[str], handler: Function) -> Function:
        async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> Any:
            answer = await handler(method, path, headers, body, query)
            harmless = _harmless(name, method, path, query, _action(headers, body, query))
            if name == _STACKS:
                self._while_deploying(begun=not harmless)
            elif not harmless:
                self._documents.journal(states)
            return answer

        return handle

    def _followed_task(self, states: list[str], run: Function) -> Function:
        def task(*values: Any, **more: Any) -> Any:
            try:
                return run(*values, **more)
            finally:
                self._documents.journal(states)

        return task

    def _while_deploying(self, *, begun: bool = False) -> bool:
        """Journals every service while a stack is made, changed or deleted: CloudFormation calls them all directly."""
        with self._looking:  # who is told that a stack is complete waits for a look that is under way
            if not (self._deploying or begun):
                return False
            self._deploying = any(map(under_way, cloudformation._stacks.all_values()))
            self._documents.journal()
            return True


def _harmless(name: str, method: str, path: str, query: Mapping[str, Any], action: str) -> bool:
    """Whether the request has changed nothing but what is followed elsewhere."""
    if action:
        return bool(_FOLLOWED.match(action))
    if method in _READING or path.endswith(("/invocations", "/invoke-async")):
        return True
    # Objects are files; a bucket's settings are at its root, and the parts of an upload are nowhere yet.
    return name == "s3" and "/" in path.strip("/") and _PARTS.isdisjoint(query)


def _action(headers: Mapping[str, str], body: bytes, query: Any) -> str:
    """The action that a request names; REST requests name none."""
    if target := headers.get("x-amz-target", "").rpartition(".")[2]:
        return target
    if "Action" in query:
        return str(query["Action"][0])
    found = _ACTION.search(body or b"") if "urlencoded" in headers.get("content-type", "") else None
    return found[1].decode() if found else ""
