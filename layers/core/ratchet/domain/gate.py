"""The gate: whether a candidate may replace the champion. Pure; the same holdout always gets the same decision."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ratchet.domain.definition import GateSection, Metric, SlicesSection
from ratchet.domain.metrics import METRICS, SMALLER_IS_BETTER, Answers, Floats, gain, losses
from ratchet.domain.student import t_cdf, t_quantile

FEWEST_DAYS = 14  # daily blocks under which Diebold-Mariano says little
FEWEST_ROWS = 30  # independent rows under which the bootstrap says little
RESAMPLES = 2_000
SEED = 20_170_301  # any number does; a stated one makes the decision repeatable


@dataclass(frozen=True)
class Holdout:
    """The rows both models are judged on; `actual` and `naive` are class codes in a classification."""

    actual: Floats
    naive: Floats  # NaN where no naive forecast exists
    fresh: NDArray[np.bool_]  # rows the champion was not trained on
    days: NDArray[np.datetime64] | None = None  # set when rows follow each other in time
    slices: dict[str, NDArray[np.str_]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Candidate against champion on the fresh rows."""

    method: str  # diebold_mariano | paired_bootstrap
    blocks: int  # days, or rows when they are independent
    probability: float  # that the candidate is better
    interval: tuple[float, float]  # of the gain, two-sided, each side at the gate's confidence
    unit: str  # of the interval


