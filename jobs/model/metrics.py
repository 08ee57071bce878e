"""The gate's metrics for the validation split; unlike in the gate, bigger is always better."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Answers = npt.NDArray[np.floating[Any]]  # predicted values, or rows by labels of probabilities


def forecast_accuracy(actual: Floats, predicted: Answers) -> float:
    """1 - WAPE: the sum of the errors over the sum of what was to be forecast."""
    errors, total = np.abs(actual - predicted).sum(), np.abs(actual).sum()
    return float(1 - errors / total) if total else float(errors == 0)


def rmse(actual: Floats, predicted: Answers) -> float:
    """Root mean squared error, negated."""
    return -float(np.sqrt(np.square(actual - predicted).mean()))


def mae(actual: Floats, predicted: Answers) -> float:
    """Mean absolute error, negated."""
    return -float(np.abs(actual - predicted).mean())


def r2(actual: Floats, predicted: Answers) -> float:
    """The share of the variance that is explained; 0 where there is none."""
    spread = np.square(actual - actual.mean()).sum()
    return float(1 - np.square(actual - predicted).sum() / spread) if spread else 0.0


def accuracy(actual: Floats, shares: Answers) -> float:
    """The share of rows whose likeliest label is theirs."""
    return float((shares.argmax(axis=1) == actual).mean())


def f1(actual: Floats, shares: Answers) -> float:
    """The mean F1 of the labels that occur."""
    said = shares.argmax(axis=1)
    hits = [((said == label) & (actual == label)).sum() for label in np.unique(actual)]
    totals = [(said == label).sum() + (actual == label).sum() for label in np.unique(actual)]
    return float(np.mean(2 * np.array(hits) / np.array(totals)))


def auc(actual: Floats, shares: Answers) -> float:
    """Area under the ROC curve: the mean, over the labels that occur, of each against the rest."""
    return float(np.mean([_area(actual == label, shares[:, int(label)]) for label in np.unique(actual)]))


def _area(positive: npt.NDArray[np.bool_], scores: Answers) -> float:
    """The probability that a positive row scores above a negative one; a tie counts half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return 0.5
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


METRICS: dict[str, Callable[[Floats, Answers], float]] = {
    "forecast_accuracy": forecast_accuracy,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
    "accuracy": accuracy,
    "f1": f1,
    "auc": auc,
}
