"""Clean Up: what nobody asks and nothing needs is deleted, and people are told what that saves."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from ratchet.contracts.cleanup import CleanupReport, DeletedEndpoint
from ratchet.contracts.run import Announcement
from ratchet.domain.deploy_section import CompiledDeploy
from ratchet.domain.errors import BusyError
from ratchet.domain.fields import format_duration
from ratchet.domain.idling import HOURS_A_MONTH, PIPELINE, Limits, LiveEndpoint, Named, Pipeline, View, idle, leftovers
from ratchet.domain.ledger import Ledger, PipelineState
from ratchet.domain.ports import Clock, Endpoints, Hosting, ObjectStore, Publisher
from ratchet.domain.settling import remove

KEPT_CHAMPIONS = 3  # the present one among them: what `ratchet rollback` can go back to


@dataclass(frozen=True)
class CleanUp:
    """One sweep over all that SageMaker hosts for this stack."""

    ledger: Ledger
    store: ObjectStore
    hosting: Hosting
    endpoints: Endpoints
    publisher: Publisher
    clock: Clock
    resource_prefix: str
    limits: Limits = field(default_factory=Limits)

    def __call__(self, *, dry_run: bool) -> CleanupReport:
        """Deletes, or with `dry_run` only says what it would delete."""
        states = {state.pipeline: state for state in self.ledger.pipelines()}
        known = {name: self._pipeline(state) for name, state in states.items()}
        view = View(known, self.resource_prefix, self.clock(), self.limits)
        live = [self._measured(endpoint, view) for endpoint in self.hosting.endpoints(self.resource_prefix)]
        doomed, spared = idle(live, view)
        gone = {endpoint.name for endpoint in doomed}
        in_use = [endpoint.config_name for endpoint in live if endpoint.name not in gone]
        configs, models = leftovers(
            self.hosting.configs(self.resource_prefix), self.hosting.models(self.resource_prefix), in_use, view
        )
        report = CleanupReport(
            dry_run=dry_run,
            endpoints=tuple(_deleted(endpoint, view) for endpoint in doomed),
            configs=tuple(config.name for config in configs),
            models=tuple(model.name for model in models),
            spared=spared,
            hourly_dollars=sum(endpoint.hourly_dollars for endpoint in doomed),
        )
        return report if dry_run else self._carry_out(report, states, [*configs, *models])

    def _carry_out(
        self, planned: CleanupReport, states: dict[str, PipelineState], items: Sequence[Named]
    ) -> CleanupReport:
        """Deletes what was planned; the report of what really went."""
        waiting: list[str] = []

        def went(name: str, delete: Callable[[], bool]) -> bool:
            try:
                return delete()
            except BusyError as error:
                waiting.append(f"{name}: {error}")
                return False

        endpoints = tuple(e for e in planned.endpoints if went(e.name, partial(self._put_down, e, states)))
        configs = tuple(name for name in planned.configs if went(name, partial(self.hosting.delete_config, name)))
        models = tuple(name for name in planned.models if went(name, partial(self.hosting.delete_model, name)))
        self._tell_leftovers(items, Counter([*configs, *models]))
        return planned.model_copy(
            update={
                "endpoints": endpoints,
                "configs": configs,
                "models": models,
                "waiting": tuple(waiting),
                "hourly_dollars": sum(endpoint.hourly_dollars for endpoint in endpoints),
            }
        )

    def _put_down(self, endpoint: DeletedEndpoint, states: dict[str, PipelineState]) -> bool:
        """Deletes an endpoint. A champion's is first noted as asleep, so that nobody takes it for lost; False when a
        run took the pipeline meanwhile."""
        state = states.get(endpoint.pipeline)
        champion = state.champion if state else None
        if (
            champion is not None
            and champion.endpoint_name == endpoint.name
            and not self.ledger.put_to_sleep(endpoint.pipeline, champion.model_name, self.clock())
        ):
            return False
        remove(self.endpoints, endpoint.name)
        monthly = endpoint.hourly_dollars * HOURS_A_MONTH
        self.publisher.announce(
            "Endpoint Deleted",
            Announcement(
                pipeline=endpoint.pipeline,
                subject=f"{endpoint.pipeline}: idle endpoint deleted",
                sentence=f"{endpoint.name} was deleted because {endpoint.because}; that saves "
                f"${endpoint.hourly_dollars:.2f} an hour, ${monthly:.0f} a month. The champion stays: "
                "the next request starts it again.",
                numbers={"dollars an hour": endpoint.hourly_dollars, "dollars a month": monthly},
                links={"start it now": f"ratchet wake {endpoint.pipeline}"},
            ),
        )
        return True

    def _tell_leftovers(self, items: Sequence[Named], gone: Counter[str]) -> None:
        """One announcement for each pipeline; configurations and models cost nothing, and say so."""
        of = Counter[str]()
        for item in items:
            if gone[item.name]:
                of[item.tags[PIPELINE]] += 1
        for pipeline, count in of.items():
            self.publisher.announce(
                "Leftovers Deleted",
                Announcement(
                    pipeline=pipeline,
                    subject=f"{pipeline}: leftovers deleted",
                    sentence=f"{count} endpoint configurations and models of {pipeline} that neither serve nor are "
                    f"one of its last {KEPT_CHAMPIONS} champions were deleted; they cost nothing.",
                    numbers={"deleted": count, "dollars a month": 0.0},
                ),
            )

    def _pipeline(self, state: PipelineState) -> Pipeline:
        latest = [change.champion for change in reversed(self.ledger.champions(state.pipeline))]
        champions = {c.model_name: c for c in reversed([*([state.champion] if state.champion else []), *latest])}
        kept = list(reversed(champions.values()))[:KEPT_CHAMPIONS]
        return Pipeline(
            name=state.pipeline,
            idle_after=self._idle_after(state),
            owned=state.owner is not None,
            kept=[name for champion in kept for name in (champion.model_name, champion.endpoint_config_name)],
        )

    def _idle_after(self, state: PipelineState) -> timedelta | None:
        if state.definition is None:
            return None
        return CompiledDeploy.model_validate(self.store.read_json(state.definition.uri)).deploy.idle_after

    def _measured(self, endpoint: LiveEndpoint, view: View) -> LiveEndpoint:
        """The endpoint with the traffic of the time after which it would be idle."""
        limit = view.limit_of(endpoint)
        if limit is None or not endpoint.instances or view.now - endpoint.changed < limit:
            return endpoint
        return endpoint._replace(invocations=self.hosting.invocations(endpoint.name, view.now - limit, view.now))


def _deleted(endpoint: LiveEndpoint, view: View) -> DeletedEndpoint:
    limit = view.limit_of(endpoint)
    assert limit is not None  # noqa: S101  (an endpoint without a limit is never idle)
    return DeletedEndpoint(
        name=endpoint.name,
        pipeline=endpoint.tags[PIPELINE],
        because=f"nobody asked it for {format_duration(limit)}",
        hourly_dollars=endpoint.hourly_dollars,
    )
