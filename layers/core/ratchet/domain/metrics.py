"""The gate's metrics: what a model's answers are worth, and which of them are sums of losses over rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ratchet.domain.definition import Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What one model said of every row: a number, or a class's code with the probability of every class."""

    values: Floats
    probabilities: Floats | None = None  # rows x classes

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Answers":
        """The answers for some rows."""
        return Answers(self.values[rows], None if self.probabilities is None else self.probabilities[rows])


def _forecast_accuracy(actual: Floats, answers: Answers) -> float:
    """1 - WAPE; with actual values that are all zero only a perfect forecast is worth anything."""
    error, total = float(np.abs(actual - answers.values).sum()), float(np.abs(actual).sum())
    return 1.0 - error / total if total else float(error == 0)


def _mae(actual: Floats, answers: Answers) -> float:
    return float(np.abs(actual - answers.values).mean())


def _rmse(actual: Floats, answers: Answers) -> float:
    return float(np.sqrt(np.square(actual - answers.values).mean()))


def _r2(actual: Floats, answers: Answers) -> float:
    spread = float(np.square(actual - actual.mean()).sum())
    return 1.0 - float(np.square(actual - answers.values).sum()) / spread if spread else 0.0


def _accuracy(actual: Floats, answers: Answers) -> float:
    return float((actual == answers.values).mean())


def _f1(actual: Floats, answers: Answers) -> float:
    """Macro F1 over the classes that occur."""
    scores = []
    for code in np.unique(actual):
        hits = float(((actual == code) & (answers.values == code)).sum())
        scores.append(2 * hits / float((actual == code).sum() + (answers.values == code).sum()))
    return float(np.mean(scores))


def _auc(actual: Floats, answers: Answers) -> float:
    """Macro one-versus-rest area under the ROC curve; constant answers, as the naive's, are worth 0.5."""
    if answers.probabilities is None:
        return 0.5
    areas = []
    for code in np.unique(actual):
        positive = actual == code
        count = int(positive.sum())
        if count == len(actual):
            return 0.5
        ranks = _ranks(answers.probabilities[:, int(code)])
        pairs = count * (len(actual) - count)
        areas.append((float(ranks[positive].sum()) - count * (count + 1) / 2) / pairs)
    return float(np.mean(areas))


def _ranks(scores: Floats) -> Floats:
    """Ranks from 1, equals sharing their mean rank."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shared: Floats = (ends - (counts - 1) / 2)[inverse]
    return shared


METRICS: dict[Metric, Callable[[Floats, Answers], float]] = {
    "forecast_accuracy": _forecast_accuracy,
    "accuracy": _accuracy,
    "f1": _f1,
    "auc": _auc,
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
}

SMALLER_IS_BETTER: frozenset[Metric] = frozenset({"rmse", "mae"})


def gain(metric: Metric, score: float, other: float) -> float:
    """By how much `score` is better than `other`, whatever the metric's direction."""
    return other - score if metric in SMALLER_IS_BETTER else score - other


def losses(metric: Metric, actual: Floats, answers: Answers) -> Floats | None:
    """The metric's loss of every row, or None for F1 and AUC, which are no sums over rows."""
    errors = np.abs(actual - answers.values).astype(np.float64)
    if metric in ("forecast_accuracy", "mae"):
        return errors
    if metric in ("rmse", "r2"):
        return errors * errors
    if metric == "accuracy":
        return (errors > 0).astype(np.float64)
    return None
