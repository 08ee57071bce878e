"""The journal: what has changed since the last clean stop, in a file that outlives the process.

Changes are kept in the order in which they were made, and `commit` writes all of them that are there, so that the
journal never holds an effect without its cause. Written means: handed to the operating system. That survives any end
of the process, SIGKILL included, though not the machine's loss of power.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    service TEXT NOT NULL,
    store TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    PRIMARY KEY (service, store, key)
) WITHOUT ROWID
"""
_Name = tuple[str, str, str]
_Change = tuple[_Name, str | None, bool]  # the last: whether the record goes without a trace


class Journal:
    """Records by service, store and key; a value of None stands for what was deleted."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._records = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._records.execute("PRAGMA journal_mode = WAL")
        self._records.execute("PRAGMA synchronous = OFF")
        self._records.execute(_SCHEMA)
        self._pending: list[_Change] = []
        self._adding = threading.Lock()
        self._writing = threading.Lock()
        self._group = threading.local()
        self._only: str | None = None

    def put(self, service: str, store: str, key: str, value: str | None) -> None:
        """Adds a change; `commit` makes it last."""
        self._add(((service, store, key), value, False))

    def drop(self, service: str, store: str, key: str) -> None:
        """Removes a record, as if it had never been."""
        self._add(((service, store, key), None, True))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Of the changes that this thread makes meanwhile, all will last or none."""
        if getattr(self._group, "changes", None) is not None:
            yield
            return
        self._group.changes = group = list[_Change]()
        try:
            yield
        finally:
            self._group.changes = None
            self._extend(group)

    def commit(self) -> None:
        """Returns when all that was added before lasts; raises sqlite3.Error when it cannot, and keeps it."""
        if not self._pending and not self._writing.locked():
            return
        with self._writing:
            with self._adding:
                batch, self._pending = self._pending, []
            if not batch:
                return
            try:
                self._write(batch)
            except BaseException:
                with self._adding:
                    self._pending[:0] = batch
                raise

    def records(self, service: str) -> list[tuple[str, str, str | None]]:
        """(store, key, value) of all that lasts of a service."""
        found = self._records.execute("SELECT store, key, value FROM record WHERE service = ?", (service,))
        return found.fetchall()

    def only(self, service: str) -> None:
        """From now on takes changes of this service only: all else is saved elsewhere."""
        with self._adding:
            self._only = service
            self._pending = [change for change in self._pending if change[0][0] == service]

    def forget(self, services: Iterable[str] | None = None) -> None:
        """Empties the journal, or what it holds of some services."""
        with self._writing:
            if services is None:
                with self._adding:
                    self._pending.clear()
                self._records.execute("DELETE FROM record")
            else:
                self._records.executemany("DELETE FROM record WHERE service = ?", [(name,) for name in services])

    def _add(self, change: _Change) -> None:
        group: list[_Change] | None = getattr(self._group, "changes", None)
        if group is not None:
            group.append(change)
        else:
            self._extend([change])

    def _extend(self, changes: Iterable[_Change]) -> None:
        with self._adding:
            self._pending.extend(change for change in changes if self._only in (None, change[0][0]))

    def _write(self, batch: list[_Change]) -> None:
        last = {name: (value, dropped) for name, value, dropped in batch}
        kept = [(*name, value) for name, (value, dropped) in last.items() if not dropped]
        dropped = [name for name, (_, dropped) in last.items() if dropped]
        self._records.execute("BEGIN IMMEDIATE")
        try:
            self._records.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", kept)
            self._records.executemany("DELETE FROM record WHERE service = ? AND store = ? AND key = ?", dropped)
            self._records.execute("COMMIT")
        except BaseException:
            if self._records.in_transaction:
                self._records.execute("ROLLBACK")
            raise
