"""Replacing functions of MiniStack, and refusing to when they are no longer those the repair was written for."""

import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import Any

Function = Callable[..., Any]


class RepairError(RuntimeError):
    """A part of MiniStack that a repair rests on has changed."""


def replace(
    owner: Any, name: str, signature: str, make: Callable[[Function], Function], needs: Sequence[str] = ()
) -> None:
    """Puts `make(original)` in place of `owner.name`.

    `signature` is the original's, written as `inspect.signature` prints it; `needs` are fragments of its source that
    the repair takes for granted. RepairError when either differs.
    """
    original = _expect(owner, name, signature, needs)
    setattr(owner, name, update_wrapper(make(original), original))


def expect(owner: Any, name: str, signature: str, needs: Sequence[str] = ()) -> None:
    """RepairError unless `owner.name` is the function that a repair calls."""
    _expect(owner, name, signature, needs)


def expect_all(owner: Any, signatures: Mapping[str, str]) -> None:
    """RepairError unless the owner has all these functions with these signatures."""
    for name, signature in signatures.items():
        expect(owner, name, signature)


def edit(owner: Any, name: str, signature: str, old: str, new: str) -> None:
    """Recompiles `owner.name` with one fragment of its source replaced; RepairError unless it occurs exactly once."""
    original = _expect(owner, name, signature, (old,))
    source = textwrap.dedent(inspect.getsource(original))
    if source.count(old) != 1:
        raise RepairError(f"{_name(owner, name)} has {old!r} {source.count(old)} times, not once.")
    if hasattr(original, "__wrapped__"):
        raise RepairError(f"{_name(owner, name)} is already replaced: edits must come first.")
    # On the original's lines, so that tracebacks and inspect find them.
    padded = "\n" * (original.__code__.co_firstlineno - 1) + source.replace(old, new)
    scope: dict[str, Any] = {}
    exec(  # noqa: S102  MiniStack's own function with our edit
        compile(padded, inspect.getfile(original), "exec"), vars(sys.modules[original.__module__]), scope
    )
    setattr(owner, name, scope[name])


def _expect(owner: Any, name: str, signature: str, needs: Sequence[str]) -> Function:
    original: Any = getattr(owner, name, None)
    if not inspect.isfunction(original):
        raise RepairError(f"{_name(owner, name)} does not exist in this MiniStack.")
    if (found := str(inspect.signature(original))) != signature:
        raise RepairError(f"{_name(owner, name)} takes {found}, not {signature}.")
    source = inspect.getsource(original)
    for fragment in needs:
        if fragment not in source:
            raise RepairError(f"{_name(owner, name)} no longer contains {fragment!r}.")
    return original


def _name(owner: Any, name: str) -> str:
    return f"{owner.__name__}.{name}"
