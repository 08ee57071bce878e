"""The flow between states begins where unit tests of runs begin."""

from tests.unit.conftest import world

__all__ = ["world"]
