"""Candidate against champion: how sure one can be that the difference is no accident of this holdout."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ratchet.domain.definition import Metric
from ratchet.domain.metrics import (
    LABEL_METRICS,
    SMALLER_IS_BETTER,
    Answers,
    Floats,
    Indices,
    Measured,
    Sums,
    grouped,
    losses,
    mean_of,
    measure,
)
from ratchet.domain.student import t_cdf, t_quantile

FEWEST_DAYS = 14  # daily blocks under which Diebold-Mariano says little
FEWEST_ROWS = 30  # independent rows under which the bootstrap says little
RESAMPLES = 2_000
SEED = 20_170_301  # any number does; a stated one makes the decision repeatable
EXACT_AREAS = 2_000  # rows up to which AUC is computed anew for every resample
MOST_BLOCKS = 20_000  # that a resample draws
WEIGHTS = 4_000_000  # held at a time: 32 MB

Days = NDArray[np.datetime64]
Pair = tuple[Measured, Measured]


@dataclass(frozen=True)
class Contest:
    """Two models' answers for the same rows."""

    metric: Metric
    actual: Floats
    candidate: Answers
    champion: Answers
    positive: int | None = None  # as in `measure`

    def measured(self, groups: Indices | None = None) -> Pair:
        """Candidate and champion, by rows or by groups of rows."""
        ours, theirs = (
            measure(self.metric, self.actual, answers, self.positive, groups)
            for answers in (self.candidate, self.champion)
        )
        return ours, theirs

    def take(self, rows: Indices) -> "Contest":
        """The contest on some rows."""
        return replace(
            self, actual=self.actual[rows], candidate=self.candidate.take(rows), champion=self.champion.take(rows)
        )


@dataclass(frozen=True)
class Comparison:
    """Candidate against champion on the fresh rows; gains are positive where the candidate is better."""

    method: str  # diebold_mariano | paired_bootstrap
    blocks: int  # days, or rows when they are independent
    probability: float  # that the candidate is better
    interval: tuple[float, float]  # of the gain, two-sided, each side at the gate's confidence
    unit: str  # of the interval
    bootstrap_interval: tuple[float, float]  # the same in the metric's unit, from resampled rows or days
    statistic: float | None = None  # Diebold-Mariano's, after the correction
    lags: int | None = None  # of the Newey-West variance


def compare(contest: Contest, confidence: float, days: Days | None = None) -> Comparison | None:
    """Diebold-Mariano when the rows have days, else the paired bootstrap; None when there are too few of them."""
    rows = len(contest.actual)
    unique, day_of_row = (None, None) if days is None else np.unique(days, return_inverse=True)
    blocks = rows if unique is None else len(unique)
    if blocks < (FEWEST_ROWS if day_of_row is None else FEWEST_DAYS):
        return None
    gains = bootstrap(contest, day_of_row)
    low, high = (float(edge) for edge in np.quantile(gains, [1 - confidence, confidence]))
    if day_of_row is None:
        better = float((gains > 0).mean())
        return Comparison("paired_bootstrap", blocks, better, (low, high), contest.metric, (low, high))
    daily, unit = daily_gains(contest, day_of_row)
    return diebold_mariano(daily, confidence, unit, (low, high))


def daily_gains(contest: Contest, day_of_row: Indices) -> tuple[Floats, str]:
    """By how much the candidate is better on each day, all series together, and the unit of that.

    Series that move together are no independent evidence, so a day counts once, however many series it has.
    """
    ours, theirs = (
        losses(contest.metric, contest.actual, answers) for answers in (contest.candidate, contest.champion)
    )
    if ours is not None and theirs is not None:
        rows_a_day = len(ours) / (int(day_of_row.max()) + 1)
        return np.bincount(day_of_row, weights=theirs - ours).astype(np.float64) / rows_a_day, "loss per row"
    our_days, their_days = (_contributions(measured, day_of_row) for measured in contest.measured(day_of_row))
    return our_days - their_days, contest.metric


def _contributions(measured: Measured, day_of_row: Indices) -> Floats:
    parts = measured.contributions()
    if isinstance(measured, Sums):  # by day already
        return parts
    mean, days = float(parts.mean()), int(day_of_row.max()) + 1
    by_day: Floats = mean + np.bincount(day_of_row, weights=parts - mean).astype(np.float64) * (days / len(parts))
    return by_day


