"""One serving container: its model data, its process, and requests to it."""

import contextlib
import http.client
import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.host import Scope
from local.sagemaker import s3
from local.sagemaker.containers import Container, base_environment
from local.sagemaker.context import Context
from local.sagemaker.store import Record

_OPT_ML = "/opt/ml"
STARTUP_TIMEOUT = 480
_POLL = 0.005


class HostingError(Exception):
    """A container did not come up, or did not answer (in time)."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class NotReachableError(HostingError):
    """The model data, or the role that reads it, could not be used; this may pass."""


@dataclass(frozen=True)
class ModelSpec:
    """What a Model says of its container."""

    name: str
    image: str
    role_arn: str
    data: Record | None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A container's answer to one request."""

    status: int
    content_type: str
    body: bytes
    attributes: str | None = None


class ModelFolder:
    """A model's data on disk, in the layout of /opt/ml; containers of one model share it."""

    def __init__(self, ctx: Context, scope: Scope, spec: ModelSpec, base: Path) -> None:
        self.base = base
        self.spec = spec
        model = base / "model"
        client = ctx.host.client(scope, "s3", spec.role_arn)
        if spec.data is None:
            model.mkdir(parents=True)
        elif spec.data["CompressionType"] == "Gzip":
            s3.extract(client, spec.data["S3Uri"], model)
        else:
            s3.download_all(client, {**spec.data, "S3DataType": "S3Prefix"}, model)


class ModelServer:
    """A running serving container; requests reuse its connections."""

    def __init__(
        self, ctx: Context, scope: Scope, folder: ModelFolder, number: int = 0, extra: Mapping[str, str] | None = None
    ) -> None:
        self._port_file = folder.base / f"port-{number}"
        self._connections: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._port = 0
        base, spec = str(folder.base), folder.spec
        environment = {
            **base_environment(),
            "HOME": base,
            **ctx.host.environment(scope, spec.role_arn),
            "SM_MODEL_DIR": f"{base}/model",
            "SAGEMAKER_REGION": scope.region,
            **spec.environment,
            **(extra or {}),
            "SAGEMAKER_BASE_DIR": base,
            "SAGEMAKER_BIND_TO_PORT": "0",
            "SAGEMAKER_PORT_FILE": str(self._port_file),
        }
        if (code := environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")).startswith(_OPT_ML):
            environment["SAGEMAKER_SUBMIT_DIRECTORY"] = base + code.removeprefix(_OPT_ML)
        self.container: Container = ctx.start(
            [str(Path(__file__).with_name("serving.py"))],
            cwd=folder.base / "model",
            env=environment,
            log=folder.base / f"log-{number}",
        )

    def wait_ready(self, timeout: float) -> None:
        """Returns when the model is loaded and `/ping` answers; raises HostingError when that does not happen."""
        deadline = time.monotonic() + timeout
        while not self._port_file.exists():
            if self.container.wait(_POLL) is not None:
                raise HostingError("the container ended before it answered /ping")
            if time.monotonic() > deadline:
                raise HostingError(f"the container did not answer /ping within {timeout:g} seconds")
        self._port = int(self._port_file.read_text())
        if self._send("GET", "/ping", b"", {}, timeout).status != http.client.OK:
            raise HostingError("the container's /ping did not answer 200")

    def invoke(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        """The answer of `/invocations`, whatever its status; raises HostingError when there is none."""
        return self._send("POST", "/invocations", body, headers, timeout)

    def close(self) -> None:
        """Ends the container."""
        self.container.stop(5)
        with contextlib.suppress(queue.Empty):
            while True:
                self._connections.get_nowait().close()

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        connection = self._connection(timeout)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            answer = Answer(
                response.status,
                response.getheader("Content-Type") or "application/octet-stream",
                response.read(),
                response.getheader("X-Amzn-SageMaker-Custom-Attributes"),
            )
        except TimeoutError as error:
            connection.close()
            raise HostingError(
                f"Your invocation timed out while waiting for a response from container primary ({timeout:g} seconds).",
                timed_out=True,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise HostingError(f"{type(error).__name__}: {error}") from error
        self._connections.put(connection)
        return answer

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        try:
            connection = self._connections.get_nowait()
        except queue.Empty:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        if connection.sock:
            connection.sock.settimeout(timeout)
        return connection
