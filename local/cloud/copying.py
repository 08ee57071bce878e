"""A second cloud from the state of a first one: what was deployed and uploaded there is there, at another port.

What is stored once and never changed (S3's objects, code, large parts of the journal) is shared by hard links, so a
copy of a deployed stack takes a fraction of the second that its deployment takes minutes of.
"""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from local.cloud.process import Cloud, free_port

_SHARED = ("s3", "lambda", "journal.blobs")
_COPIED = ("services", "sagemaker", "glue")
_HOSTS = ("localhost", "127.0.0.1")


def copy(cloud: Cloud, state: Path, port: int | None = None) -> Cloud:
    """A stopped cloud that will come up with what the other one holds now.

    The other may run or be stopped, and should be quiet: what it is doing comes back as after a kill.
    """
    settings = replace(cloud.settings, state=state, port=port or free_port())
    state.mkdir(parents=True, exist_ok=True)
    source = cloud.settings.state
    ports = json.loads(cloud.settings.started_file.read_text())["port"], settings.port
    _copy_journal(cloud.settings.journal_file, settings.journal_file, *ports)
    for name in (*_SHARED, *_COPIED):
        if (source / name).exists():
            shutil.copytree(source / name, state / name, copy_function=_link if name in _SHARED else shutil.copy2)
    for file in (state / "services").glob("*.json"):
        file.write_text(_moved(file.read_text(), *ports))
    return Cloud(settings)


def _copy_journal(source: Path, target: Path, old: int, new: int) -> None:
    """Addresses of queues and APIs name the port."""
    if not source.exists():
        return
    with closing(sqlite3.connect(source)) as found, closing(sqlite3.connect(target)) as made:
        found.backup(made)
        with made:
            for host in _HOSTS:
                before, after = f"{host}:{old}", f"{host}:{new}"
                made.execute(
                    "UPDATE record SET key = replace(key, ?, ?), value = replace(value, ?, ?)",
                    (before, after, before, after),
                )


def _moved(text: str, old: int, new: int) -> str:
    for host in _HOSTS:
        text = text.replace(f"{host}:{old}", f"{host}:{new}")
    return text


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        return  # replaced meanwhile, as objects are when they are written again
    except OSError:  # another file system
        shutil.copy2(source, target)
