"""All variants of one endpoint configuration, running: production variants by weight, shadow variants beside them."""

import random
import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from local.host import Scope
from local.sagemaker.context import Context
from local.sagemaker.hosting import Answer
from local.sagemaker.plans import FleetPlan, VariantPlan
from local.sagemaker.variant import DRAIN_TIMEOUT, Variant


class Fleet:
    """Running variants; counts its requests so that none is lost when it ends."""

    def __init__(self, ctx: Context, scope: Scope, endpoint: str, plan: FleetPlan, base: Path) -> None:
        self.scope = scope
        self.endpoint = endpoint
        self._ctx = ctx
        self._plan = plan
        self._base = base
        self._variants: dict[str, Variant] = {}
        self._idle = threading.Condition()
        self._requests = 0

    def start(self) -> None:
        """Fetches the models, starts all containers at once and waits for them; raises HostingError."""
        shutil.rmtree(self._base, ignore_errors=True)
        try:
            for plan in (*self._plan.variants, *self._plan.shadows):
                variant = Variant(self._ctx, self.scope, self.endpoint, plan, self._base / plan.name)
                self._variants[plan.name] = variant
                variant.launch()
            with ThreadPoolExecutor() as pool:
                list(pool.map(Variant.wait_ready, self._variants.values()))
        except BaseException:
            self.close()
            raise

    @property
    def plan(self) -> FleetPlan:
        """What runs, with the weights and instance counts of now."""
        variants, shadows = self._plan.variants, self._plan.shadows
        return replace(self._plan, variants=self._now(variants), shadows=self._now(shadows))

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
        """A production variant's name, by weight."""
        names = [plan.name for plan in self._plan.variants]
        weights = [self._variants[name].plan.weight for name in names]
        if not any(weights):
            return random.choice(names)  # noqa: S311 - traffic, not secrets
        return random.choices(names, weights)[0]  # noqa: S311

    def production(self, name: str) -> VariantPlan | None:
        """The production variant of this name."""
        return self._variants[name].plan if any(plan.name == name for plan in self._plan.variants) else None

    def invoke(self, variant: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer of a variant; raises HostingError or BusyError."""
        return self._variants[variant].invoke(body, headers)

    def size(self, variant: str) -> int:
        """How many containers the variant has."""
        return self._variants[variant].size

    def adopt(self, plans: Sequence[VariantPlan]) -> None:
        """Takes up other weights, instance counts and concurrencies; raises HostingError and keeps the old ones."""
        before = self.plan.variants
        try:
            for plan in plans:
                self._variants[plan.name].resize(plan)
        except BaseException:
            for plan in before:
                self._variants[plan.name].resize(plan)
            raise

    def drain(self) -> None:
        """Waits for the requests under way, then ends the containers."""
        with self._idle:
            self._idle.wait_for(lambda: self._requests == 0, DRAIN_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Ends the containers."""
        for variant in self._variants.values():
            variant.close()
        shutil.rmtree(self._base, ignore_errors=True)

    def _now(self, plans: Sequence[VariantPlan]) -> tuple[VariantPlan, ...]:
        return tuple(self._variants[plan.name].plan if plan.name in self._variants else plan for plan in plans)
