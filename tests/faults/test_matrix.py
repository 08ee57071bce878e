"""Every Task of the workflows through every fault: nothing lost, the champion safe, people told, and it goes on."""

from concurrent.futures import Future

import pytest

from cli.listen import Listener
from cli.stack import Stack
from local.cloud.process import Cloud
from tests.e2e.once import parameters
from tests.faults.cells import CELLS, COMMON, Cell
from tests.faults.matrix import run_all


@pytest.fixture(scope="module")
def driven(
    request: pytest.FixtureRequest,
    stack: Stack,
    cloud: Cloud,
    people: Listener,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Cell, Future[str]]:
    """Every cell that this session asks for: how the system got over it."""
    asked = parameters(request.session, test_a_fault_is_got_over, Cell)
    return run_all(asked, cloud, people, tmp_path_factory.mktemp)


@pytest.mark.timeout(4 * 3600)  # the whole matrix is made for the first of them
@pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=() if cell in COMMON else pytest.mark.faults) for cell in CELLS], ids=str
)
def test_a_fault_is_got_over(driven: dict[Cell, Future[str]], cell: Cell) -> None:
    assert driven[cell].result() in ("same run", "next run", "swept")
