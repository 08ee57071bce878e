"""When an alarm changes: M of N periods, and what stands for the periods that have no data."""

import operator
from collections.abc import Callable, Sequence

ALARM, OK, INSUFFICIENT = "ALARM", "OK", "INSUFFICIENT_DATA"
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
# CloudWatch looks some periods further back than it evaluates; its document's example is a range of 5 for N = 3.
_LOOK_BACK = 2


def evaluation_range(periods: int) -> int:
    """How many periods are looked at for `periods` data points."""
    return periods + _LOOK_BACK


def judge(breaches: Sequence[bool | None], periods: int, needed: int, treatment: str) -> str | None:
    """The state that the periods of the evaluation range put an alarm in; None: it stays as it is.

    `breaches` says of each period, newest first, whether it breached, None where there is no data. The rules are those
    of "Configuring how CloudWatch alarms treat missing data": real data points first, missing ones only to fill up.
    """
    real = [breach for breach in breaches if breach is not None][:periods]
    breaching, missing = sum(real), periods - len(real)
    if treatment == "breaching":
        return ALARM if breaching + missing >= needed else OK
    if treatment == "notBreaching" or breaching >= needed:
        return ALARM if breaching >= needed else OK
    if not real:
        return None if treatment == "ignore" else INSUFFICIENT
    if breaching >= min(needed, len(real)):  # too few to be sure, and all of them bad
        return None if treatment == "ignore" else ALARM
    return OK
