"""The running containers of one variant: instances in turn, replaced when they die, more or fewer on request."""

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from local.host import Scope
from local.sagemaker import s3
from local.sagemaker.context import Context
from local.sagemaker.hosting import Answer, HostingError, ModelFolder, ModelServer, NotReachableError
from local.sagemaker.plans import VariantPlan

INVOCATION_TIMEOUT = 60
DRAIN_TIMEOUT = INVOCATION_TIMEOUT + 5
REPLACE_DELAY = 0.5
_log = logging.getLogger(__name__)


class BusyError(Exception):
    """A serverless variant has as many requests in hand as its MaxConcurrency allows."""


class Variant:
    """A variant's model on disk and the containers that serve it."""

    def __init__(self, ctx: Context, scope: Scope, endpoint: str, plan: VariantPlan, base: Path) -> None:
        self.plan = plan
        self._ctx = ctx
        self._scope = scope
        self._endpoint = endpoint
        self._servers: list[ModelServer] = []
        self._requests: Counter[ModelServer] = Counter()
        self._changed = threading.Condition()
        self._number = count()
        self._turn = count()
        self._ending = threading.Event()
        try:
            self._folder = ModelFolder(ctx, scope, plan.spec, base)
        except s3.DataError as error:
            raise NotReachableError(
                f"Failed to download model data for container of production variant {plan.name}: {error}"
            ) from error

    @property
    def size(self) -> int:
        """How many containers there are."""
        return len(self._servers)

    def launch(self) -> None:
        """Starts the containers; `wait_ready` waits for them."""
        for _ in range(self.plan.instances):
            self._servers.append(self._server())

    def wait_ready(self) -> None:
        """Returns when every container answers; raises HostingError. From then on those that die are replaced."""
        self._await(self._servers)

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer of the next instance; raises HostingError, and BusyError at a serverless variant's limit."""
        with self._changed:
            limit = self.plan.serverless and self.plan.serverless["MaxConcurrency"]
            if limit and self._requests.total() >= limit:
                raise BusyError(self.plan.name)
            server = self._servers[next(self._turn) % len(self._servers)]
            self._requests[server] += 1
        try:
            return server.invoke(body, headers, INVOCATION_TIMEOUT)
        finally:
            with self._changed:
                self._requests[server] -= 1
                self._changed.notify_all()

    def resize(self, plan: VariantPlan) -> None:
        """Serves as this plan says, whose model is the same; raises HostingError when new instances do not come up."""
        added = [self._server() for _ in range(plan.instances - self.size)]
        try:
            self._await(added)
        except HostingError:
            for server in added:
                server.close()
            raise
        with self._changed:
            self.plan = plan
            self._servers += added
            gone = self._servers[plan.instances :]
            del self._servers[plan.instances :]
            self._changed.wait_for(lambda: not any(self._requests[server] for server in gone), DRAIN_TIMEOUT)
        for server in gone:
            server.close()

    def close(self) -> None:
        """Ends the containers."""
        self._ending.set()
        for server in list(self._servers):
            server.close()

    def _server(self) -> ModelServer:
        server = ModelServer(self._ctx, self._scope, self._folder, next(self._number))
        stream = f"{self.plan.name}/i-{server.container.pid:017x}"
        self._ctx.ship_logs(self._scope, server.container, f"/aws/sagemaker/Endpoints/{self._endpoint}", stream)
        return server

    def _await(self, servers: list[ModelServer]) -> None:
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(self._ready, servers))
        for server in servers:
            self._ctx.run(self._keep, server)

    def _ready(self, server: ModelServer) -> None:
        try:
            server.wait_ready(self.plan.startup_timeout)
        except HostingError as error:
            raise HostingError(
                f"The primary container for production variant {self.plan.name} did not pass the ping health check. "
                f"Please check CloudWatch logs for this endpoint. ({error})"
            ) from error

    def _keep(self, server: ModelServer) -> None:
        """Replaces an instance whose container ends by itself, as hosting does."""
        while True:
            server.container.wait()
            if self._ending.wait(REPLACE_DELAY) or self._ctx.closed.is_set() or server not in self._servers:
                return
            try:
                server = self._replaced(server)
            except Exception as error:  # noqa: BLE001 - tried again for as long as the endpoint lives
                _log.warning("endpoint %s: an instance was not replaced: %s", self._endpoint, error)

    def _replaced(self, dead: ModelServer) -> ModelServer:
        server = self._server()
        try:
            server.wait_ready(self.plan.startup_timeout)
        except HostingError:
            server.close()
            raise
        with self._changed:
            wanted = dead in self._servers and not self._ending.is_set()
            if wanted:
                self._servers[self._servers.index(dead)] = server
        if not wanted:
            server.close()
        return server
