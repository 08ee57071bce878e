"""The containers behind one endpoint configuration: variants by weight, instances in turn."""

import logging
import random
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from local.host import Scope
from local.sagemaker import s3
from local.sagemaker.context import Context
from local.sagemaker.hosting import (
    STARTUP_TIMEOUT,
    Answer,
    HostingError,
    ModelFolder,
    ModelServer,
    ModelSpec,
    NotReachableError,
)
from local.sagemaker.store import Record

INVOCATION_TIMEOUT = 60
DRAIN_TIMEOUT = INVOCATION_TIMEOUT + 5
REPLACE_DELAY = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VariantPlan:
    """What an endpoint configuration says of a variant, and the model it names."""

    name: str
    spec: ModelSpec
    weight: float
    instances: int
    serverless: Record | None
    startup_timeout: float

    def summary(self, at: float) -> Record:
        """The variant as DescribeEndpoint shows it."""
        image = {"SpecifiedImage": self.spec.image, "ResolvedImage": self.spec.image, "ResolutionTime": at}
        shown: Record = {
            "VariantName": self.name,
            "DeployedImages": [image],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": 0 if self.serverless else self.instances,
            "DesiredInstanceCount": 0 if self.serverless else self.instances,
        }
        if self.serverless:
            shown.update(CurrentServerlessConfig=self.serverless, DesiredServerlessConfig=self.serverless)
        return shown


@dataclass(frozen=True)
class FleetPlan:
    """An endpoint configuration with its models."""

    config: str
    variants: tuple[VariantPlan, ...]

    def summary(self) -> list[Record]:
        """The variants as DescribeEndpoint shows them."""
        now = time.time()
        return [plan.summary(now) for plan in self.variants]

    def with_properties(self, shown: Sequence[Record], excluded: Sequence[Record] = ()) -> "FleetPlan":
        """With the desired weights and instance counts of these variants, as DescribeEndpoint shows them."""
        leave_out = {item["VariantPropertyType"] for item in excluded}
        current = {variant["VariantName"]: variant for variant in shown}
        return replace(self, variants=tuple(_like(plan, current.get(plan.name), leave_out) for plan in self.variants))


def _like(plan: VariantPlan, shown: Record | None, leave_out: set[str]) -> VariantPlan:
    if shown and "DesiredWeight" not in leave_out:
        plan = replace(plan, weight=shown["DesiredWeight"])
    if shown and "DesiredInstanceCount" not in leave_out and not plan.serverless and shown["DesiredInstanceCount"]:
        plan = replace(plan, instances=shown["DesiredInstanceCount"])
    return plan


class Fleet:
    """Running containers of all variants; counts its requests so that none is lost when it ends."""

    def __init__(self, ctx: Context, scope: Scope, endpoint: str, plan: FleetPlan, base: Path) -> None:
        self.plan = plan
        self.plans = {variant.name: variant for variant in plan.variants}
        self._ctx = ctx
        self.scope = scope
        self.endpoint = endpoint
        self._base = base
        self._servers: dict[str, list[ModelServer]] = {}
        self._folders: dict[str, ModelFolder] = {}
        self._number = count()
        self._turn = count()
        self._idle = threading.Condition()
        self._requests = 0
        self._ending = threading.Event()

    def start(self) -> None:
        """Fetches the models, starts all containers at once and waits for them; raises HostingError."""
        shutil.rmtree(self._base, ignore_errors=True)
        try:
            for plan in self.plans.values():
                self._start_variant(plan)
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(self._ready, self._pairs()))
        except BaseException:
            self.close()
            raise
        for name, servers in self._servers.items():
            for place in range(len(servers)):
                self._ctx.run(self._keep, self.plans[name], place)

    def enter(self) -> None:
        """A request has been given to this fleet."""
        with self._idle:
            self._requests += 1

    def leave(self) -> None:
        """The request has been answered."""
        with self._idle:
            self._requests -= 1
            self._idle.notify_all()

    def pick(self) -> str:
        """A variant's name, by weight."""
        names = list(self.plans)
        weights = [self.plans[name].weight for name in names]
        if not any(weights):
            return random.choice(names)  # noqa: S311 - traffic, not secrets
        return random.choices(names, weights)[0]  # noqa: S311

    def invoke(self, variant: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer of the variant's next instance."""
        servers = self._servers[variant]
        return servers[next(self._turn) % len(servers)].invoke(body, headers, INVOCATION_TIMEOUT)

    def size(self, variant: str) -> int:
        """How many containers the variant has."""
        return len(self._servers[variant])

    def drain(self) -> None:
        """Waits for the requests under way, then ends the containers."""
        with self._idle:
            self._idle.wait_for(lambda: self._requests == 0, DRAIN_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Ends the containers."""
        self._ending.set()
        for _, server in self._pairs():
            server.close()
        shutil.rmtree(self._base, ignore_errors=True)

    def _start_variant(self, plan: VariantPlan) -> None:
        try:
            folder = ModelFolder(self._ctx, self.scope, plan.spec, self._base / plan.name)
        except s3.DataError as error:
            raise NotReachableError(
                f"Failed to download model data for container of production variant {plan.name}: {error}"
            ) from error
        self._folders[plan.name] = folder
        self._servers[plan.name] = []
        for _ in range(plan.instances):
            self._servers[plan.name].append(self._server(plan))

    def _server(self, plan: VariantPlan) -> ModelServer:
        server = ModelServer(self._ctx, self.scope, self._folders[plan.name], next(self._number))
        stream = f"{plan.name}/i-{server.container.pid:017x}"
        self._ctx.ship_logs(self.scope, server.container, f"/aws/sagemaker/Endpoints/{self.endpoint}", stream)
        return server

    def _keep(self, plan: VariantPlan, place: int) -> None:
        """Replaces an instance whose container ends by itself, as hosting does."""
        servers = self._servers[plan.name]
        while True:
            servers[place].container.wait()
            if self._ending.wait(REPLACE_DELAY) or self._ctx.closed.is_set():
                return
            try:
                servers[place] = self._replacement(plan)
            except Exception as error:  # noqa: BLE001 - tried again for as long as the endpoint lives
                _log.warning("endpoint %s: an instance was not replaced: %s", self.endpoint, error)
            if self._ending.is_set():
                servers[place].close()

    def _replacement(self, plan: VariantPlan) -> ModelServer:
        server = self._server(plan)
        try:
            server.wait_ready(plan.startup_timeout)
        except HostingError:
            server.close()
            raise
        return server

    def _ready(self, pair: tuple[VariantPlan, ModelServer]) -> None:
        plan, server = pair
        try:
            server.wait_ready(plan.startup_timeout)
        except HostingError as error:
            raise HostingError(
                f"The primary container for production variant {plan.name} did not pass the ping health check. "
                f"Please check CloudWatch logs for this endpoint. ({error})"
            ) from error

    def _pairs(self) -> list[tuple[VariantPlan, ModelServer]]:
        return [(self.plans[name], server) for name, servers in self._servers.items() for server in servers]


def variant_plan(variant: Record, spec: ModelSpec) -> VariantPlan:
    """A variant of an endpoint configuration, with its model."""
    serverless = variant.get("ServerlessConfig")
    return VariantPlan(
        name=variant["VariantName"],
        spec=spec,
        weight=variant.get("InitialVariantWeight", 1.0),
        instances=1 if serverless else variant["InitialInstanceCount"],
        serverless=serverless,
        startup_timeout=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_TIMEOUT),
    )
