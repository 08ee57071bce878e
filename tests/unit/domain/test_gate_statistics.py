"""The gate's statistics: against SciPy on the same data, and by how often they err over thousands of simulated pairs.

The figures printed here (`pytest -s`) stand in docs/gate.md.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from ratchet.domain.comparing import RESAMPLES, Contest, bootstrap, compare, diebold_mariano, newey_west
from ratchet.domain.metrics import Answers, Floats, score
from ratchet.domain.student import t_cdf, t_quantile

CONFIDENCE = 0.90
DAYS = 28
PAIRS = 4_000


def daily_differences(pairs: int, rho: float, effect: float = 0.0, seed: int = 1) -> Iterator[Floats]:
    """Daily loss differences of variance 1 with an autocorrelation; `effect` is their mean."""
    random = np.random.default_rng(seed)
    series = np.empty((pairs, DAYS))
    series[:, 0] = random.normal(size=pairs)
    for day in range(1, DAYS):
        series[:, day] = rho * series[:, day - 1] + np.sqrt(1 - rho**2) * random.normal(size=pairs)
    yield from series + effect


def promotions(daily: Iterator[Floats]) -> float:
    """How often Diebold-Mariano promotes."""
    found = [diebold_mariano(days, CONFIDENCE, "loss", (0.0, 0.0)).probability >= CONFIDENCE for days in daily]
    return sum(found) / len(found)


@pytest.mark.parametrize(("rho", "at_most"), [(0.0, 0.12), (0.2, 0.12), (0.4, None)])
def test_equal_models_are_promoted_as_seldom_as_the_confidence_says(rho: float, at_most: float | None) -> None:
    """At most (1 - confidence) + .02 up to an autocorrelation of .2; at .4 the figure is reported."""
    share = promotions(daily_differences(PAIRS, rho))
    print(f"false promotions of {PAIRS}, {DAYS} days, autocorrelation {rho}: {share:.3f}")  # noqa: T201
    assert share <= at_most if at_most else share < 0.2
    assert share > 0.05, "a test that never promotes is no test"


@pytest.mark.parametrize(("effect", "at_least"), [(0.25, 0.35), (0.5, 0.8), (1.0, 0.99)])
def test_a_real_difference_is_seen(effect: float, at_least: float) -> None:
    share = promotions(daily_differences(1_000, 0.2, effect))
    print(f"power, {DAYS} days, autocorrelation .2, mean gain of {effect} daily standard deviations: {share:.3f}")  # noqa: T201
    assert share >= at_least


def test_a_common_shock_to_ten_series_is_counted_once() -> None:
    """Ten series, of whose differences the most is common to all: still no more false promotions."""
    random = np.random.default_rng(2)
    days = np.datetime64("2026-02-01") + np.repeat(np.arange(DAYS), 10)
    zeros, false = np.zeros(DAYS * 10), 0
    for common in daily_differences(300, 0.0, seed=3):
        each = np.repeat(common, 10) + random.normal(0, 0.3, DAYS * 10)
        found = compare(Contest("mae", zeros, Answers(zeros + 10), Answers(10 + each)), CONFIDENCE, days)
        assert found is not None
        assert found.blocks == DAYS
        false += found.probability >= CONFIDENCE
    assert false / 300 < 0.16  # 300 pairs: .10 and three standard errors


def independent_promotions(pairs: int, rows: int, better: float = 0.0) -> float:
    """How often the paired bootstrap promotes a model that is right on a share of rows more than .8, the champion's."""
    random = np.random.default_rng(4)
    promoted = 0
    actual = np.zeros(rows)
    for _ in range(pairs):
        ours, theirs = (Answers((random.random(rows) > right).astype(np.float64)) for right in (0.8 + better, 0.8))
        found = compare(Contest("accuracy", actual, ours, theirs), CONFIDENCE)
        assert found is not None
        promoted += found.probability >= CONFIDENCE
    return promoted / pairs


def test_equal_classifiers_are_seldom_promoted_by_the_bootstrap() -> None:
    assert 0.05 < independent_promotions(500, 400) <= 0.12 + 0.02  # 500 pairs: two standard errors beside


