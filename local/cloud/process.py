"""Starts, watches and stops an embedded cloud, and hands out clients of it."""

import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path

from local.cloud.launch import server_environment
from local.cloud.settings import REPOSITORY, CloudSettings

__all__ = ["Cloud", "CloudError", "CloudSettings", "CloudStatus", "free_port"]

_SECRET_KEY = "test"  # noqa: S105  MiniStack's fixed secret of every account's root
_POLL_SECONDS = 0.02
_TAIL_LINES = 20
_HEALTH_TIMEOUT_SECONDS = 2
_KILL_SECONDS = 10


class CloudError(Exception):
    """The embedded cloud could not be started or stopped; the message says why."""


@dataclass(frozen=True)
class CloudStatus:
    """What is known of an instance; everything but `running` and `healthy` is None when it does not run."""

    running: bool
    healthy: bool = False
    pid: int | None = None
    port: int | None = None
    since: datetime | None = None
    version: str | None = None


class Cloud:
    """A running or stopped embedded cloud, identified by its state folder."""

    def __init__(self, settings: CloudSettings) -> None:
        # Absolute, for the server has another working directory; not resolved, for a venv's python is a link.
        values = {field.name: getattr(settings, field.name) for field in fields(settings)}
        paths: dict[str, Any] = {name: path.absolute() for name, path in values.items() if isinstance(path, Path)}
        self.settings = settings = replace(settings, **paths)
        self.endpoint_url = settings.endpoint_url
        self.log_file = settings.log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: boto3.Session | None = None
        self._making_clients = threading.Lock()

    def up(self, timeout: float = 30) -> None:
        """Starts the cloud detached and waits until it answers; does nothing when it already runs."""
        status = self.status()
        if not status.running:
            self._require_free_port()
            self._start()
        elif status.port != self.settings.port:
            raise CloudError(f"The embedded cloud of {self.settings.state} already runs, on port {status.port}.")
        if not _until(self._answers, timeout):
            raise CloudError(f"The embedded cloud did not answer in {timeout:.0f} s.\n{self._log_tail()}")

    def down(self, timeout: float = 30) -> None:
        """Stops the cloud and waits until its state is saved; does nothing when it does not run."""
        pid = self._pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        if not _until(lambda: self._pid() is None, timeout):
            raise CloudError(f"The embedded cloud (process {pid}) is still saving its state after {timeout:.0f} s.")
        if self._process is not None:
            self._process.wait(timeout)

    def kill(self) -> None:
        """Ends the cloud at once, by SIGKILL; what it has acknowledged is there after the next `up`."""
        pid = self._pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        if self._process is not None and self._process.pid == pid:
            self._process.wait()
        _until(lambda: self._pid() is None, _KILL_SECONDS)

    def status(self) -> CloudStatus:
        """Whether the cloud runs, since when, and where."""
        pid = self._pid()
        if pid is None:
            return CloudStatus(running=False)
        started = json.loads(self.settings.started_file.read_text())
        return CloudStatus(
            running=True,
            healthy=_healthy(started["port"]),
            pid=pid,
            port=started["port"],
            since=datetime.fromisoformat(started["since"]),
            version=started["version"],
        )

    def session(self) -> boto3.Session:
        """A session as the account's root, untouched by the caller's AWS profile, variables and certificates."""
        core = botocore.session.Session()
        for name, value in {
            "profile": "default",
            "config_file": str(self._aws_file("config")),
            "credentials_file": str(self._aws_file("credentials")),
            "ca_bundle": _certificates(),
        }.items():
            core.set_config_variable(name, value)
        core.set_default_client_config(Config(proxies={}))
        return _Session(self.endpoint_url, core)

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of one service, as the account's root."""
        with self._making_clients:  # a session may be shared by threads, making clients of it may not
            self._clients = self._clients or self.session()
            return self._clients.client(service, **options)  # type: ignore[call-overload]

    def environment(self) -> dict[str, str]:
        """Variables to lay over a process's own, so that its AWS calls reach this cloud and nothing else."""
        loopback = "127.0.0.1,localhost"
        outside = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), loopback]))
        return {
            **{name: self.endpoint_url for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")},
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
            "AWS_ACCESS_KEY_ID": self.settings.account,
            "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
            "AWS_SESSION_TOKEN": "",
            "AWS_REGION": self.settings.region,
            "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_PROFILE": "default",
            "AWS_CONFIG_FILE": str(self._aws_file("config")),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._aws_file("credentials")),
            "AWS_CA_BUNDLE": _certificates(),
            "AWS_USE_FIPS_ENDPOINT": "false",
            "AWS_USE_DUALSTACK_ENDPOINT": "false",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": outside,
            "no_proxy": outside,
        }

    def _start(self) -> None:
        self.settings.state.mkdir(parents=True, exist_ok=True)
        options = [
            argument
            for field in fields(self.settings)
            for argument in (f"--{field.name.replace('_', '-')}", str(getattr(self.settings, field.name)))
        ]
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.cloud", *options],
                cwd=REPOSITORY,
                env=server_environment(self.settings, os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        if self._process is not None and (code := self._process.poll()) is not None:
            raise CloudError(f"The embedded cloud ended with exit code {code}.\n{self._log_tail()}")
        return self.status().healthy

    def _pid(self) -> int | None:
        """The server's process id, or None: the lock it holds cannot outlive it, as a process id's file could."""
        try:
            with self.settings.pid_file.open() as pid_file:
                try:
                    fcntl.flock(pid_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(pid_file.read() or 0) or None
                return None
        except FileNotFoundError:
            return None

    def _require_free_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.settings.port))
            except OSError as error:
                raise CloudError(f"Port {self.settings.port} is taken: choose another. ({error.strerror})") from error

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join([f"The end of {self.log_file}:", *lines[-_TAIL_LINES:]])

    def _aws_file(self, name: str) -> Path:
        """An AWS configuration file of this cloud's own: some tools insist on a profile that exists."""
        settings = self.settings
        keys = f"aws_access_key_id = {settings.account}\naws_secret_access_key = {_SECRET_KEY}\n"
        text = "[default]\n" + {"config": f"region = {settings.region}\n", "credentials": keys}[name]
        path = settings.state / "aws" / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path


class _Session(boto3.Session):
    """A session whose clients all use one endpoint, whatever the environment says."""

    def __init__(self, endpoint_url: str, core: botocore.session.Session) -> None:
        super().__init__(botocore_session=core)
        self._endpoint_url = endpoint_url

    def client(self, *args: Any, **options: Any) -> Any:
        return super().client(*args, **{"endpoint_url": self._endpoint_url, **options})

    def resource(self, *args: Any, **options: Any) -> Any:
        return super().resource(*args, **{"endpoint_url": self._endpoint_url, **options})


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _certificates() -> str:
    return str(get_cert_path(True))


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _until(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
