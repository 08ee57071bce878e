"""What every test may rely on, and which tests share a worker when two of them run the suite."""

from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# An example's time is the machine's, busy or not: it says nothing about the code.
settings.register_profile("ratchet", deadline=None)
settings.load_profile("ratchet")

# Loaded for all, for a session has one embedded cloud; it starts with the first test that asks for it.
pytest_plugins = ("tests.e2e.fixtures",)

_ONE_CLOUD = ("tests/e2e/", "tests/faults/")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the end-to-end tests write what roles did, and the judges of permissions read it."""
    parser.addoption("--recording", type=Path, default=None, help="file of calls of roles; e2e tests append to it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares the one cloud comes first: it takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(_ONE_CLOUD))  # stable: else the order stays


class _OneCloud(LoadScopeScheduling):  # type: ignore[misc]  # xdist's scheduler is untyped
    """What shares the one cloud is one worker's; else a file stays together."""

    def _split_scope(self, nodeid: str) -> str:
        return "one cloud" if nodeid.startswith(_ONE_CLOUD) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _OneCloud:
    """The two workers' division of labour. xdist's own groups are without effect on this pytest."""
    return _OneCloud(config, log)
