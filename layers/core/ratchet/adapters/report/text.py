"""How the report writes numbers, times and identities."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

NOTHING = "\N{EN DASH}"
_SHORT = 12  # characters of a hash


def number(value: float | None) -> str:
    """Four digits that matter, thousands apart: `0.9384`, `3,281`, `1.2e-05`."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def score(value: float | None) -> str:
    """A metric's value: four decimals where it may be a share, so that two of them compare at a glance."""
    return NOTHING if value is None else f"{value:.4f}" if abs(value) < 10 else number(value)


def signed(value: float | None) -> str:
    """A number with its sign."""
    return NOTHING if value is None else f"{'+' if value > 0 else ''}{number(value)}".replace("-", "\N{MINUS SIGN}")


def percent(share: float | None) -> str:
    """`12.5 %`."""
    return NOTHING if share is None else f"{share * 100:.1f} %"


def seconds(value: float | None) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if value is None:
        return NOTHING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def dollars(value: float | None) -> str:
    """List prices are small: four decimals."""
    return NOTHING if value is None else f"${value:.4f}"


def moment(value: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def short(identity: str | None) -> str:
    """Enough of a hash to know it by."""
    return (identity or NOTHING)[:_SHORT]


def file(key: str) -> str:
    """An upload's key below `incoming/<pipeline>/`."""
    return key.split("/", 2)[-1]


FILTERS: dict[str, Callable[[Any], str]] = {
    "number": number,
    "score": score,
    "signed": signed,
    "percent": percent,
    "seconds": seconds,
    "dollars": dollars,
    "moment": moment,
    "short": short,
    "file": file,
}