@dataclass(frozen=True)
class Rule:
    """One condition's verdict, with the numbers behind it."""

    name: str  # threshold | beat_naive | champion | slices
    passed: bool
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """All rules, and the scores on the whole holdout."""

    candidate: float
    champion: float | None
    naive: float | None
    rules: tuple[Rule, ...]

    @property
    def promote(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failed(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if not rule.passed)


def judge(
    gate: GateSection,
    holdout: Holdout,
    candidate: Answers,
    champion: Answers | None,
    champion_rule: Rule | None = None,
) -> Decision:
    """Applies every rule; `champion_rule` stands in for the comparison when the champion is the very same model."""
    score = METRICS[gate.metric]
    with_naive = ~np.isnan(holdout.naive)
    naive = score(holdout.actual[with_naive], Answers(holdout.naive[with_naive])) if with_naive.any() else None
    rules = [_threshold(gate, score(holdout.actual, candidate))]
    if gate.beat_naive:
        rules.append(_beat_naive(gate, holdout, candidate, with_naive, naive))
    rules.append(champion_rule or _beat_champion(gate, holdout, candidate, champion))
    if gate.slices is not None and champion is not None:
        rules.append(_slices(gate.metric, gate.slices, holdout, candidate, champion))
    return Decision(
        candidate=score(holdout.actual, candidate),
        champion=None if champion is None else score(holdout.actual, champion),
        naive=naive,
        rules=tuple(rules),
    )


def compare(gate: GateSection, holdout: Holdout, candidate: Answers, champion: Answers) -> Comparison | None:
    """The statistical comparison on the fresh rows, or None when they are too few to say anything."""
    fresh = holdout.fresh
    actual, ours, theirs = holdout.actual[fresh], candidate.take(fresh), champion.take(fresh)
    days = None if holdout.days is None else holdout.days[fresh]
    blocks = len(actual) if days is None else len(np.unique(days))
    if blocks < (FEWEST_ROWS if days is None else FEWEST_DAYS):
        return None
    our_losses, their_losses = losses(gate.metric, actual, ours), losses(gate.metric, actual, theirs)
    if days is not None and our_losses is not None and their_losses is not None:
        return _diebold_mariano(their_losses - our_losses, days, gate.confidence)
    return _paired_bootstrap(gate, actual, ours, theirs, days)


def _diebold_mariano(differences: Floats, days: NDArray[np.datetime64], confidence: float) -> Comparison:
    """Diebold-Mariano on daily loss differences (positive: the candidate is better).

    Variance by Newey and West with Bartlett weights and floor(4 (n/100)^(2/9)) lags, statistic corrected by Harvey,
    Leybourne and Newbold, one-sided by Student's t. A false promotion at .90 on 28 days happens in 10, 11 and 13 % of
    the cases under a daily autocorrelation of 0, .2 and .4.
    """
    unique, day_of_row = np.unique(days, return_inverse=True)
    daily = np.bincount(day_of_row, weights=differences).astype(np.float64)
    n = len(unique)
    mean, lags = float(daily.mean()), math.floor(4 * (n / 100) ** (2 / 9))
    horizon = lags + 1
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    error = math.sqrt(_newey_west(daily - mean, lags) / n) / correction
    probability = t_cdf(mean / error, n - 1) if error > 0 else float(mean > 0)  # no error: every day differs alike
    reach = t_quantile(confidence, n - 1) * error
    per_row = n / len(differences)
    interval = ((mean - reach) * per_row, (mean + reach) * per_row)
    return Comparison("diebold_mariano", n, probability, interval, "loss per row")


def _newey_west(centred: Floats, lags: int) -> float:
    n = len(centred)
    variance = float(centred @ centred) / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    return max(variance, 0.0)


def _paired_bootstrap(
    gate: GateSection, actual: Floats, ours: Answers, theirs: Answers, days: NDArray[np.datetime64] | None
) -> Comparison:
    """Resamples rows (or whole days), both models on the same ones."""
    score = METRICS[gate.metric]
    random = np.random.default_rng(SEED)
    blocks = None if days is None else [np.flatnonzero(days == day) for day in np.unique(days)]
    count = len(actual) if blocks is None else len(blocks)
    gains = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = random.integers(0, count, count)
        rows = drawn if blocks is None else np.concatenate([blocks[block] for block in drawn])
        gains[i] = gain(gate.metric, score(actual[rows], ours.take(rows)), score(actual[rows], theirs.take(rows)))
    low, high = np.quantile(gains, [1 - gate.confidence, gate.confidence])
    return Comparison("paired_bootstrap", count, float((gains > 0).mean()), (float(low), float(high)), gate.metric)


def _threshold(gate: GateSection, score: float) -> Rule:
    passed = gain(gate.metric, score, gate.threshold) >= 0
    side = "reaches" if passed else "misses"
    return Rule(
        "threshold",
        passed,
        f"{gate.metric} {score:.3f} {side} the threshold {gate.threshold:.3f}",
        {"score": score, "threshold": gate.threshold},
    )


def _beat_naive(
    gate: GateSection, holdout: Holdout, candidate: Answers, with_naive: NDArray[np.bool_], naive: float | None
) -> Rule:
    if naive is None:
        sentence = "there is no naive forecast to beat: the history is shorter than one season before the holdout"
        return Rule("beat_naive", False, sentence, {"rows": 0})
    score = METRICS[gate.metric](holdout.actual[with_naive], candidate.take(with_naive))
    passed = gain(gate.metric, score, naive) > 0
    sentence = (
        f"{gate.metric} {score:.3f} is {'better' if passed else 'not better'} than the naive forecast's {naive:.3f}"
    )
    return Rule("beat_naive", passed, sentence, {"score": score, "naive": naive, "rows": int(with_naive.sum())})


def _beat_champion(gate: GateSection, holdout: Holdout, candidate: Answers, champion: Answers | None) -> Rule:
    if champion is None:
        return Rule("champion", True, "there is no champion yet")
    comparison = compare(gate, holdout, candidate, champion)
    rows = int(holdout.fresh.sum())
    if comparison is None:
        unit = "rows" if holdout.days is None else "days"
        fewest = FEWEST_ROWS if holdout.days is None else FEWEST_DAYS
        sentence = (
            f"too little evidence against the champion: its training left {rows} fresh holdout rows,"
            f" and at least {fewest} {unit} are needed"
        )
        return Rule("champion", False, sentence, {"fresh_rows": rows})
    score = METRICS[gate.metric]
    actual = holdout.actual[holdout.fresh]
    ours, theirs = (score(actual, answers.take(holdout.fresh)) for answers in (candidate, champion))
    passed = comparison.probability >= gate.confidence and gain(gate.metric, ours, theirs) > 0
    sentence = (
        f"{ours:.3f} against the champion's {theirs:.3f} on {rows} fresh rows: better with probability"
        f" {comparison.probability:.3f}, and {gate.confidence:.2f} is needed"
    )
    numbers = {
        "candidate": ours,
        "champion": theirs,
        "fresh_rows": rows,
        "method": comparison.method,
        "blocks": comparison.blocks,
        "probability": comparison.probability,
        "confidence": gate.confidence,
        "interval": list(comparison.interval),
        "interval_unit": comparison.unit,
    }
    return Rule("champion", passed, sentence, numbers)


def _slices(metric: Metric, slices: SlicesSection, holdout: Holdout, candidate: Answers, champion: Answers) -> Rule:
    found = list(_slice_scores(metric, slices, holdout, candidate, champion))
    worse = [item for item in found if item["regression"] > slices.max_regression]
    if not worse:
        sentence = f"none of {len(found)} slices regresses by more than {slices.max_regression:.3f}"
        return Rule("slices", True, sentence, {"slices": found})
    worst = max(worse, key=lambda item: float(item["regression"]))
    sentence = (
        f"{len(worse)} of {len(found)} slices regress by more than {slices.max_regression:.3f}; the worst is"
        f" {worst['column']} = {worst['value']}: {worst['candidate']:.3f} after the champion's {worst['champion']:.3f}"
    )
    return Rule("slices", False, sentence, {"slices": found})


def _slice_scores(
    metric: Metric, slices: SlicesSection, holdout: Holdout, candidate: Answers, champion: Answers
) -> Iterator[dict[str, Any]]:
    score = METRICS[metric]
    for column, values in holdout.slices.items():
        for value in np.unique(values[holdout.fresh]):
            rows = (values == value) & holdout.fresh
            if int(rows.sum()) < slices.min_rows:
                continue
            ours = score(holdout.actual[rows], candidate.take(rows))
            theirs = score(holdout.actual[rows], champion.take(rows))
            regression = -gain(metric, ours, theirs)
            if metric in SMALLER_IS_BETTER and theirs:
                regression /= theirs  # an error has a unit: its regression is relative
            yield {
                "column": column,
                "value": str(value),
                "rows": int(rows.sum()),
                "candidate": ours,
                "champion": theirs,
                "regression": regression,
            }
