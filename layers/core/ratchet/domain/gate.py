"""The gate: whether a candidate may replace the champion. Pure; the same holdout always gets the same decision."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ratchet.domain.comparing import FEWEST_DAYS, FEWEST_ROWS, Comparison, Contest, compare
from ratchet.domain.definition import GateSection, Metric, SlicesSection
from ratchet.domain.judged import Labels
from ratchet.domain.metrics import SMALLER_IS_BETTER, Answers, Floats, Indices, gain, score


@dataclass(frozen=True)
class Holdout:
    """The rows both models are judged on; `actual` and `naive` are class codes in a classification."""

    actual: Floats
    naive: Floats  # NaN where no naive forecast exists
    fresh: NDArray[np.bool_]  # rows the champion was not trained on
    days: NDArray[np.datetime64] | None = None  # set when rows follow each other in time
    slices: Mapping[str, Labels] = field(default_factory=dict)
    naive_shares: Floats | None = None  # of each class before the holdout: the naive's probabilities
    naive_is: str = "the naive forecast"
    positive: int | None = None  # the code of `gate.positive`


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
    ours = score(gate.metric, holdout.actual, candidate, holdout.positive)
    naive = naive_score(gate.metric, holdout)
    rules = [_threshold(gate, ours)]
    if gate.beat_naive:
        rules.append(_beat_naive(gate, holdout, candidate, naive))
    rules.append(champion_rule or _beat_champion(gate, holdout, candidate, champion))
    if gate.slices is not None and champion is not None:
        rules.append(_slices(gate.metric, gate.slices, holdout, candidate, champion))
    theirs = None if champion is None else score(gate.metric, holdout.actual, champion, holdout.positive)
    return Decision(ours, theirs, naive, tuple(rules))


def naive_score(metric: Metric, holdout: Holdout) -> float | None:
    """What the naive forecast is worth on the rows that have one; None when none has."""
    known = ~np.isnan(holdout.naive)
    if not known.any():
        return None
    return score(metric, holdout.actual[known], _naive(holdout).take(known), holdout.positive)


def _naive(holdout: Holdout) -> Answers:
    shares = holdout.naive_shares
    rows = None if shares is None else np.broadcast_to(shares, (len(holdout.actual), len(shares)))
    return Answers(holdout.naive, rows)


def _threshold(gate: GateSection, ours: float) -> Rule:
    passed = gain(gate.metric, ours, gate.threshold) >= 0
    side = "reaches" if passed else "misses"
    return Rule(
        "threshold",
        passed,
        f"{gate.metric} {ours:.3f} {side} the threshold {gate.threshold:.3f}",
        {"score": ours, "threshold": gate.threshold},
    )


def _beat_naive(gate: GateSection, holdout: Holdout, candidate: Answers, naive: float | None) -> Rule:
    if naive is None:
        sentence = "there is no naive forecast to beat: the history is shorter than one season before the holdout"
        return Rule("beat_naive", False, sentence, {"rows": 0})
    known = ~np.isnan(holdout.naive)
    ours = score(gate.metric, holdout.actual[known], candidate.take(known), holdout.positive)
    passed = gain(gate.metric, ours, naive) > 0
    sentence = (
        f"{gate.metric} {ours:.3f} is {'better' if passed else 'not better'} than {holdout.naive_is}: {naive:.3f}"
    )
    return Rule("beat_naive", passed, sentence, {"score": ours, "naive": naive, "rows": int(known.sum())})


def _beat_champion(gate: GateSection, holdout: Holdout, candidate: Answers, champion: Answers | None) -> Rule:
    if champion is None:
        return Rule("champion", True, "there is no champion yet")
    fresh = holdout.fresh
    actual, ours, theirs = holdout.actual[fresh], candidate.take(fresh), champion.take(fresh)
    days = None if holdout.days is None else holdout.days[fresh]
    comparison = compare(Contest(gate.metric, actual, ours, theirs, holdout.positive), gate.confidence, days)
    if comparison is None:
        return _too_little(len(actual), days)
    our_score, their_score = (score(gate.metric, actual, answers, holdout.positive) for answers in (ours, theirs))
    better = gain(gate.metric, our_score, their_score) > 0
    passed = better and comparison.probability >= gate.confidence
    on = f"{len(actual)} fresh rows" + (f" of {comparison.blocks} days" if days is not None else "")
    if seen := len(fresh) - len(actual):
        on += f" ({seen} more the champion was trained on)"
    sentence = f"{our_score:.3f} against the champion's {their_score:.3f} on {on}: "
    if our_score == their_score:
        sentence += "a tie keeps the champion"
    else:
        sentence += f"better with probability {comparison.probability:.3f}, and {gate.confidence:.2f} is needed"
    return Rule("champion", passed, sentence, _numbers(gate, comparison, our_score, their_score, len(actual)))


def _too_little(rows: int, days: NDArray[np.datetime64] | None) -> Rule:
    """Too few rows or days for the statistics: the champion stays."""
    numbers: dict[str, Any] = {"fresh_rows": rows, "needed": FEWEST_ROWS, "unit": "rows"}
    on_days = ""
    if days is not None:
        blocks = len(np.unique(days))
        numbers = {"fresh_rows": rows, "blocks": blocks, "needed": FEWEST_DAYS, "unit": "days"}
        on_days = f" on {blocks} days"
    sentence = (
        f"too little evidence against the champion: its training left {rows} fresh holdout rows{on_days},"
        f" and at least {numbers['needed']} {numbers['unit']} are needed"
    )
    return Rule("champion", False, sentence, numbers)


def _numbers(gate: GateSection, comparison: Comparison, ours: float, theirs: float, rows: int) -> dict[str, Any]:
    return {
        "candidate": ours,
        "champion": theirs,
        "fresh_rows": rows,
        "method": comparison.method,
        "blocks": comparison.blocks,
        "probability": comparison.probability,
        "confidence": gate.confidence,
        "statistic": comparison.statistic,
        "lags": comparison.lags,
        "interval": list(comparison.interval),
        "interval_unit": comparison.unit,
        "bootstrap_interval": list(comparison.bootstrap_interval),
        "bootstrap_unit": gate.metric,
    }


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
    for column, labels in holdout.slices.items():
        for code, rows in _rows_by_code(labels.codes, holdout.fresh):
            if len(rows) < slices.min_rows:
                continue
            ours = score(metric, holdout.actual[rows], candidate.take(rows), holdout.positive)
            theirs = score(metric, holdout.actual[rows], champion.take(rows), holdout.positive)
            regression = -gain(metric, ours, theirs)
            if metric in SMALLER_IS_BETTER and theirs:
                regression /= theirs  # an error has a unit: its regression is relative
            yield {
                "column": column,
                "value": labels.names[code],
                "rows": len(rows),
                "candidate": ours,
                "champion": theirs,
                "regression": regression,
            }


def _rows_by_code(codes: Indices, fresh: NDArray[np.bool_]) -> Iterator[tuple[int, Indices]]:
    """The fresh rows of each code."""
    rows = np.flatnonzero(fresh)
    ordered = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[ordered])) + 1
    for part in np.split(ordered, starts) if len(ordered) else ():
        yield int(codes[part[0]]), part
