"""Runs cells of the matrix on lanes, several at once, and keeps what became of each."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from cli.listen import Listener
from cli.stack import Stack
from local.cloud.process import Cloud
from tests.e2e.test_large import limited
from tests.faults.calls import Road
from tests.faults.cells import Cell
from tests.faults.lanes import LARGE_BYTES, Lane, lane_of, sweeping

OUTCOMES: dict[Cell, str] = {}
AT_ONCE = 6
_MOST_LANES = {Road.DEPLOYED: 4}  # of a road; all others have one each
_CELLS_A_LANE = 3  # from which a further lane of the same road pays


def run_all(
    cells: Sequence[Cell], cloud: Cloud, people: Listener, folder: Callable[[str], Path]
) -> dict[Cell, Future[str]]:
    """Every cell, each on a lane of its road; the lanes' threads have ended when this returns."""
    roads = defaultdict[Road, list[Cell]](list)
    for cell in cells:
        roads[lane_of(cell.road)].append(cell)
    futures: dict[Cell, Future[str]] = {cell: Future() for cell in cells}
    numbers = count()
    with _surroundings(cloud, large=Road.LARGE in roads), ThreadPoolExecutor(AT_ONCE) as pool:
        for road, asked in sorted(roads.items(), key=lambda item: -len(item[1])):
            lanes = min(_MOST_LANES.get(road, 1), -(-len(asked) // _CELLS_A_LANE))
            for lane in range(lanes):
                pool.submit(_drive, road, asked[lane::lanes], futures, lambda: _fresh(numbers, cloud, people, folder))
    return futures


def _fresh(numbers: "Iterator[int]", cloud: Cloud, people: Listener, folder: Callable[[str], Path]) -> "_Maker":
    name = f"fault-{next(numbers):03d}"
    return lambda road: Lane.prepared(road, name, cloud, people, folder(name))


_Maker = Callable[[Road], Lane]


def _drive(road: Road, cells: Sequence[Cell], futures: dict[Cell, Future[str]], fresh: Callable[[], _Maker]) -> None:
    lane: Lane | None = None
    for cell in cells:
        try:
            lane = lane or fresh()(road)
            OUTCOMES[cell] = lane.drive(cell)
            futures[cell].set_result(OUTCOMES[cell])
        except BaseException as error:  # noqa: BLE001  it is the cell's test that fails
            if lane is not None:
                error.add_note(f"{lane.tiny.name}")
            lane = None  # whatever state it is in, the next cell gets a pipeline that works
            OUTCOMES[cell] = "FAILED"
            futures[cell].set_exception(error)


@contextmanager
def _surroundings(cloud: Cloud, *, large: bool) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(sweeping(cloud))
        if large:
            stack.enter_context(limited(Stack.of_cloud(cloud), LARGE_BYTES))
        yield
