"""The report's figures as SVG: drawn by pygal, coloured by the page's own stylesheet, without script and style."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

from ratchet.adapters.report.text import number
from ratchet.domain.report import Bin, Course, Trust

# Sizes in the units that the SVG is drawn in: about a pixel of a phone, and of a desktop.
PHONE, DESKTOP = (360, 230), (920, 270)
HALF = (400, 290)

_LABELS = 6  # along an axis
_KEPT_OUT = ("script", "style", "desc")  # what a page without script has no use for


class Figure(NamedTuple):
    """A drawing for narrow screens and one for wide ones; the same where one serves both."""

    narrow: Markup
    wide: Markup


def course(title: str, drawn: Course, *, from_zero: bool = False) -> Figure:
    """Lines over time."""

    def draw(size: tuple[int, int]) -> Markup:
        times = [time for points in drawn.lines.values() for time, _ in points]
        marks = _time_marks(min(times), max(times), _LABELS if size[0] > HALF[0] else _LABELS - 2)
        chart = pygal.DateTimeLine(
            **_options(size),
            show_dots=all(len(points) == 1 for points in drawn.lines.values()),
            x_labels=marks,
            x_value_formatter=_time_format(max(times) - min(times)),
            value_formatter=number,
            include_x_axis=from_zero,
        )
        for points in drawn.lines.values():
            chart.add("", [(time, value) for time, value in points])
        return _svg(chart, title, list(drawn.lines))

    return Figure(draw(PHONE), draw(DESKTOP))


def pairs(title: str, points: Sequence[tuple[float, float]]) -> Figure:
    """Predicted against actual, with the line on which they are equal."""
    values = [value for pair in points for value in pair]
    low, high = min(values), max(values)
    chart = pygal.XY(
        **_options(HALF),
        stroke=False,
        dots_size=2,
        x_title="actual",
        y_title="predicted",
        value_formatter=number,
        x_value_formatter=number,
    )
    chart.add("", list(points))
    chart.add("", [(low, low), (high, high)], stroke=True, show_dots=False)
    return _both(_svg(chart, title, ["candidate", "equal"]))


def histogram(title: str, bins: Sequence[Bin]) -> Figure:
    """Rows by residual."""
    chart = pygal.Histogram(
        **_options(HALF),
        x_title="predicted \N{MINUS SIGN} actual",
        y_title="rows",
        value_formatter=number,
        x_value_formatter=number,
        x_labels=[bins[0].low, bins[0].low / 2, 0, bins[-1].high / 2, bins[-1].high],
    )
    chart.add("", [(held.rows, held.low, held.high) for held in bins])
    return _both(_svg(chart, title, ["candidate"]))


def calibration(title: str, trust: Sequence[Trust]) -> Figure:
    """How often answers were right, by the probability stated for them."""
    low = min(min(held.stated, held.right) for held in trust)
    chart = pygal.XY(
        **_options(HALF),
        x_title="stated probability",
        y_title="share that is right",
        value_formatter=_share,
        x_value_formatter=_share,
        dots_size=4,
    )
    chart.add("", [(held.stated, held.right) for held in trust])
    chart.add("", [(low, low), (1, 1)], show_dots=False)
    return _both(_svg(chart, title, ["candidate", "equal"]))


def _options(size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return {
        "width": width,
        "height": height,
        "explicit_size": False,
        "no_prefix": True,
        "css": [],
        "js": [],
        "show_legend": False,
        "margin": 6,
        "margin_right": 14,
        "spacing": 8,
        "max_scale": 6,
        "min_scale": 3,
        "truncate_label": -1,
        "style": Style(label_font_size=12, major_label_font_size=12, title_font_size=12),
    }


def _svg(chart: Any, title: str, roles: Sequence[str]) -> Markup:
    """The drawing as an element of the page. The tree is pygal's; ElementTree escapes every text in it."""
    root = chart.render_tree()
    _strip(root)
    for series, role in enumerate(roles):
        for node in root.iter():
            classes = node.get("class", "").split()
            if f"serie-{series}" in classes:
                node.set("class", " ".join([*classes, f"of-{role}"]))
    for name in ("id", "xmlns"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", title)
    for named in root.findall("title"):
        named.text = title
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))  # noqa: S704  escaped


def _strip(node: Any) -> None:
    """Takes out scripts, styles, comments and what only pygal's script would show."""
    for child in list(node):
        repeated = child.tag == "title" and node.get("class") == "guides"
        hidden = child.get("class") == "tooltip" or (child.tag == "g" and not len(child))
        if callable(child.tag) or child.tag in _KEPT_OUT or repeated or hidden:
            node.remove(child)
        else:
            _strip(child)


def _both(drawing: Markup) -> Figure:
    return Figure(drawing, drawing)


def _share(value: float) -> str:
    return f"{value:.0%}"


def _time_marks(first: datetime, last: datetime, count: int) -> list[datetime]:
    """Round times to label: whole hours within three days, else whole days."""
    span = last - first
    unit = timedelta(hours=1) if span <= timedelta(days=3) else timedelta(days=1)
    start = datetime(first.year, first.month, first.day, first.hour if unit < timedelta(days=1) else 0, tzinfo=UTC)
    step = max(1, round(span / unit / count))
    marks = [start + unit * step * place for place in range(count + 2)]
    return [mark for mark in marks if first <= mark <= last] or [first]


def _time_format(span: timedelta) -> Callable[[datetime], str]:
    if span <= timedelta(days=3):
        return lambda time: f"{time:%a %H:%M}"
    if span <= timedelta(days=400):
        return lambda time: f"{time.day} {time:%b}"
    return lambda time: f"{time:%b %Y}"
