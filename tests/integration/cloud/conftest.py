"""One embedded cloud for all tests of its adapter and repairs, and one without any repair."""

from collections.abc import Iterator

import pytest

from local.cloud.process import Cloud, CloudSettings, free_port
from tests.integration.cloud.account import Account, cloud_without


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running embedded cloud with an empty state folder."""
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("cloud")))
    cloud.up()
    yield cloud
    cloud.down()


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account of a cloud that has no repair, and MiniStack's own Glue."""
    with cloud_without("all", tmp_path_factory.mktemp("bare")) as account:
        yield account
