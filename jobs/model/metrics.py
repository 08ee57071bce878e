"""The gate's metrics for the validation split; unlike in the gate, bigger is always better."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Answers = npt.NDArray[np.floating[Any]]  # predicted values, or rows by labels of probabilities

SURE = 1e-15  # no probability is taken to be nearer to 0


def score(metric: str, actual: Floats, answers: Answers, positive: int | None = None) -> float:
    """What the answers are worth; `positive` is the place of the label that `gate.positive` names."""
    if metric in OF_NUMBERS:
        return OF_NUMBERS[metric](actual, answers)
    if metric in OF_SHARES:
        return OF_SHARES[metric](actual, answers)
    wanted = None if metric == "balanced_accuracy" else positive
    labels = np.unique(actual) if wanted is None else np.array([wanted])
    return float(np.mean([OF_LABEL[metric](actual, answers, int(label)) for label in labels]))


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
    around = actual - actual[0]
    spread = np.square(around).sum() - np.square(around.sum()) / len(actual)
    return float(1 - np.square(actual - predicted).sum() / spread) if spread > 0 else 0.0


def mape(actual: Floats, predicted: Answers) -> float:
    """Mean error as a share of the actual value, where that is not 0; negated."""
    errors, known = np.abs(actual - predicted), actual != 0
    return -float((errors[known] / np.abs(actual[known])).mean()) if known.any() else -float(errors.any())


def smape(actual: Floats, predicted: Answers) -> float:
    """Mean error as a share of the mean of actual and predicted size, between 0 and 2; negated."""
    errors, sizes = 2 * np.abs(actual - predicted), np.abs(actual) + np.abs(predicted)
    return -float(np.divide(errors, sizes, out=np.zeros(len(actual)), where=sizes > 0).mean())


def accuracy(actual: Floats, shares: Answers) -> float:
    """The share of rows whose likeliest label is theirs."""
    return float((shares.argmax(axis=1) == actual).mean())


def log_loss(actual: Floats, shares: Answers) -> float:
    """Mean negative logarithm of the probability given to what happened; negated."""
    given = shares[np.arange(len(actual)), actual.astype(np.intp)].astype(np.float64)
    return float(np.log(np.clip(given, SURE, 1)).mean())


def precision(actual: Floats, shares: Answers, label: int) -> float:
    """How often the label is right when it is said."""
    said = shares.argmax(axis=1) == label
    return float((actual[said] == label).mean()) if said.any() else 0.0


def recall(actual: Floats, shares: Answers, label: int) -> float:
    """How often the label is said when it is right."""
    happened = actual == label
    return float((shares[happened].argmax(axis=1) == label).mean()) if happened.any() else 0.0


def f1(actual: Floats, shares: Answers, label: int) -> float:
    """The harmonic mean of the label's precision and recall."""
    said, happened = shares.argmax(axis=1) == label, actual == label
    total = said.sum() + happened.sum()
    return float(2 * (said & happened).sum() / total) if total else 0.0


def auc(actual: Floats, shares: Answers, label: int) -> float:
    """The probability that a row of the label gets a higher share than another row; a tie counts half."""
    positive = actual == label
    _, places, counts = np.unique(shares[:, label], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return 0.5
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


OF_NUMBERS: dict[str, Callable[[Floats, Answers], float]] = {
    "forecast_accuracy": forecast_accuracy,
    "mae": mae,
    "rmse": rmse,
    "r2": r2,
    "mape": mape,
    "smape": smape,
}
OF_SHARES: dict[str, Callable[[Floats, Answers], float]] = {"accuracy": accuracy, "log_loss": log_loss}
# One label's; their mean over the labels that occur, unless one is asked for.
OF_LABEL: dict[str, Callable[[Floats, Answers, int], float]] = {
    "precision": precision,
    "recall": recall,
    "balanced_accuracy": recall,
    "f1": f1,
    "auc": auc,
}
