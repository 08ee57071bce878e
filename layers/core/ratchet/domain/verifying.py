"""Verify: an endpoint must answer for golden rows what the judge saw."""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ratchet.contracts.run import Verification
from ratchet.contracts.states import VerifyEndpointRequest
from ratchet.domain.errors import PredictionMismatchError
from ratchet.domain.ports import Endpoints, ObjectStore
from ratchet.domain.scores import HoldoutRow, holdout_size, holdout_stream, predictions

GOLDEN_ROWS = 20
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class VerifyEndpoint:
    """Asks the endpoint for golden rows: it must answer what the judge saw."""

    store: ObjectStore
    endpoints: Endpoints

    def __call__(self, request: VerifyEndpointRequest) -> Verification:
        golden = self._golden_rows(request)
        differences, latencies = [], []
        for row, expected in golden:
            prediction = self.endpoints.predict(request.deployment.endpoint_name, row.record)
            differences.append(difference(row.row, expected, prediction.body))
            latencies.append(prediction.milliseconds)
        return Verification(
            rows=len(golden),
            largest_difference=max(differences),
            latency_p50_ms=statistics.median(latencies),
            latency_max_ms=max(latencies),
        )

    def _golden_rows(self, request: VerifyEndpointRequest) -> list[tuple[HoldoutRow, dict[str, Any]]]:
        """Rows spread evenly over the holdout, each with the judge's answer."""
        selection = request.selection
        step = max(1, holdout_size(self.store, selection.holdout_uri) // GOLDEN_ROWS)
        golden = list(islice(holdout_stream(self.store, selection.holdout_uri), 0, step * GOLDEN_ROWS, step))
        output = next(model.output_uri for model in selection.models_to_score if model.role == "candidate")
        seen = predictions(self.store, output, (row.row for row in golden))
        return [(row, seen[row.row]) for row in golden]


def difference(row: int, expected: dict[str, Any], answered: Any) -> float:
    """The largest difference of any number in two predictions; PredictionMismatchError beyond the tolerance."""
    ours, theirs = dict(_leaves(expected)), dict(_leaves(answered))
    largest = 0.0
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(name), theirs.get(name)
        if not _close(a, b):
            raise PredictionMismatchError(f"holdout row {row}: the endpoint answers {name} {b!r}, the judge saw {a!r}")
        if isinstance(a, float) and isinstance(b, float):
            largest = max(largest, abs(a - b))
    return largest


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        yield name or "the whole answer", float(value) if number else value


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(a == b)
