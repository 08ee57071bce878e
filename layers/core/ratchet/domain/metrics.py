"""The gate's metrics: names, directions, and what a model's answers are worth.

Every metric but AUC is a function of sums over rows (`Sums`). That is what makes a bootstrap of a million rows quick: a
resample only weighs the rows, or the days or the cells they were summed up to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ratchet.domain.definition import Metric

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SMALLER_IS_BETTER: frozenset[Metric] = frozenset({"rmse", "mae", "mape", "smape", "log_loss"})
SURE = 1e-15  # no probability is taken to be nearer to 0: one wrong certainty must not outweigh all else


@dataclass(frozen=True)
class Answers:
    """What one model said of every row: a number, or a class's code with the probability of every class."""

    values: Floats
    probabilities: Floats | None = None  # rows x classes

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Answers":
        """The answers for some rows."""
        return Answers(self.values[rows], None if self.probabilities is None else self.probabilities[rows])


class Measured(Protocol):
    """A metric on some rows, ready to be asked for any weights of them."""

    def resampled(self, weights: Floats) -> Floats:
        """The metric under each line of weights (resamples x rows)."""

    def contributions(self) -> Floats:
        """Each row's part: their mean is the metric, their spread is its uncertainty (first order)."""


@dataclass(frozen=True)
class Sums:
    """A metric as a function of its columns' sums over rows, or over groups of rows."""

    columns: Floats  # rows x sums
    value: Callable[[Floats], Floats]  # sums in the last axis -> metric

    def resampled(self, weights: Floats) -> Floats:
        return self.value(weights @ self.columns)

    def contributions(self) -> Floats:
        """The jackknife's pseudo-values: what the metric owes to each row, or group of rows."""
        count, totals = len(self.columns), self.columns.sum(axis=0)
        return count * self.value(totals) - (count - 1) * self.value(totals - self.columns)


@dataclass(frozen=True)
class Areas:
    """Area under the ROC curve, each class against the rest, averaged over the classes that occur."""

    rankings: tuple["Ranking", ...]  # none when the answers hold no probabilities or there is one class only
    rows: int

    def resampled(self, weights: Floats) -> Floats:
        if not self.rankings:
            return np.full(len(weights), 0.5)
        return _mean_of_all([ranking.area(weights) for ranking in self.rankings])

    def contributions(self) -> Floats:
        if not self.rankings:
            return np.full(self.rows, 0.5)
        return _mean_of_all([ranking.contributions() for ranking in self.rankings])


@dataclass(frozen=True)
class Ranking:
    """The rows in order of one class's score."""

    order: Indices
    starts: Indices  # where a run of equal scores begins
    positive: Floats  # 1 where the row is of the class, in this order

    @classmethod
    def of(cls, positive: NDArray[np.bool_], scores: Floats) -> "Ranking":
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        return cls(order, starts, positive[order].astype(np.float64))

    def area(self, weights: Floats) -> Floats:
        """The weighted share of pairs in order, a tie counting half; 0.5 where a resample holds one kind only."""
        weighed = weights[..., self.order]
        positives, everything = (
            np.add.reduceat(part, self.starts, axis=-1) for part in (weighed * self.positive, weighed)
        )
        negatives = everything - positives
        below = np.cumsum(negatives, axis=-1) - negatives / 2
        pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
        return _ratio((positives * below).sum(axis=-1), pairs, 0.5)

    def contributions(self) -> Floats:
        """DeLong's structural components, scaled so that their mean is the area."""
        positives = np.add.reduceat(self.positive, self.starts)
        negatives = np.add.reduceat(1 - self.positive, self.starts)
        ties = np.diff(np.append(self.starts, len(self.order)))
        below = np.repeat((np.cumsum(negatives) - negatives / 2) / negatives.sum(), ties)
        above = np.repeat((positives.sum() - np.cumsum(positives) + positives / 2) / positives.sum(), ties)
        area = float(below @ self.positive / positives.sum())
        share = positives.sum() / len(self.order)
        parts = np.empty(len(self.order))
        parts[self.order] = area + np.where(self.positive == 1, (below - area) / share, (above - area) / (1 - share))
        return parts