@pytest.mark.slow
def test_equal_classifiers_are_seldom_promoted_by_the_bootstrap_over_all_pairs() -> None:
    share = independent_promotions(PAIRS, 400)
    power = independent_promotions(1_000, 400, better=0.05)
    print(f"bootstrap, 400 rows: false promotions {share:.3f}; power at 5 points of accuracy {power:.3f}")  # noqa: T201
    assert share <= 0.12
    assert power > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "at_most"), [(0.0, 0.12), (0.2, 0.12), (0.4, None)])
def test_equal_classifiers_over_days_are_seldom_promoted_by_their_daily_parts(
    rho: float, at_most: float | None
) -> None:
    """F1 has no daily loss: the jackknife's daily parts go through Diebold-Mariano. Errors cluster by day."""
    random = np.random.default_rng(6)
    rows = DAYS * 40
    actual = (np.arange(rows) % 3 == 0).astype(np.float64)
    days = np.datetime64("2026-02-01") + np.arange(rows) // 40
    pairs, promoted = 1_000, 0
    shocks = zip(daily_differences(pairs, rho, seed=7), daily_differences(pairs, rho, seed=8), strict=True)
    for ours, theirs in shocks:
        candidate, champion = (
            Answers(np.where(random.random(rows) < np.repeat(stats.norm.cdf(0.5 * day - 1), 40), 1 - actual, actual))
            for day in (ours, theirs)
        )
        found = compare(Contest("f1", actual, candidate, champion), CONFIDENCE, days)
        assert found is not None
        promoted += found.probability >= CONFIDENCE
    print(f"f1 over days, autocorrelation {rho}: false promotions {promoted / pairs:.3f}")  # noqa: T201
    assert promoted / pairs <= (at_most + 0.01 if at_most else 0.2)


def test_without_lags_diebold_mariano_is_the_t_test() -> None:
    """With no autocovariances to add, variance and correction come to Student's one-sample test."""
    daily = np.random.default_rng(5).normal(0.2, 1, DAYS)
    centred = daily - daily.mean()
    n = len(daily)
    statistic = daily.mean() / np.sqrt(newey_west(centred, 0) / n) * np.sqrt((n - 1) / n)
    expected = stats.ttest_1samp(daily, 0, alternative="greater")
    assert statistic == pytest.approx(expected.statistic)
    assert 1 - t_cdf(float(statistic), n - 1) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("degrees", [13, 27, 90, 364])
def test_student_is_scipys(degrees: int) -> None:
    points = np.linspace(-5, 5, 41)
    assert [t_cdf(float(t), degrees) for t in points] == pytest.approx(stats.t.cdf(points, degrees), abs=1e-12)
    shares = np.linspace(0.5, 0.999, 20)
    ours = [t_quantile(float(p), degrees) for p in shares]
    assert ours == pytest.approx(stats.t.ppf(shares, degrees), abs=1e-9)


def test_the_bootstrap_interval_is_scipys() -> None:
    """The paired percentile bootstrap of scipy.stats on the same rows; both draw, so they agree but for chance."""
    random = np.random.default_rng(8)
    actual = random.normal(50, 20, 300)
    ours, theirs = actual + random.normal(0, 5, 300), actual + random.normal(0, 6, 300)

    def difference(actual: Floats, ours: Floats, theirs: Floats) -> float:
        return score("rmse", actual, Answers(theirs)) - score("rmse", actual, Answers(ours))

    expected = stats.bootstrap(
        (actual, ours, theirs),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        confidence_level=0.8,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    gains = bootstrap(Contest("rmse", actual, Answers(ours), Answers(theirs)))
    low, high = np.quantile(gains, [0.1, 0.9])
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.05 * width)
    assert float(gains.std()) == pytest.approx(expected.standard_error, rel=0.06)


def test_auc_is_mann_whitneys() -> None:
    random = np.random.default_rng(9)
    actual = random.integers(0, 2, 500).astype(np.float64)
    scores = (actual * 0.3 + random.random(500)).round(2)  # with ties
    answers = Answers((scores > 0.5).astype(np.float64), np.column_stack([1 - scores, scores]))
    u = stats.mannwhitneyu(scores[actual == 1], scores[actual == 0]).statistic
    pairs = actual.sum() * (1 - actual).sum()
    assert score("auc", actual, answers) == pytest.approx(u / pairs)
