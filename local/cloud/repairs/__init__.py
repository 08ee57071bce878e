"""What MiniStack does otherwise than AWS, put right from outside; the table is in docs/embedded-cloud.md."""

from collections.abc import Callable
from dataclasses import dataclass

from local.cloud.repairs import (
    alarm_access,
    alarm_math,
    alarms,
    authority,
    definitions,
    delivery,
    dialect,
    durability,
    history,
    http_api_access,
    http_api_routes,
    jsonpath,
    lambda_environment,
    lambda_metrics,
    layer_access,
    log_metrics,
    metrics,
    redrive,
    resources,
    role_passing,
    roles,
    s3_events,
    schedules,
    service_metrics,
    status_events,
    task_state,
    transport,
    waits,
)
from local.cloud.settings import CloudSettings

__all__ = ["GLUE_TRAPS", "REPAIRS", "Repair", "apply"]


@dataclass(frozen=True)
class Repair:
    """One idea: the traps it removes (their numbers in docs/embedded-cloud.md), and what installs it."""

    name: str
    traps: tuple[str, ...]
    install: Callable[[CloudSettings], None]


REPAIRS = (
    # Edits a function that later repairs wrap, so it comes first.
    Repair("waits", ("speed",), lambda _: waits.apply()),
    Repair("transport", ("T20",), lambda _: transport.apply()),
    # The walk that all further repairs of executions wrap.
    Repair("redrive", ("T35",), lambda _: redrive.apply()),
    Repair("history", ("T11",), lambda _: history.apply()),
    Repair("jsonpath", ("T1",), lambda _: jsonpath.apply()),
    Repair("task_state", ("T8", "T9", "T11", "T23", "T25", "T26"), lambda _: task_state.apply()),
    Repair("definitions", ("T10",), lambda _: definitions.apply()),
    Repair("dialect", ("T36",), lambda _: dialect.apply()),
    Repair("roles", ("T2", "T4"), lambda _: roles.apply()),
    Repair("role_passing", ("T4",), lambda _: role_passing.apply()),
    Repair("status_events", ("T22",), lambda _: status_events.apply()),
    # After status_events, for it counts also what that one keeps off the bus.
    Repair("service_metrics", ("T32",), service_metrics.apply),
    Repair("delivery", ("T3", "T7", "T27"), lambda _: delivery.apply()),
    Repair("s3_events", ("T21",), lambda _: s3_events.apply()),
    Repair("alarms", ("T12",), alarms.apply),
    Repair("alarm_access", ("T34",), lambda _: alarm_access.apply()),
    Repair("alarm_math", ("T31",), lambda _: alarm_math.apply()),
    Repair("metrics", ("T12",), lambda _: metrics.apply()),
    Repair("log_metrics", ("T14",), lambda _: log_metrics.apply()),
    Repair("lambda_environment", ("T5", "T15", "T16", "T17"), lambda_environment.apply),
    Repair("lambda_metrics", ("T32",), lambda _: lambda_metrics.apply()),
    Repair("resources", ("T13",), lambda _: resources.apply()),
    Repair("schedules", ("T28",), lambda _: schedules.apply()),
    Repair("layer_access", ("T33",), lambda _: layer_access.apply()),
    Repair("http_api_routes", ("T29",), lambda _: http_api_routes.apply()),
    Repair("http_api_access", ("T30",), lambda _: http_api_access.apply()),
    # Last, so that it sees everything that the others let through.
    Repair("durability", ("kill",), durability.apply),
)
# Not repaired but replaced: by our own Glue jobs, which can be left out as well.
GLUE_TRAPS = ("T6", "T19")


def apply(settings: CloudSettings) -> None:
    """Installs every repair but those that `settings.without` names (`all`: none at all).

    RepairError when MiniStack is not as expected. It reads its settings while it is imported, so this package may be
    imported only after they are set.
    """
    authority.check()
    known = {name for repair in REPAIRS for name in (repair.name, *repair.traps)}
    if unknown := settings.left_out - known - {"all", *GLUE_TRAPS}:
        raise ValueError(f"There is no repair {', '.join(sorted(unknown))}.")
    for repair in REPAIRS:
        if settings.left_out.isdisjoint({"all", repair.name, *repair.traps}):
            repair.install(settings)
