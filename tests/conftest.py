"""What every test may rely on."""

from pathlib import Path

import pytest
from hypothesis import settings

# An example's time is the machine's, busy or not: it says nothing about the code.
settings.register_profile("ratchet", deadline=None)
settings.load_profile("ratchet")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the end-to-end tests write what roles did, and the judges of permissions read it."""
    parser.addoption("--recording", type=Path, default=None, help="file of calls of roles; e2e tests append to it")
