"""Metrics in log lines: CloudWatch's embedded metric format."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """The values that one log line gives to one metric; `at` is epoch seconds, None for the line's own time."""

    namespace: str
    name: str
    unit: str
    dimensions: Mapping[str, str]
    values: Sequence[float]
    at: float | None = None


def embedded(line: str) -> list[Measure]:
    """The metrics in a line; none when it is no embedded metric document, or one that breaks the format."""
    if not line.startswith("{") or '"_aws"' not in line:
        return []
    try:
        document = json.loads(line)
        return list(_measures(document))
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _measures(document: Mapping[str, Any]) -> Iterator[Measure]:
    at = document["_aws"]["Timestamp"] / 1000
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                given = document[metric["Name"]]
                values = [float(value) for value in (given if isinstance(given, list) else [given])]
                unit = metric.get("Unit", "None")
                yield Measure(directive["Namespace"], metric["Name"], unit, dimensions, values, at)
