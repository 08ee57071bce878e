"""Which endpoints nobody uses, and which configurations and models nothing needs: decisions from facts alone."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ratchet.domain.identity import endpoint_names
from ratchet.domain.prices import instance_dollars

PROTECT = "ratchet:protect"
PIPELINE = "ratchet:pipeline"
HOURS_A_MONTH = 730
_HOUR = 3600


class LiveEndpoint(NamedTuple):
    """An endpoint as SageMaker and CloudWatch describe it."""

    name: str
    config_name: str
    status: str
    changed: datetime  # made, or last updated
    tags: Mapping[str, str]
    instances: Sequence[tuple[str, int]] = ()  # type and number of each variant; none when it is serverless
    invocations: float | None = None  # of all variants since the limit that was asked for; None: not known

    @property
    def hourly_dollars(self) -> float:
        """What it costs while nobody asks it; types that the price list lacks count as nothing."""
        return sum((instance_dollars(kind, _HOUR) or 0.0) * count for kind, count in self.instances)


class Named(NamedTuple):
    """An endpoint configuration or a model of SageMaker's."""

    name: str
    made: datetime
    tags: Mapping[str, str]
    models: Sequence[str] = ()  # of a configuration


class Pipeline(NamedTuple):
    """What the ledger says of a pipeline, as far as tidying needs it."""

    name: str
    idle_after: timedelta | None  # None: its endpoint is never idle
    owned: bool  # by a run, which may be changing the endpoint
    kept: Sequence[str] = ()  # models of the champion, of earlier champions, and of the run that owns the pipeline


class Limits(NamedTuple):
    """How much one sweep may take, and from what age on."""

    min_age: timedelta = timedelta(hours=1)
    unknown_after: timedelta = timedelta(hours=24)  # for endpoints that no pipeline of the ledger accounts for
    most: int = 10  # endpoints
    most_leftovers: int = 100  # configurations and models, each


class View(NamedTuple):
    """What a sweep judges by: the ledger's pipelines, the stack's names, the time, and its limits."""

    pipelines: Mapping[str, Pipeline]
    prefix: str
    now: datetime
    limits: Limits = Limits()

    def limit_of(self, endpoint: LiveEndpoint) -> timedelta | None:
        """For how long the endpoint may go unasked; None: for ever."""
        pipeline = self.pipelines.get(endpoint.tags.get(PIPELINE, ""))
        if pipeline is None or endpoint.name not in endpoint_names(self.prefix, pipeline.name):
            return max(self.limits.unknown_after, self.limits.min_age)
        return pipeline.idle_after and max(pipeline.idle_after, self.limits.min_age)


def is_ours(name: str, tags: Mapping[str, str], prefix: str) -> bool:
    """Whether this stack made it: by its name and by the tag that only Ratchet sets."""
    return name.startswith(f"{prefix}-") and PIPELINE in tags


def idle(endpoints: Iterable[LiveEndpoint], view: View) -> tuple[list[LiveEndpoint], dict[str, str]]:
    """The endpoints to delete, the dearest first, and those spared though idle, with the reason.

    Nothing but age, traffic, tags and ownership decides: what alarms say is not asked.
    """
    spared: dict[str, str] = {}
    found = []
    for endpoint in endpoints:
        limit = view.limit_of(endpoint)
        if (
            not is_ours(endpoint.name, endpoint.tags, view.prefix)
            or not endpoint.instances
            or limit is None
            or endpoint.status not in ("InService", "Failed", "OutOfService")
            or view.now - endpoint.changed < limit
            or endpoint.invocations is None
            or endpoint.invocations > 0
        ):
            continue
        pipeline = view.pipelines.get(endpoint.tags[PIPELINE])
        if PROTECT in endpoint.tags:
            spared[endpoint.name] = f"it carries the tag {PROTECT}"
        elif pipeline is not None and pipeline.owned:
            spared[endpoint.name] = "a run owns its pipeline"
        else:
            found.append(endpoint)
    found.sort(key=lambda endpoint: (-endpoint.hourly_dollars, endpoint.name))
    for endpoint in found[view.limits.most :]:
        spared[endpoint.name] = f"one sweep deletes {view.limits.most} endpoints at most"
    return found[: view.limits.most], spared


def leftovers(
    configs: Iterable[Named], models: Iterable[Named], in_use: Iterable[str], view: View
) -> tuple[list[Named], list[Named]]:
    """The configurations and models that serve nobody, are no champion's and belong to no run under way, oldest first.

    `in_use` are the configurations of live endpoints. A pipeline that the ledger does not know keeps nothing.
    """
    kept = {name for pipeline in view.pipelines.values() for name in pipeline.kept} | set(in_use)
    busy = {pipeline.name for pipeline in view.pipelines.values() if pipeline.owned}

    def is_left(item: Named, keeping: set[str]) -> bool:
        return (
            is_ours(item.name, item.tags, view.prefix)
            and item.name not in keeping
            and PROTECT not in item.tags
            and item.tags[PIPELINE] not in busy
            and view.now - item.made >= view.limits.min_age
        )

    every = list(configs)
    dropped = sorted((c for c in every if is_left(c, kept)), key=lambda c: c.made)[: view.limits.most_leftovers]
    gone = {config.name for config in dropped}
    needed = {model for config in every if config.name not in gone for model in config.models}
    unused = sorted((m for m in models if is_left(m, kept | needed)), key=lambda m: m.made)
    return dropped, unused[: view.limits.most_leftovers]
