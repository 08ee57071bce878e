"""Validation's engine: DuckDB reads the file in parallel and out of memory, and runs the contract's SQL."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from ratchet.adapters.duckdb_connection import connection_in
from ratchet.adapters.duckdb_judging import Rows, judge_rows
from ratchet.adapters.duckdb_sources import Source, parquet_source, text_source
from ratchet.adapters.upload_file import FileRejected, as_utf8, is_packed, recognise, unpack
from ratchet.domain.contract_sql import Plan
from ratchet.domain.data_contract import DataSection
from ratchet.domain.errors import UploadTooLargeError
from ratchet.domain.validation import Judgement, Reading

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FILES_AT_ONCE = 4  # unpacked, cut into pieces, at worst once more as a sample, and as Parquet


class DuckDbValidator:
    """Judges files against data contracts; writes accepted and quarantined rows beside them as Parquet."""

    def __init__(self, memory_mb: int = 2048, threads: int | None = None, most_bytes: int | None = None) -> None:
        """`memory_mb` is the whole process's.

        A file of more than `most_bytes`, unpacked, is an UploadTooLargeError; so is one that fills the disk."""
        self._memory_mb = memory_mb
        self._threads = threads or os.cpu_count() or 1
        self._most_bytes = most_bytes

    def __call__(self, file: Path, data: DataSection, upload_id: str, received: datetime) -> Judgement:
        """Judges `file`, alone in its folder, which arrived at `received`. Unless rejected, `accepted.parquet` then
        lies beside it, and `quarantine.parquet` when it has bad rows. Large files' rows are in order within each of
        Parquet's row groups only: sort by `ratchet_line` where order matters."""
        room = self._room(file.parent)
        try:
            with (
                _full_disk_is_too_large(file, room),
                connection_in(file.parent, self._memory_mb, self._threads, in_order=False) as connection,
            ):
                source = self._source(connection, file, data, room)
                rows = Rows(connection, Plan(data, source.columns), file.parent, upload_id)
                return judge_rows(rows, source, received)
        except FileRejected as rejected:
            return Judgement(finding=rejected.finding)

    def _room(self, folder: Path) -> int:
        room = disk_usage(folder).free // _FILES_AT_ONCE
        return room if self._most_bytes is None else min(room, self._most_bytes)

    def _source(self, connection: "DuckDBPyConnection", file: Path, data: DataSection, room: int) -> Source:
        folder, packed = file.parent, is_packed(file)
        plain = unpack(file, folder / "unpacked", room)
        recognise(plain, data)
        if data.format == "parquet":
            return parquet_source(connection, plain, data, Reading(format="parquet", packed=packed))
        text = as_utf8(plain, data, folder / "utf-8")
        detected = ("encoding",) if text.detected else ()
        reading = Reading(format=data.format, packed=packed, encoding=text.encoding, detected=detected)
        return text_source(connection, text.path, data, reading, self._threads)


@contextmanager
def _full_disk_is_too_large(file: Path, room: int) -> Iterator[None]:
    """Neither a full disk nor more to sort than memory and disk hold is an error of ours: elsewhere is more room."""
    import duckdb  # noqa: PLC0415

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UploadTooLargeError(file.stat().st_size, room) from error
        raise
    except duckdb.OutOfMemoryException as error:
        raise UploadTooLargeError(file.stat().st_size, room) from error
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise UploadTooLargeError(file.stat().st_size, room) from error
        raise