def measure(
    metric: Metric,
    actual: Floats,
    answers: Answers,
    positive: int | None = None,
    groups: Indices | None = None,
) -> Measured:
    """The metric on rows, or on groups of rows (each row's group, from 0), where it is a function of sums.

    `positive` is the class that precision, recall, F1 and AUC are about; without one they are means over the classes.
    """
    if metric == "auc":
        return _areas(actual, answers, positive)
    if metric in _OF_CLASSES:
        wanted = None if metric == "balanced_accuracy" else positive
        counts = _class_counts(actual, answers, wanted, groups)
        return Sums(counts.reshape(len(counts), -1), _mean_over_classes(_OF_CLASSES[metric]))
    columns, value = _OF_ROWS[metric]
    rows = np.column_stack(columns(actual, answers))
    return Sums(rows if groups is None else grouped(rows, groups), value)


def score(metric: Metric, actual: Floats, answers: Answers, positive: int | None = None) -> float:
    """What the answers are worth."""
    if metric == "auc":
        return float(measure(metric, actual, answers, positive).resampled(np.ones((1, len(actual))))[0])
    return float(
        measure(metric, actual, answers, positive, np.zeros(len(actual), np.intp)).resampled(np.ones((1, 1)))[0]
    )


def gain(metric: Metric, score: float, other: float) -> float:
    """By how much `score` is better than `other`, whatever the metric's direction."""
    return other - score if metric in SMALLER_IS_BETTER else score - other


def losses(metric: Metric, actual: Floats, answers: Answers) -> Floats | None:
    """The metric's loss of every row, or None for those that are no sums of losses."""
    if metric in _LOSSES:
        return _LOSSES[metric](actual, answers)
    return None


def grouped(columns: Floats, groups: Indices) -> Floats:
    """Columns summed up by group."""
    return np.column_stack([np.bincount(groups, weights=column) for column in columns.T])


def _ratio(over: Floats, under: Floats, empty: float | Floats) -> Floats:
    result = np.array(np.broadcast_to(empty, np.shape(over)), dtype=np.float64)
    np.divide(over, under, out=result, where=np.asarray(under) > 0)
    return result


def _mean_of_all(parts: list[Floats]) -> Floats:
    mean: Floats = np.mean(parts, axis=0)
    return mean


def _errors(actual: Floats, answers: Answers) -> Floats:
    errors: Floats = np.abs(actual - answers.values)
    return errors


def _squares(actual: Floats, answers: Answers) -> Floats:
    squares: Floats = np.square(actual - answers.values)
    return squares


def _relative(actual: Floats, answers: Answers) -> Floats:
    """Errors as shares of the actual values; nothing where that is 0."""
    return _ratio(_errors(actual, answers), np.abs(actual), 0.0)


def _symmetric(actual: Floats, answers: Answers) -> Floats:
    return _ratio(2 * _errors(actual, answers), np.abs(actual) + np.abs(answers.values), 0.0)


def _wrong(actual: Floats, answers: Answers) -> Floats:
    wrong: Floats = (actual != answers.values).astype(np.float64)
    return wrong


def _surprise(actual: Floats, answers: Answers) -> Floats:
    """-log of the probability given to what happened; a label without probabilities is taken as certain."""
    if answers.probabilities is None:
        given = (actual == answers.values).astype(np.float64)
    else:
        given = answers.probabilities[np.arange(len(actual)), actual.astype(np.intp)]
    surprise: Floats = -np.log(np.clip(given, SURE, 1.0))
    return surprise


_LOSSES: dict[Metric, Callable[[Floats, Answers], Floats]] = {
    "forecast_accuracy": _errors,
    "mae": _errors,
    "rmse": _squares,
    "r2": _squares,
    "mape": _relative,
    "smape": _symmetric,
    "accuracy": _wrong,
    "log_loss": _surprise,
}


def mean_of(sums: Floats) -> Floats:
    """The first sum over the second."""
    return _ratio(sums[..., 0], sums[..., 1], 0.0)


def _with_ones(loss: Callable[[Floats, Answers], Floats]) -> Callable[[Floats, Answers], list[Floats]]:
    return lambda actual, answers: [loss(actual, answers), np.ones(len(actual))]


def _around_first(actual: Floats) -> Floats:
    """Differences to one of the values: exactly 0 where all are alike, and precise where they differ by little."""
    around: Floats = actual - actual[0]
    return around


