"""The time."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The Clock port."""
    return datetime.now(UTC)