def diebold_mariano(daily: Floats, confidence: float, unit: str, bootstrap_interval: tuple[float, float]) -> Comparison:
    """Diebold-Mariano on daily gains.

    Variance by Newey and West with Bartlett weights and floor(4 (n/100)^(2/9)) lags, statistic corrected by Harvey,
    Leybourne and Newbold, one-sided by Student's t with n - 1 degrees of freedom. How often it errs: docs/gate.md.
    """
    n, mean = len(daily), float(daily.mean())
    lags = math.floor(4 * (n / 100) ** (2 / 9))
    horizon = lags + 1
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    error = math.sqrt(newey_west(daily - mean, lags) / n) / correction
    # Without any error every day differs alike, or not at all: a tie.
    alike = error <= 1e-12 * abs(mean)
    statistic = (math.inf if mean > 0 else -math.inf) if alike else mean / error
    reach = t_quantile(confidence, n - 1) * error
    return Comparison(
        method="diebold_mariano",
        blocks=n,
        probability=t_cdf(statistic, n - 1),
        interval=(mean - reach, mean + reach),
        unit=unit,
        bootstrap_interval=bootstrap_interval,
        statistic=statistic if math.isfinite(statistic) else None,
        lags=lags,
    )


def newey_west(centred: Floats, lags: int) -> float:
    """The long-run variance of a centred series."""
    n = len(centred)
    variance = float(centred @ centred) / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    return max(variance, 0.0)


def bootstrap(contest: Contest, block_of_row: Indices | None = None) -> Floats:
    """The gains of RESAMPLES draws of rows, or of whole blocks of them (days), both models on the same ones.

    Beyond MOST_BLOCKS rows, neighbours are drawn together: the gain varies as much, and time does not grow with rows.
    """
    if block_of_row is None and contest.metric in LABEL_METRICS:
        return _of_cells(contest)
    rows = len(contest.actual)
    if block_of_row is None and rows > MOST_BLOCKS:
        block_of_row = np.arange(rows) * MOST_BLOCKS // rows
    blocks = rows if block_of_row is None else int(block_of_row.max()) + 1
    pair: Pair = contest.measured(block_of_row)
    if contest.metric == "auc" and rows > EXACT_AREAS:
        pair = _linear(pair[0], block_of_row), _linear(pair[1], block_of_row)
    elif contest.metric == "auc" and block_of_row is not None:
        return _gains(contest.metric, pair, (drawn[:, block_of_row] for drawn in _draws(blocks, rows)))
    return _gains(contest.metric, pair, _draws(blocks, blocks))


def _gains(metric: Metric, pair: Pair, draws: Iterator[Floats]) -> Floats:
    candidate, champion = pair
    gains = np.concatenate([candidate.resampled(drawn) - champion.resampled(drawn) for drawn in draws])
    return -gains if metric in SMALLER_IS_BETTER else gains


def _draws(blocks: int, width: int) -> Iterator[Floats]:
    """How often each block is drawn, RESAMPLES times, as many at a time as fit in WEIGHTS of this width."""
    random = np.random.default_rng(SEED)
    at_once = max(1, WEIGHTS // width)
    for start in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - start)
        drawn = random.integers(0, blocks, (size, blocks), dtype=np.int32) + np.arange(size)[:, None] * blocks
        yield np.bincount(drawn.ravel(), minlength=size * blocks).reshape(size, blocks).astype(np.float64)


def _of_cells(contest: Contest) -> Floats:
    """Rows with the same three labels are alike: drawing rows is drawing how many there are of each kind."""
    labels = np.stack([contest.actual, contest.candidate.values, contest.champion.values])
    classes = int(labels.max()) + 1
    kinds = (labels[0] * classes + labels[1]) * classes + labels[2]
    _, first, counts = np.unique(kinds, return_index=True, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(labels.shape[1], counts / labels.shape[1], RESAMPLES)
    return _gains(contest.metric, contest.take(first).measured(), iter([drawn.astype(np.float64)]))


def _linear(measured: Measured, block_of_row: Indices | None) -> Sums:
    """The metric as the mean of its rows' contributions, which it is to first order."""
    parts = measured.contributions()
    columns = np.column_stack([parts, np.ones(len(parts))])
    return Sums(columns if block_of_row is None else grouped(columns, block_of_row), mean_of)
