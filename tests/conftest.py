"""What every test may rely on, and which tests share a worker when two of them run the suite."""

from pathlib import Path

import pytest
from hypothesis import settings

# An example's time is the machine's, busy or not: it says nothing about the code.
settings.register_profile("ratchet", deadline=None)
settings.load_profile("ratchet")

# Loaded for all, for a session has one embedded cloud; it starts with the first test that asks for it.
pytest_plugins = ("tests.e2e.fixtures",)

_TESTS = Path(__file__).parent
_ONE_CLOUD = (_TESTS / "e2e", _TESTS / "faults")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the end-to-end tests write what roles did, and the judges of permissions read it."""
    parser.addoption("--recording", type=Path, default=None, help="file of calls of roles; e2e tests append to it")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares one cloud is one worker's, which begins with it; else a file stays together."""
    for item in items:
        group = "one cloud" if _on_the_cloud(item) else str(item.path.relative_to(_TESTS))
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not _on_the_cloud(item))  # stable: else the order stays


def _on_the_cloud(item: pytest.Item) -> bool:
    return any(folder in item.path.parents for folder in _ONE_CLOUD)
