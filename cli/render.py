"""How things look in the terminal: one console, tables, findings, times; plain lines where there is no terminal."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ratchet.contracts.base import Finding

_PLAIN_WIDTH = 120

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=_PLAIN_WIDTH)
errors = Console(stderr=True, highlight=False, width=None if console.is_terminal else _PLAIN_WIDTH)

OUTCOME_STYLES = {
    "DEPLOYED": "bold green",
    "SUCCEEDED": "green",
    "ACCEPTED": "green",
    "REFUSED": "yellow",
    "REJECTED": "yellow",
    "DUPLICATE": "dim",
    "NOTHING_TO_DO": "dim",
    "ROLLED_BACK": "yellow",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "ABORTED": "bold red",
    "RUNNING": "cyan",
}


def outcome(value: str | None) -> Text:
    """An outcome in its colour; a run that has none yet is running."""
    word = value or "RUNNING"
    return Text(word.replace("_", " "), style=OUTCOME_STYLES.get(word, ""))


def table(*columns: str, rows: Iterable[Iterable[RenderableType]], title: str | None = None) -> Table:
    """A table in the house style; a column named with a trailing `#` holds figures and stands right."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for column in columns:
        made.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left")
    for row in rows:
        made.add_row(*row)
    return made


def finding(found: Finding, style: str = "yellow") -> RenderableType:
    """The four answers, each on its line."""
    grid = Table.grid(padding=(0, 2))
    for label, text in (("what", found.what), ("where", found.where), ("why", found.why), ("do", found.fix)):
        grid.add_row(Text(label, style=f"bold {style}"), Text(text))
    return Panel(grid, border_style=style, expand=False)


def stack_of(parts: Iterable[RenderableType | None]) -> Group:
    """Parts below each other; absent ones are left out."""
    return Group(*(part for part in parts if part is not None))


def seconds(value: float | None) -> str:
    """A duration as people read it: 0.42 s, 12.3 s, 4 min 05 s."""
    if value is None:
        return ""
    if value < 1:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None) -> str:
    """A figure with the digits that matter."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def moment(value: datetime | None) -> str:
    """A point in time, in the reader's own zone."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""


def print_json(value: Any) -> None:
    """Machine-readable output: nothing else may be printed besides."""
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))  # noqa: T201


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Shows that something is awaited: a spinner on a terminal, one plain line elsewhere."""
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        console.print(f"{text} …")
        yield


def now() -> datetime:
    """The current time, with its zone."""
    return datetime.now(UTC)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
