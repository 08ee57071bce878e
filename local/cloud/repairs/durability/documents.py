"""Services that change seldom: after a change, what differs from the last time is journaled, entry by entry."""

import hashlib
import logging
import sys
import threading
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from typing import Any

from ministack import app
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict
from ministack.services import cloudformation, cloudwatch, cloudwatch_logs, dynamodb, lambda_svc, sqs, stepfunctions

from local.cloud.repairs.durability.codec import Codec, key_of
from local.cloud.repairs.durability.journal import Journal

Record = tuple[str, Any, Any]  # store, key (`_PLAIN` when the store is one value), value (None when deleted)
_SCOPED = (AccountRegionScopedDict, AccountScopedDict)
_PLAIN = ""  # the key of a store that is one value
_ATTEMPTS = 5

logger = logging.getLogger("durability")


class Documents:
    """What is known to last of each service, by state key (the name of its file without `.json`)."""

    def __init__(self, journal: Journal, codec: Codec) -> None:
        self._journal = journal
        self._codec = codec
        self._known: dict[str, dict[tuple[str, str], bytes]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._unsaved: set[str] = set()

    def services(self) -> list[str]:
        """The state keys of all services that were used."""
        return [key for key in list(app._state_map) if _module(key) is not None]

    def know(self, loaded: Container[str] = ()) -> None:
        """Takes what was loaded for what lasts already; of the other services nothing does."""
        self._known.clear()
        for service in filter(loaded.__contains__, self.services()):
            self._known[service] = {name: digest for name, _, digest in self._entries(service)}

    def journal(self, services: Iterable[str] | None = None) -> None:
        """Journals what has changed of these services, or of all."""
        for service in self.services() if services is None else services:
            with self._lock(service):
                try:
                    self._journal_one(service)
                except TypeError:
                    if service not in self._unsaved:
                        logger.exception("The state of %s cannot be journaled: a kill loses it.", service)
                    self._unsaved.add(service)

    def _journal_one(self, service: str) -> None:
        known = self._known.setdefault(service, {})
        seen = set()
        with self._journal.together():
            for name, text, digest in self._entries(service):
                seen.add(name)
                if known.get(name) != digest:
                    known[name] = digest
                    self._journal.put(service, *name, text)
            for name in known.keys() - seen:
                del known[name]
                self._journal.put(service, *name, None)

    def _entries(self, service: str) -> list[tuple[tuple[str, str], str, bytes]]:
        for _ in range(_ATTEMPTS - 1):
            with suppress(RuntimeError):  # another thread has changed what was just gone through
                return [(name, text, _digest(text)) for name, text in self._encoded(service)]
        return [(name, text, _digest(text)) for name, text in self._encoded(service)]

    def _encoded(self, service: str) -> Iterable[tuple[tuple[str, str], str]]:
        module = _module(service)
        state = _RAW[service]() if service in _RAW else module.get_state()
        for store, content in (state or {}).items():
            if isinstance(content, _SCOPED):
                for key, value in list(content._data.items()):
                    yield (store, key_of(key)), self._codec.encode(value)
            else:
                yield (store, _PLAIN), self._codec.encode(content)

    def _lock(self, service: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(service, threading.Lock())


def restored(base: dict[str, Any], records: Iterable[Record]) -> dict[str, Any]:
    """A service's state: what a clean stop saved, with what was journaled since."""
    state = dict(base)
    for store, key, value in records:
        if key == _PLAIN:
            state[store] = value
            continue
        if not isinstance(state.get(store), _SCOPED):
            regional = len(key) == len(("account", "region", "key"))
            state[store] = AccountRegionScopedDict() if regional else AccountScopedDict()
        if value is None:
            state[store]._data.pop(key, None)
        else:
            state[store]._data[key] = value
    return state


def restored_stacks(base: dict[str, Any], records: Iterable[Record]) -> dict[str, Any]:
    """The stacks: what CloudFormation was doing to one when the process ended has failed."""
    state = restored(base, records)
    for stack in filter(under_way, entries(state, "stacks")):
        doing = stack["StackStatus"]
        stack["StackStatus"] = doing.replace("COMPLETE_CLEANUP_IN_PROGRESS", "COMPLETE").replace(
            "IN_PROGRESS", "FAILED"
        )
        stack["StackStatusReason"] = f"The embedded cloud was ended during {doing}."
    return state


def under_way(stack: dict[str, Any]) -> bool:
    """Whether CloudFormation is at work on the stack."""
    status = str(stack.get("StackStatus", ""))
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"


def entries(state: dict[str, Any], store: str) -> list[Any]:
    """The entries of one store of a service's state, of all accounts and regions."""
    return list(state[store]._data.values()) if isinstance(state.get(store), _SCOPED) else []


def _module(state_key: str) -> Any:
    name = app._state_map[state_key]
    module = app._loaded_modules.get(name) or sys.modules.get(f"ministack.services.{name}")
    return module if hasattr(module, "get_state") else None


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _without(store: Any, *fields: str) -> Any:
    """A scoped store whose entries lack the fields that are journaled by themselves."""
    shown = type(store)()
    for key, entry in list(store._data.items()):
        shown._data[key] = {name: value for name, value in list(entry.items()) if name not in fields}
    return shown


# The stores themselves, where `get_state` would copy or rewrite much, and without what has a journal of its own.
_RAW: dict[str, Callable[[], dict[str, Any]]] = {
    "cloudformation": lambda: {key: store() for store, key in cloudformation._PERSISTED_STORES},
    "cloudwatch": lambda: {
        "alarms": cloudwatch._alarms,
        "composite_alarms": cloudwatch._composite_alarms,
        "composite_triggers": cloudwatch._composite_triggers,
        "alarm_history": cloudwatch._alarm_history,
        "dashboards": cloudwatch._dashboards,
        "resource_tags": cloudwatch._resource_tags,
    },
    "cloudwatch_logs": lambda: {
        "log_groups": _without(cloudwatch_logs._log_groups, "streams"),
        "destinations": cloudwatch_logs._destinations,
        "resource_policies": cloudwatch_logs._resource_policies,
        "log_group_policies": cloudwatch_logs._log_group_policies,
        "metric_filters": cloudwatch_logs._metric_filters,
        "delivery_sources": cloudwatch_logs._delivery_sources,
        "delivery_destinations": cloudwatch_logs._delivery_destinations,
        "deliveries": cloudwatch_logs._deliveries,
    },
    "dynamodb": lambda: {
        "tables": _without(dynamodb._tables, "items", dynamodb._INDEX_MEMBERS, "ItemCount", "TableSizeBytes"),
        "tags": dynamodb._tags,
        "ttl_settings": dynamodb._ttl_settings,
        "pitr_settings": dynamodb._pitr_settings,
        "kinesis_destinations": dynamodb._kinesis_destinations,
        "contributor_insights": dynamodb._contributor_insights,
        "backups": dynamodb._backups,
        "resource_policies": dynamodb._resource_policies,
        "exports": dynamodb._exports,
        "imports": dynamodb._imports,
    },
    "lambda": lambda: {
        "functions": lambda_svc._functions,
        "layers": lambda_svc._layers,
        "esms": lambda_svc._esms,
        "function_urls": lambda_svc._function_urls,
        "kinesis_positions": lambda_svc._kinesis_positions,
        "dynamodb_stream_positions": lambda_svc._dynamodb_stream_positions,
    },
    "sqs": lambda: {
        "queues": _without(sqs._queues, "messages"),
        "queue_name_to_url": sqs._queue_name_to_url,
    },
    "stepfunctions": lambda: {
        "state_machines": stepfunctions._state_machines,
        "tags": stepfunctions._tags,
        "activities": stepfunctions._activities,
        "state_machine_versions": stepfunctions._state_machine_versions,
        "state_machine_aliases": stepfunctions._state_machine_aliases,
        "map_runs": stepfunctions._map_runs,
    },
}
