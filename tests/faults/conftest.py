"""The fault matrix runs on the end-to-end tests' cloud; at its end the table of states and faults is printed."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.e2e.conftest import counted
from tests.faults.cells import CELLS, Cell, Column
from tests.faults.matrix import OUTCOMES

__all__ = ["counted"]  # an autouse fixture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is an end-to-end test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """States and faults."""
    if OUTCOMES:
        terminalreporter.section("states x faults")
        for line in lines(OUTCOMES):
            terminalreporter.write_line(line)


def lines(outcomes: dict[Cell, str]) -> Iterable[str]:
    """The table: how the system got over each fault; `-` where a call cannot fail so, blank where it was not tried."""
    rows = list(dict.fromkeys(cell.row for cell in CELLS))
    known = {(cell.row, cell.column) for cell in CELLS}
    became = {(cell.row, cell.column): outcome for cell, outcome in outcomes.items()}
    width = max(map(len, rows))
    yield " | ".join(["".ljust(width), *(column.ljust(9) for column in Column)])
    for row in rows:
        if any(place[0] == row for place in became):
            shown = [became.get((row, column), "" if (row, column) in known else "-") for column in Column]
            yield " | ".join([row.ljust(width), *(text.ljust(9) for text in shown)])
    good = sum(outcome != "FAILED" for outcome in outcomes.values())
    yield f"{good} of {len(outcomes)} cells hold; {len(CELLS)} in all"
