"""One embedded cloud for all tests of its adapter and repairs."""

from collections.abc import Iterator

import pytest

from local.cloud.process import Cloud, CloudSettings, free_port


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A running embedded cloud with an empty state folder."""
    cloud = Cloud(CloudSettings(port=free_port(), state=tmp_path_factory.mktemp("cloud")))
    cloud.up()
    yield cloud
    cloud.down()
