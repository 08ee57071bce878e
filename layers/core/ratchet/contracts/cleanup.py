"""Clean up: what a sweep is asked, and what it deleted or would delete."""

from ratchet.contracts.base import Contract, ForeignContract


class CleanupRequest(ForeignContract):
    """The schedule's event, or a person's who wants to look first."""

    dry_run: bool = False


class DeletedEndpoint(Contract):
    """An endpoint that nobody asked."""

    name: str
    pipeline: str
    because: str
    hourly_dollars: float


class CleanupReport(Contract):
    """What a sweep deleted, or with `dry_run` would have."""

    dry_run: bool
    endpoints: tuple[DeletedEndpoint, ...] = ()
    configs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    spared: dict[str, str] = {}  # idle endpoints that stay: name and why
    waiting: tuple[str, ...] = ()  # what was busy and is looked at again
    hourly_dollars: float = 0.0  # saved

    @property
    def deleted(self) -> int:
        """How many endpoints are gone."""
        return 0 if self.dry_run else len(self.endpoints)
