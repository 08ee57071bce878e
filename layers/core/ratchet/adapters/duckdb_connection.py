"""DuckDB as it runs here: in memory, one folder, no extensions, and settings that stay as they are."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.domain.contract_sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def connection_in(
    folder: Path, process_mb: int, threads: int | None = None, *, in_order: bool = True
) -> Iterator["DuckDBPyConnection"]:
    """A database that reads and writes this folder only.

    `process_mb` is the whole process's memory: DuckDB gets what Python, its buffers and the file's pages leave.
    Unless `in_order`, rows may be written in another order than they were read in, which takes less memory.
    """
    import duckdb  # noqa: PLC0415  (a tenth of a second that a duplicate need not wait for)

    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{max(process_mb // 2, 256)}MB",
            "threads": str(threads or os.cpu_count() or 1),
            "preserve_insertion_order": str(in_order).lower(),
        }
    )
    try:
        connection.execute(
            f"SET TimeZone = 'UTC'; SET temp_directory = {literal(str(folder / 'spill'))};"
            f"SET allowed_directories = [{literal(str(folder))}]; SET enable_external_access = false;"
            "SET lock_configuration = true"
        )
        yield connection
    finally:
        connection.close()
