"""The journal's part in the server's life: read at the start, emptied at a clean stop and at a reset."""

import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from ministack import app
from ministack.core import persistence
from ministack.core.responses import request_scope
from ministack.services import stepfunctions

from local.cloud.host import MiniStackHost
from local.cloud.repairs.durability import duties as owed
from local.cloud.repairs.durability import executions as runs
from local.cloud.repairs.durability import objects
from local.cloud.repairs.durability import queues as messages
from local.cloud.repairs.durability import tables as items
from local.cloud.repairs.durability import telemetry as signals
from local.cloud.repairs.durability.codec import Codec, key_from
from local.cloud.repairs.durability.documents import Documents, Record, restored, restored_stacks
from local.cloud.repairs.durability.duties import Duties
from local.cloud.repairs.durability.executions import Executions
from local.cloud.repairs.durability.journal import Journal
from local.cloud.repairs.durability.queues import Queues
from local.cloud.repairs.durability.requests import Requests
from local.cloud.repairs.durability.tables import Tables
from local.cloud.repairs.durability.telemetry import Telemetry
from local.cloud.repairs.patching import Function, replace
from local.cloud.settings import CloudSettings

_COMMIT_SECONDS = 0.2
_SWEEP_SECONDS = 1.0
_LISTEN_INTERVAL_SECONDS = 0.02
# Services that change by themselves: jobs end, alarms go off, schedules fire, functions become active.
_ENGINES = ("sagemaker", "glue_jobs", "application-autoscaling")
_RESTLESS = (*_ENGINES, "cloudwatch", "cloudwatch_logs", "eventbridge", "lambda", "scheduler", "sqs", "stepfunctions")

logger = logging.getLogger("durability")


@dataclass
class Life:
    """Everything that is journaled, and when."""

    settings: CloudSettings
    journal: Journal
    codec: Codec
    documents: Documents
    tables: Tables
    queues: Queues
    executions: Executions
    telemetry: Telemetry
    duties: Duties
    requests: Requests
    _loaded_services: set[str] = field(default_factory=set)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def install(self) -> None:
        """Takes part in MiniStack's start, stop and reset."""
        replace(app, "load_state", "(service: str) -> dict | None", self._loaded)
        replace(app, "_load_persisted_state", "()", self._started)
        replace(app, "save_all", "(services: dict) -> None", self._saved)
        replace(app, "_reset_all_state", "()", self._reset)
        replace(
            MiniStackHost,
            "emit",
            "(self, scope: local.host.Scope, source: str, detail_type: str, resources: collections.abc.Sequence[str], "
            "detail: collections.abc.Mapping[str, typing.Any]) -> None",
            self._after_engines,
        )

    def _loaded(self, original: Function) -> Function:
        def load(service: str) -> dict[str, Any] | None:
            state = self._restored(service, original(service) or {}, self._records(service))
            if not state:
                return None
            self._loaded_services.add(service)
            return state

        return load

    def _restored(self, service: str, base: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        restore = {
            items.SERVICE: self.tables.restore,
            objects.SERVICE: objects.restore,
            messages.SERVICE: self.queues.restore,
            runs.SERVICE: self.executions.restore,
            signals.LOGS: self.telemetry.restore_logs,
            signals.METRICS: self.telemetry.restore_metrics,
            "cloudformation": restored_stacks,
        }.get(service, restored)
        return restore(base, records)

    def _records(self, service: str) -> list[Record]:
        return [
            (store, key_from(key) if key else "", None if value is None else self.codec.decode(value))
            for store, key, value in self.journal.records(service)
        ]

    def _started(self, original: Function) -> Function:
        def load_all() -> None:
            original()
            self.telemetry.store()
            self.duties.load(self._records(owed.SERVICE))
            self._know(self._loaded_services)
            self.requests.follow_services()
            for work in (self._keep_up, self._make_up):
                threading.Thread(target=work, daemon=True, name=f"durability{work.__name__}").start()

        return load_all

    def _know(self, loaded: Container[str] = ()) -> None:
        self.documents.know(loaded)
        self.queues.know()
        self.executions.know()

    def _keep_up(self) -> None:
        """Writes what changes without a request: the commit before an answer finds little left to do."""
        swept = time.monotonic()
        while not self._stopping.wait(_COMMIT_SECONDS):
            try:
                self.queues.journal()
                self.executions.journal()
                if time.monotonic() - swept >= _SWEEP_SECONDS:
                    self.requests.sweep(_RESTLESS)
                    swept = time.monotonic()
                self.journal.commit()
            except Exception:
                logger.exception("The journal could not be written.")

    def _make_up(self) -> None:
        """Tells which executions were cut short, and does what was accepted and not done, once requests are served."""
        while not self._stopping.is_set() and not self._listening():
            time.sleep(_LISTEN_INTERVAL_SECONDS)
        for account, region, arn in self.executions.cut_short:
            with request_scope(account, region):
                if execution := stepfunctions._executions.get(arn):
                    logger.info("%s was running when the cloud was ended, and has failed.", arn)
                    stepfunctions._emit_execution_status_event(execution)
        self.duties.resume()

    def _listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.settings.port)) == 0

    def _saved(self, original: Function) -> Function:
        def save(services: dict[str, Any]) -> None:
            self._stopping.set()
            with suppress(sqlite3.Error):  # a full disk: what the files below hold needs no journal
                self.journal.commit()
            self.journal.only(owed.SERVICE)
            before = {name: _inode(name) for name in services}
            original(services)
            saved = [name for name in services if _inode(name) not in (None, before[name])]
            self.journal.forget(saved)  # what could not be saved stays journaled
            if len(saved) == len(services):
                rmtree(self.codec.blobs, ignore_errors=True)
            self.journal.commit()

        return save

    def _reset(self, original: Function) -> Function:
        def reset() -> None:
            original()
            self.journal.forget()
            self._know()

        return reset

    def _after_engines(self, original: Function) -> Function:
        def emit(*values: Any, **more: Any) -> None:
            self.documents.journal(service for service in _ENGINES if service in self.documents.services())
            original(*values, **more)

        return emit


def _inode(service: str) -> int | None:
    """The saved file's number: another one for every file that takes its place."""
    path = Path(persistence.STATE_DIR, f"{service}.json")
    return path.stat().st_ino if path.exists() else None
