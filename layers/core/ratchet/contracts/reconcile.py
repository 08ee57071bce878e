"""What reconcile answers: everything it found lying about, and what it did with it."""

from ratchet.contracts.base import Contract, ForeignContract


class ScheduleEvent(ForeignContract):
    """The five-minute schedule's event; nothing in it is read."""

    @property
    def pipeline(self) -> None:
        """Every pipeline."""
        return


class ReconcileReport(Contract):
    """Empty lists are the healthy answer."""

    pipelines: int
    ingested: tuple[str, ...] = ()  # object versions no verdict was found for: s3 URI and version
    started: tuple[str, ...] = ()  # runs started for work nobody owned
    released: tuple[str, ...] = ()  # claims whose execution never started
    stalled: tuple[str, ...] = ()  # of those closed, the runs whose work nobody tries again
    closed: tuple[str, ...] = ()  # runs whose execution had ended without closing them
    resumed: tuple[str, ...] = ()  # deployments that had ended without their run being told
    superseded: tuple[str, ...] = ()  # runs that wait for approval while newer work has arrived
    removed: tuple[str, ...] = ()  # endpoints that a run left: trials, and those of another mode
    scaled: tuple[str, ...] = ()  # champions' endpoints that served without the bounds they are to scale in
    restored: tuple[str, ...] = ()  # endpoints put back on their champion
    waiting: tuple[str, ...] = ()  # what was busy and will be looked at again
