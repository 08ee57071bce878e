"""Runs cells of the matrix on lanes, several at once, and keeps what became of each."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count, groupby
from pathlib import Path
from typing import Any

from cli.listen import Listener
from cli.stack import Stack
from local.cloud.process import Cloud
from tests.e2e.conftest import physical_id
from tests.e2e.test_large import limited
from tests.faults.calls import Road
from tests.faults.cells import Cell, Column
from tests.faults.lanes import LARGE_BYTES, Lane, lane_of, sweeping

OUTCOMES: dict[Cell, str] = {}
AT_ONCE = 16
# Of a road; all others have one each. A shadow's lane waits most of its time: for a minute in each cell.
_MOST_LANES = {Road.DEPLOYED: 7, Road.SHADOWED: 3, Road.TRIED: 2, Road.LARGE: 2}
_CELLS_A_LANE = 3  # from which a further lane of the same road pays


def run_all(
    cells: Sequence[Cell], cloud: Cloud, people: Listener, folder: Callable[[str], Path]
) -> dict[Cell, Future[str]]:
    """Every cell, each on a lane of its road; the lanes' threads have ended when this returns."""
    roads = defaultdict[Road, list[Cell]](list)
    deadly = [cell for cell in cells if cell.column is Column.CLOUD_KILLED]
    for cell in cells:
        if cell not in deadly:
            roads[lane_of(cell.road)].append(cell)
    futures: dict[Cell, Future[str]] = {cell: Future() for cell in cells}
    numbers = count()

    def fresh(road: Road) -> Lane:
        name = f"fault-{next(numbers):03d}"
        return Lane.prepared(road, name, cloud, people, folder(name))

    with _surroundings(cloud, large=any(lane_of(cell.road) is Road.LARGE for cell in cells)):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for road, asked in sorted(roads.items(), key=lambda item: -len(item[1])):
                lanes = min(_MOST_LANES.get(road, 1), -(-len(asked) // _CELLS_A_LANE))
                for lane in range(lanes):
                    pool.submit(_drive, road, asked[lane::lanes], futures, fresh)
        # One after the other: a kill ends them all.
        for road, doomed in groupby(sorted(deadly, key=_road), key=_road):
            _drive(road, list(doomed), futures, fresh)
    return futures


def _road(cell: Cell) -> Road:
    return lane_of(cell.road)


def _drive(road: Road, cells: Sequence[Cell], futures: dict[Cell, Future[str]], fresh: Callable[[Road], Lane]) -> None:
    lane: Lane | None = None
    for cell in cells:
        try:
            lane = lane or fresh(road)
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
    settled = Stack.of_cloud(cloud)
    with ExitStack() as stack:
        stack.enter_context(hurried(settled))
        stack.enter_context(sweeping(cloud))
        if large:
            stack.enter_context(limited(settled, LARGE_BYTES))
        yield


@contextmanager
def hurried(stack: Stack) -> Iterator[None]:
    """Executions that start meanwhile wait a second or two before each further attempt; there are as many attempts."""
    outputs = stack.outputs
    arns = outputs.ingest_state_machine_arn, outputs.retrain_state_machine_arn, _validate_large(stack)
    machines = {arn: stack.executions.describe_state_machine(stateMachineArn=arn)["definition"] for arn in arns}
    for arn, definition in machines.items():
        stack.executions.update_state_machine(stateMachineArn=arn, definition=_impatient(definition))
    try:
        yield
    finally:
        for arn, definition in machines.items():
            stack.executions.update_state_machine(stateMachineArn=arn, definition=definition)


def _validate_large(stack: Stack) -> str:
    return physical_id(stack, "ValidateLargeStateMachine")


def _impatient(definition: str) -> str:
    def shortened(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "IntervalSeconds": 1, "MaxDelaySeconds": 2} if "MaxDelaySeconds" in part else part

    return json.dumps(json.loads(definition, object_hook=shortened))