def _explained(sums: Floats) -> Floats:
    spread = sums[..., 2] - _ratio(np.square(sums[..., 1]), sums[..., 3], 0.0)
    explained: Floats = np.where(spread > 0, 1.0 - _ratio(sums[..., 0], spread, 0.0), 0.0)
    return explained


# What is summed up over rows, and the metric made of the sums. All-zero actual values leave only a perfect forecast
# worth something in forecast_accuracy and mape.
_OF_ROWS: dict[Metric, tuple[Callable[[Floats, Answers], list[Floats]], Callable[[Floats], Floats]]] = {
    "forecast_accuracy": (
        lambda actual, answers: [_errors(actual, answers), np.abs(actual)],
        lambda sums: 1.0 - _ratio(sums[..., 0], sums[..., 1], (sums[..., 0] > 0).astype(np.float64)),
    ),
    "mae": (_with_ones(_errors), mean_of),
    "rmse": (_with_ones(_squares), lambda sums: np.sqrt(mean_of(sums))),
    "r2": (
        lambda actual, answers: [
            _squares(actual, answers),
            _around_first(actual),
            np.square(_around_first(actual)),
            np.ones(len(actual)),
        ],
        _explained,
    ),
    "mape": (
        lambda actual, answers: [
            _relative(actual, answers),
            (actual != 0).astype(np.float64),
            _errors(actual, answers),
        ],
        lambda sums: _ratio(sums[..., 0], sums[..., 1], (sums[..., 2] > 0).astype(np.float64)),
    ),
    "smape": (_with_ones(_symmetric), mean_of),
    "accuracy": (_with_ones(_wrong), lambda sums: 1.0 - mean_of(sums)),
    "log_loss": (_with_ones(_surprise), mean_of),
}


def _precision(counts: Floats) -> Floats:
    return _ratio(counts[..., 0], counts[..., 2], 0.0)


def _recall(counts: Floats) -> Floats:
    return _ratio(counts[..., 0], counts[..., 1], 0.0)


def _f1(counts: Floats) -> Floats:
    return _ratio(2 * counts[..., 0], counts[..., 1] + counts[..., 2], 0.0)


# Of one class's hits, how often it happened, and how often it was said.
_OF_CLASSES: dict[Metric, Callable[[Floats], Floats]] = {
    "precision": _precision,
    "recall": _recall,
    "balanced_accuracy": _recall,
    "f1": _f1,
}
LABEL_METRICS: frozenset[Metric] = frozenset({"accuracy", *_OF_CLASSES})  # they depend on labels alone


def _class_counts(actual: Floats, answers: Answers, positive: int | None, groups: Indices | None) -> Floats:
    """Groups x classes x (hits, happened, said)."""
    happened, said = actual.astype(np.intp), answers.values.astype(np.intp)
    classes = int(max(happened.max(), said.max(), positive or 0)) + 1
    group = np.arange(len(actual)) if groups is None else groups
    shape = (int(group.max()) + 1, classes)
    counts = np.stack(
        [
            np.bincount(group[rows] * classes + codes[rows], minlength=shape[0] * classes).reshape(shape)
            for codes, rows in ((happened, happened == said), (happened, slice(None)), (said, slice(None)))
        ],
        axis=-1,
    ).astype(np.float64)
    return counts if positive is None else counts[:, positive : positive + 1]


def _mean_over_classes(of_class: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """The mean over the classes that happened."""

    def value(sums: Floats) -> Floats:
        counts = sums.reshape(*sums.shape[:-1], -1, 3)
        happened = counts[..., 1] > 0
        return _ratio((of_class(counts) * happened).sum(axis=-1), happened.sum(axis=-1), 0.0)

    return value


def _areas(actual: Floats, answers: Answers, positive: int | None) -> Areas:
    if answers.probabilities is None:
        return Areas((), len(actual))
    codes = [float(positive)] if positive is not None else np.unique(actual).tolist()
    # Of two classes the one's area is the other's.
    wanted = codes[1:] if len(codes) == 2 and answers.probabilities.shape[1] == 2 else codes
    kinds = ((actual == code, answers.probabilities[:, int(code)]) for code in wanted)
    return Areas(tuple(Ranking.of(of, scores) for of, scores in kinds if 0 < of.sum() < len(actual)), len(actual))
