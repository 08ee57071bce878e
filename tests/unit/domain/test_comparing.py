"""Candidate against champion: Diebold-Mariano on days, the paired bootstrap on rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ratchet.domain.comparing import (
    EXACT_AREAS,
    MOST_BLOCKS,
    RESAMPLES,
    Comparison,
    Contest,
    bootstrap,
    compare,
    daily_gains,
)
from ratchet.domain.definition import Metric
from ratchet.domain.metrics import Answers, Floats, gain, score

Days = NDArray[np.datetime64]
FIRST = np.datetime64("2026-02-01")


def days(count: int, rows_each: int = 1) -> Days:
    return FIRST + np.repeat(np.arange(count), rows_each)


def compared(contest: Contest, on: Days | None = None, confidence: float = 0.9) -> Comparison:
    found = compare(contest, confidence, on)
    assert found is not None
    return found


def labelled(rows: int, wrong: float, classes: int = 3, seed: int = 1) -> tuple[Floats, Answers]:
    """Actual labels, and answers of which about a share is wrong."""
    random = np.random.default_rng(seed)
    actual = np.random.default_rng(9).integers(0, classes, rows).astype(np.float64)
    said = np.where(random.random(rows) < wrong, random.integers(0, classes, rows), actual)
    shares = random.dirichlet(np.ones(classes), rows)
    shares[np.arange(rows), said.astype(int)] += 1
    return actual, Answers(said, shares / 2)


def test_diebold_mariano_by_hand() -> None:
    """Fourteen days, one row each: mean, Bartlett-weighted variance with 2 lags, correction, Student's t with 13."""
    differences = np.array([3, 1, 4, 1, 5, -9, 2, 6, 5, 3, 5, 8, 9, 7], dtype=np.float64)
    n, mean = 14, differences.mean()
    c = differences - mean
    variance = (c @ c + 2 * (2 / 3) * (c[1:] @ c[:-1]) + 2 * (1 / 3) * (c[2:] @ c[:-2])) / n
    correction = ((n + 1 - 2 * 3 + 3 * 2 / n) / n) ** 0.5
    statistic = mean / (variance / n) ** 0.5 * correction
    found = compared(Contest("mae", np.zeros(n), Answers(np.full(n, 10.0)), Answers(10 + differences)), days(n))
    assert (found.method, found.blocks, found.lags, found.unit) == ("diebold_mariano", 14, 2, "loss per row")
    assert found.statistic == pytest.approx(statistic)
    assert statistic == pytest.approx(2.281313352692225)
    assert found.probability == pytest.approx(0.9799892467371758)  # scipy.stats.t.cdf(statistic, 13)
    error = mean / statistic
    assert found.interval == pytest.approx((mean - 1.350171 * error, mean + 1.350171 * error), rel=1e-5)


def test_series_that_move_together_are_no_more_evidence_than_one() -> None:
    """Ten copies of a series: the same days, the same difference, the same probability."""
    random = np.random.default_rng(4)
    actual, ours, theirs = np.zeros(28), random.normal(size=28), random.normal(1, 1, 28)
    one = compared(Contest("mae", actual, Answers(ours), Answers(theirs)), days(28))
    ten = compared(
        Contest("mae", np.repeat(actual, 10), Answers(np.repeat(ours, 10)), Answers(np.repeat(theirs, 10))),
        days(28, rows_each=10),
    )
    assert ten.blocks == one.blocks == 28
    assert ten.probability == pytest.approx(one.probability)
    assert ten.interval == pytest.approx(one.interval)
    assert ten.bootstrap_interval == pytest.approx(one.bootstrap_interval)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "precision", "recall", "f1", "auc"])
@pytest.mark.parametrize("positive", [None, 1])
def test_metrics_that_are_no_sums_of_losses_owe_every_day_its_part(metric: Metric, positive: int | None) -> None:
    """The daily parts' mean is the metric's difference, and whole days are resampled for the interval beside it."""
    actual, ours = labelled(28 * 24, 0.2)
    _, theirs = labelled(28 * 24, 0.4, seed=2)
    contest = Contest(metric, actual, ours, theirs, positive)
    _, day_of_row = np.unique(days(28, 24), return_inverse=True)
    gains, unit = daily_gains(contest, day_of_row)
    difference = score(metric, actual, ours, positive) - score(metric, actual, theirs, positive)
    assert unit == metric
    assert gains.mean() == pytest.approx(difference, abs=0.003)
    found = compared(contest, days(28, 24))
    assert (found.method, found.blocks) == ("diebold_mariano", 28)
    assert found.probability > 0.99
    low, high = found.bootstrap_interval
    assert low < difference < high
    assert found.interval == pytest.approx((low, high), abs=0.02)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "log_loss"])
