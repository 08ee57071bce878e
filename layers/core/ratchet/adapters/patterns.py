"""Patterns of a data contract, matched by RE2 as in validation: linear in the value's length, whatever the pattern."""

from functools import lru_cache
from typing import Any


def full_match(pattern: str, value: str) -> bool:
    """Whether the pattern matches the whole value."""
    return _compiled(pattern).fullmatch(value.encode(errors="replace").decode()) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    import re2  # noqa: PLC0415  (most contracts have no pattern)

    return re2.compile(pattern)
