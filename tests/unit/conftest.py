"""The world that most tests of runs begin in."""

import pytest

from tests.unit.world import World


@pytest.fixture
def world() -> World:
    """A definition and one accepted upload; nothing has run."""
    world = World()
    world.apply()
    world.accept()
    return world
