"""Runs MiniStack in the foreground, with our engines, their adapters and the repairs."""

import fcntl
import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TextIO

from local.cloud.settings import MINISTACK_VERSION, CloudSettings
from local.guard import GUARD

_LOCK_ATTEMPTS = 50
_LOCK_INTERVAL_SECONDS = 0.02
_SERVER_MODULES = (
    "ministack.app",
    "local.cloud.repairs",
    "local.cloud.disturbance",
    "local.cloud.observation",
    "local.cloud.injection",
    "local.cloud.adapter",
)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


def server_environment(settings: CloudSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of the server and of the Lambda functions that inherit it.

    Of the host only what a program needs to start is kept: a host's proxies, certificates, PYTHONPATH or AWS profile
    would make functions behave in ways they never would on AWS.
    """
    state = settings.state
    return {
        "LANG": "C.UTF-8",
        **{name: inherited[name] for name in _INHERITED if name in inherited},
        "TZ": "UTC",
        "TMPDIR": str(state / "tmp"),
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "MINISTACK_HOST": "localhost",
        "MINISTACK_ACCOUNT_ID": settings.account,
        "MINISTACK_REGION": settings.region,
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(state / "services"),
        "S3_DATA_DIR": str(state / "s3"),
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": settings.account,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def run(settings: CloudSettings) -> None:
    """Serves until SIGTERM or SIGINT, then saves all state; raises SystemExit when it cannot start."""
    _require(settings)
    with _own(settings) as pid_file:
        _prepare(settings)
        # Last, so that whoever sees the process id reads the settings of this start and not of the one before.
        pid_file.write(str(os.getpid()))
        pid_file.flush()
        if os.getpgrp() == os.getpid():  # started as `Cloud` does, or by a shell: functions run in this group
            GUARD.watch(os.getpgrp())
        # MiniStack reads its settings while it is imported, so nothing of it may be imported before this line.
        app, repairs, disturbance, observation, injection, adapter = map(importlib.import_module, _SERVER_MODULES)
        repairs.apply(settings)
        disturbance.apply(settings)
        observation.apply(settings)
        injection.apply(settings)
        with adapter.apply(settings):
            sys.argv = ["ministack"]
            app.main()


def _require(settings: CloudSettings) -> None:
    if (found := version("ministack")) != MINISTACK_VERSION:
        raise SystemExit(
            f"The embedded cloud is written for MiniStack {MINISTACK_VERSION}, and {found} is installed: "
            f"its adapter and repairs rest on that version's internals. Run `make setup`."
        )
    for python in (settings.lambda_python, settings.training_python, settings.glue_python):
        if not python.exists():
            raise SystemExit(f"No interpreter at {python}. Run `make setup`.")


def _own(settings: CloudSettings) -> TextIO:
    """The state folder's pid file, locked: two servers on one folder would overwrite each other's state."""
    settings.state.mkdir(parents=True, exist_ok=True)
    pid_file = settings.pid_file.open("a+")
    for _ in range(_LOCK_ATTEMPTS):
        with suppress(BlockingIOError):  # a status query holds the lock for an instant
            fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        time.sleep(_LOCK_INTERVAL_SECONDS)
    else:
        raise SystemExit(f"Another embedded cloud is running on {settings.state}.")
    pid_file.truncate(0)
    return pid_file


def _prepare(settings: CloudSettings) -> None:
    temporary = settings.state / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # MiniStack leaves the folders of its Lambda workers behind
    temporary.mkdir()
    environment = server_environment(settings, os.environ)
    os.environ.clear()
    os.environ.update(environment)
    started = {
        "port": settings.port,
        "account": settings.account,
        "region": settings.region,
        "version": MINISTACK_VERSION,
        "since": datetime.now(UTC).isoformat(),
    }
    settings.started_file.write_text(json.dumps(started))
