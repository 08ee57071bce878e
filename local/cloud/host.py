"""MiniStack as the cloud around an engine: role sessions, clients, events, logs and metrics, in its own process."""

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config
from ministack.core.responses import request_scope
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge, sts

from local.cloud.settings import CloudSettings
from local.host import Metric, Scope

_LISTEN_TIMEOUT_SECONDS = 10
_LISTEN_INTERVAL_SECONDS = 0.02
_CONNECTIONS = 32


class MiniStackHost:
    """The `Host` of one service, whose role sessions carry the name that the service uses on AWS."""

    def __init__(self, settings: CloudSettings, session_name: str) -> None:
        self._settings = settings
        self._session_name = session_name
        self._session = boto3.Session()
        self._clients: dict[tuple[Scope, str, str], Any] = {}
        self._lock = threading.Lock()
        self._listening = threading.Event()

    def environment(self, scope: Scope, role_arn: str) -> Mapping[str, str]:
        """The AWS variables of a process that runs as the role."""
        self._await_listening()
        return {
            **self._credentials(role_arn),
            "AWS_ENDPOINT_URL": self._settings.endpoint_url,
            "AWS_REGION": scope.region,
            "AWS_DEFAULT_REGION": scope.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, scope: Scope, service: str, role_arn: str) -> Any:
        """A client that acts as the role; the same one for the same role, for making one takes 50 ms."""
        self._await_listening()
        credentials = self._credentials(role_arn)
        with self._lock:
            key = (scope, service, role_arn)
            if key not in self._clients:
                self._clients[key] = self._session.client(  # type: ignore[call-overload]
                    service,
                    region_name=scope.region,
                    endpoint_url=self._settings.endpoint_url,
                    aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=credentials["AWS_SESSION_TOKEN"],
                    config=Config(max_pool_connections=_CONNECTIONS),
                )
            return self._clients[key]

    def emit(
        self, scope: Scope, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]
    ) -> None:
        """Puts an event of an AWS service on the default bus."""
        entry = {
            "Source": source,
            "DetailType": detail_type,
            "Resources": list(resources),
            "Detail": json.dumps(detail),
        }
        with request_scope(scope.account, scope.region):
            eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    def log(self, scope: Scope, group: str, stream: str, lines: Sequence[str]) -> None:
        """Writes lines to CloudWatch Logs, which knows no empty message."""
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in lines if line.strip()]
        names = {"logGroupName": group, "logStreamName": stream}
        with request_scope(scope.account, scope.region):
            # Both answer an error that may be ignored when there is one already.
            cloudwatch_logs._create_log_group({"logGroupName": group})
            cloudwatch_logs._create_log_stream(names)
            cloudwatch_logs._put_log_events({**names, "logEvents": events})

    def measure(self, scope: Scope, namespace: str, metrics: Sequence[Metric]) -> None:
        """Stores metrics as PutMetricData does with Values and Counts, so that percentiles can be asked for."""
        now = time.time()
        with request_scope(scope.account, scope.region):
            for metric in metrics:
                counted = {"values": list(metric.values), "counts": list(metric.values.values())}
                named = {"namespace": namespace, "name": metric.name, "dims": dict(metric.dimensions)}
                cloudwatch._store_datum(**named, ts=now, unit=metric.unit, value=None, **counted, stat_values=None)

    def _credentials(self, role_arn: str) -> dict[str, str]:
        """A session of the role, the same at every call: MiniStack keeps each session for ever."""
        account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
        digest = hashlib.sha256(f"{self._session_name}:{role_arn}".encode()).hexdigest()
        secret, token = (hashlib.sha256(f"{part}:{digest}".encode()).hexdigest() for part in ("secret", "token"))
        key = f"ASIA{digest[:16].upper()}"
        session = {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{self._session_name}",
            "UserId": f"{role}:{self._session_name}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        }
        sts.register_session(key, session)
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    def _await_listening(self) -> None:
        """Waits until the port answers: state is restored, and work resumed, before MiniStack listens."""
        deadline = time.monotonic() + _LISTEN_TIMEOUT_SECONDS
        while not self._listening.is_set() and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._settings.port)) == 0:
                    self._listening.set()
                    return
            time.sleep(_LISTEN_INTERVAL_SECONDS)
