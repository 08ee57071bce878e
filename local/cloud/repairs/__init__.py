"""Repairs of MiniStack where it is more lenient than AWS."""

from local.cloud.settings import CloudSettings


def apply(settings: CloudSettings) -> None:
    """Applies every repair to the imported MiniStack package."""