def test_the_bootstrap_is_that_of_drawn_rows(metric: Metric) -> None:
    """Weighing rows, or kinds of rows, gives the distribution that drawing rows one by one gives."""
    actual, ours = labelled(300, 0.2)
    _, theirs = labelled(300, 0.3, seed=2)
    gains = bootstrap(Contest(metric, actual, ours, theirs))
    assert len(gains) == RESAMPLES
    random = np.random.default_rng(11)
    drawn = []
    for _ in range(600):
        rows = random.integers(0, 300, 300)
        pair = (score(metric, actual[rows], answers.take(rows)) for answers in (ours, theirs))
        drawn.append(gain(metric, *pair))
    quantiles = [0.1, 0.5, 0.9]
    assert np.quantile(gains, quantiles) == pytest.approx(np.quantile(drawn, quantiles), abs=0.2 * float(np.std(drawn)))


@pytest.mark.parametrize("metric", ["forecast_accuracy", "mae", "rmse", "r2", "mape", "smape"])
def test_the_bootstrap_of_numbers_is_that_of_drawn_rows(metric: Metric) -> None:
    random = np.random.default_rng(5)
    actual = random.normal(50, 20, 200).round()
    ours, theirs = (Answers(actual + random.normal(0, spread, 200)) for spread in (5, 6))
    gains = bootstrap(Contest(metric, actual, ours, theirs))
    drawn = []
    for _ in range(600):
        rows = random.integers(0, 200, 200)
        pair = (score(metric, actual[rows], answers.take(rows)) for answers in (ours, theirs))
        drawn.append(gain(metric, *pair))
    quantiles = [0.1, 0.5, 0.9]
    assert np.quantile(gains, quantiles) == pytest.approx(np.quantile(drawn, quantiles), abs=0.2 * float(np.std(drawn)))


def test_many_rows_of_auc_are_resampled_by_their_contributions() -> None:
    """Beyond EXACT_AREAS the mean of DeLong's components stands for the area: the interval is the same."""
    rows = EXACT_AREAS
    actual, ours = labelled(rows, 0.3, classes=2)
    _, theirs = labelled(rows, 0.32, classes=2, seed=2)
    exact = np.quantile(bootstrap(Contest("auc", actual, ours, theirs)), [0.05, 0.5, 0.95])
    more = Contest("auc", *(np.append(actual, 1.0),), with_row(ours), with_row(theirs))
    linear = np.quantile(bootstrap(more), [0.05, 0.5, 0.95])
    assert linear == pytest.approx(exact, abs=0.1 * (exact[2] - exact[0]))


def test_very_many_rows_are_drawn_with_their_neighbours() -> None:
    """Twice MOST_BLOCKS rows: the interval is the normal approximation's, which is exact enough for so many."""
    rows = 2 * MOST_BLOCKS
    random = np.random.default_rng(3)
    losses = random.exponential(1, (2, rows))
    gains = bootstrap(Contest("mae", np.zeros(rows), Answers(losses[0]), Answers(losses[1])))
    difference = losses[1] - losses[0]
    assert gains.mean() == pytest.approx(difference.mean(), abs=0.1 * difference.std() / rows**0.5)
    assert gains.std() == pytest.approx(difference.std() / rows**0.5, rel=0.06)


def with_row(answers: Answers) -> Answers:
    assert answers.probabilities is not None
    return Answers(np.append(answers.values, 1.0), np.vstack([answers.probabilities, [0.2, 0.8]]))


@pytest.mark.parametrize("rows", [29, 30])
def test_fewer_than_thirty_rows_say_nothing(rows: int) -> None:
    actual, ours = labelled(rows, 0.1)
    assert (compare(Contest("accuracy", actual, ours, ours), 0.9) is None) is (rows < 30)


@pytest.mark.parametrize("count", [13, 14])
def test_fewer_than_fourteen_days_say_nothing(count: int) -> None:
    zeros = np.zeros(count * 24)
    contest = Contest("mae", zeros, Answers(zeros), Answers(zeros + 1))
    assert (compare(contest, 0.9, days(count, 24)) is None) is (count < 14)


def test_the_same_rows_get_the_same_comparison() -> None:
    actual, ours = labelled(400, 0.2)
    _, theirs = labelled(400, 0.3, seed=2)
    assert compared(Contest("f1", actual, ours, theirs)) == compared(Contest("f1", actual, ours, theirs))
