"""The gate: every rule alone, and the ways in which evidence can be too thin."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ratchet.domain.definition import GateSection
from ratchet.domain.gate import Decision, Holdout, Rule, judge
from ratchet.domain.judged import Labels
from ratchet.domain.metrics import Answers, Floats

RANDOM = np.random.default_rng(7)


def gate(**changes: Any) -> GateSection:
    return GateSection.model_validate({"metric": "forecast_accuracy", "threshold": 0.9, **changes})


def hourly(days: int = 28, fresh_days: int | None = None) -> Holdout:
    rows = days * 24
    day = np.datetime64("2026-02-01") + np.arange(rows) // 24
    actual = 3000 + 1000 * np.sin(np.arange(rows) * 2 * np.pi / 24)
    fresh = np.arange(rows) >= rows - 24 * (days if fresh_days is None else fresh_days)
    return Holdout(actual=actual, naive=actual * 1.15, fresh=fresh, days=day)


def independent(rows: int = 400) -> Holdout:
    actual = RANDOM.integers(0, 2, rows).astype(np.float64)
    return Holdout(actual=actual, naive=np.ones(rows), fresh=np.ones(rows, dtype=bool))


def labels(texts: list[str]) -> Labels:
    names, codes = np.unique(np.array(texts), return_inverse=True)
    return Labels(codes, tuple(names.tolist()))


def off(holdout: Holdout, share: float, noise: float = 0.01, seed: int = 1) -> Answers:
    """Wrong by about `share`, more on some days than on others."""
    random = np.random.default_rng(seed)
    daily = np.repeat(random.normal(1, noise / share if share else 0, len(holdout.actual) // 24 + 1), 24)
    return Answers(holdout.actual * (1 + share * np.abs(daily[: len(holdout.actual)])))


def rule(decision: Decision, name: str) -> Rule:
    return next(rule for rule in decision.rules if rule.name == name)


def labelled(holdout: Holdout, wrong: int, offset: int = 0) -> Answers:
    """Wrong on `wrong` rows."""
    values = holdout.actual.copy()
    values[offset : offset + wrong] = 1 - values[offset : offset + wrong]
    sure: Floats = np.where(values == 1, 0.9, 0.1)
    return Answers(values, np.column_stack([1 - sure, sure]))


def test_a_first_model_needs_threshold_and_naive_only() -> None:
    decision = judge(gate(), hourly(), off(hourly(), 0.05), None)
    assert decision.promote
    assert decision.champion is None
    assert rule(decision, "champion").sentence == "there is no champion yet"


def test_under_the_threshold_is_refused_though_better_than_naive() -> None:
    decision = judge(gate(), hourly(), off(hourly(), 0.12), None)
    assert [r.name for r in decision.failed] == ["threshold"]


def test_exactly_at_the_threshold_is_enough() -> None:
    holdout = hourly()
    assert rule(judge(gate(threshold=1.0), holdout, Answers(holdout.actual), None), "threshold").passed


def test_a_smaller_error_is_better() -> None:
    holdout = hourly()
    strict, loose = (judge(gate(metric="mae", threshold=t), holdout, off(holdout, 0.05), None) for t in (1, 1000))
    assert not rule(strict, "threshold").passed
    assert rule(loose, "threshold").passed


def test_worse_than_naive_is_refused_unless_that_is_not_asked() -> None:
    holdout = hourly()
    candidate = off(holdout, 0.2)
    assert not rule(judge(gate(threshold=0.5), holdout, candidate, None), "beat_naive").passed
    assert judge(gate(threshold=0.5, beat_naive=False), holdout, candidate, None).promote


def test_naive_is_compared_on_the_rows_that_have_one() -> None:
    holdout = hourly()
    naive = holdout.naive.copy()
    naive[:24] = np.nan
    answers = off(holdout, 0.05).values
    answers[:24] = 0  # terrible where there is no naive forecast
    decision = judge(
        gate(threshold=0.5), Holdout(holdout.actual, naive, holdout.fresh, holdout.days), Answers(answers), None
    )
    assert rule(decision, "beat_naive").passed
    assert rule(decision, "beat_naive").numbers["rows"] == 27 * 24


def test_without_any_naive_forecast_the_rule_fails_and_says_why() -> None:
    holdout = hourly()
    nothing = Holdout(holdout.actual, np.full(len(holdout.actual), np.nan), holdout.fresh, holdout.days)
    decision = judge(gate(), nothing, off(holdout, 0.05), None)
    assert decision.naive is None
    assert "shorter than one season" in rule(decision, "beat_naive").sentence


def test_a_clearly_better_candidate_replaces_the_champion() -> None:
    holdout = hourly()
    decision = judge(gate(), holdout, off(holdout, 0.03), off(holdout, 0.06, seed=2))
    assert decision.promote
    numbers = rule(decision, "champion").numbers
    assert numbers["method"] == "diebold_mariano"
    assert numbers["blocks"] == 28
    assert numbers["interval"][0] > 0


def test_a_tie_keeps_the_champion() -> None:
    holdout = hourly()
    same = off(holdout, 0.05)
    decision = judge(gate(), holdout, same, same)
    assert [r.name for r in decision.failed] == ["champion"]
    assert rule(decision, "champion").numbers["probability"] == 0.0


def test_a_difference_within_the_noise_keeps_the_champion() -> None:
    holdout = hourly()
    decision = judge(gate(), holdout, off(holdout, 0.05, 0.02, 1), off(holdout, 0.0501, 0.02, 2))
    assert [r.name for r in decision.failed] == ["champion"]


def test_a_day_like_every_other_is_evidence() -> None:
    holdout = hourly()
    decision = judge(gate(), holdout, Answers(holdout.actual + 50), Answers(holdout.actual + 100))
    assert rule(decision, "champion").numbers["probability"] == 1.0


@pytest.mark.parametrize(("fresh_days", "enough"), [(13, False), (14, True)])
def test_fewer_than_fourteen_fresh_days_keep_the_champion(fresh_days: int, enough: bool) -> None:
    holdout = hourly(fresh_days=fresh_days)
    champion = rule(judge(gate(), holdout, off(holdout, 0.03), off(holdout, 0.06, seed=2)), "champion")
    assert champion.passed is enough
    assert ("too little evidence" in champion.sentence) is not enough


def test_rows_the_champion_was_trained_on_do_not_count() -> None:
    """It knows the old rows by heart; on fresh ones it is worse."""
    holdout = hourly(fresh_days=14)
    champion = off(holdout, 0.06, seed=2).values
    champion[~holdout.fresh] = holdout.actual[~holdout.fresh]
    decision = judge(gate(), holdout, off(holdout, 0.04), Answers(champion))
    assert decision.champion is not None
    assert decision.champion > decision.candidate
    assert rule(decision, "champion").passed


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auc"])
def test_independent_rows_are_compared_by_bootstrap(metric: str) -> None:
    holdout = independent()
    better, worse = labelled(holdout, 20), labelled(holdout, 60, offset=200)
    settings = gate(metric=metric, threshold=0.5, beat_naive=False, holdout=0.2)
    decision = judge(settings, holdout, better, worse)
    numbers = rule(decision, "champion").numbers
    assert decision.promote
    assert (numbers["method"], numbers["blocks"], numbers["interval_unit"]) == ("paired_bootstrap", 400, metric)
    assert not judge(settings, holdout, worse, better).promote
    assert judge(settings, holdout, better, worse) == decision, "the same holdout gets the same decision"


def test_the_bootstrap_keeps_the_champion_on_a_tie() -> None:
    holdout = independent()
    same = labelled(holdout, 20)
    decision = judge(gate(metric="accuracy", threshold=0.5, beat_naive=False, holdout=0.2), holdout, same, same)
    assert [r.name for r in decision.failed] == ["champion"]


def test_few_independent_rows_keep_the_champion() -> None:
    holdout = independent(29)
    decision = judge(
        gate(metric="accuracy", threshold=0.1, beat_naive=False, holdout=0.2),
        holdout,
        labelled(holdout, 0),
        labelled(holdout, 20),
    )
    assert "at least 30 rows" in rule(decision, "champion").sentence


def sliced(regression: float) -> Decision:
    holdout = hourly()
    fog = np.arange(len(holdout.actual)) % 10 == 0
    weather = ["Fog" if foggy else "Clear" for foggy in fog]
    candidate, champion = off(holdout, 0.03).values, off(holdout, 0.06, seed=2).values
    candidate[fog] = champion[fog] * (1 + regression)
    with_slices = Holdout(holdout.actual, holdout.naive, holdout.fresh, holdout.days, {"weather_main": labels(weather)})
    rules = gate(slices={"columns": ["weather_main"], "max_regression": 0.05})
    return judge(rules, with_slices, Answers(candidate), Answers(champion))


def test_a_slice_that_regresses_stops_a_model_that_is_better_on_the_whole() -> None:
    decision = sliced(regression=0.1)
    assert [r.name for r in decision.failed] == ["slices"]
    assert "weather_main = Fog" in rule(decision, "slices").sentence


def test_a_slice_within_the_bound_stops_nothing() -> None:
    assert sliced(regression=0.02).promote


def test_small_slices_and_a_missing_champion_are_left_out() -> None:
    holdout = hourly()
    weather = ["Squall"] * 29 + ["Clear"] * (len(holdout.actual) - 29)  # one row fewer than counts
    with_slices = Holdout(holdout.actual, holdout.naive, holdout.fresh, holdout.days, {"weather_main": labels(weather)})
    rules = gate(slices={"columns": ["weather_main"]})
    decision = judge(rules, with_slices, off(holdout, 0.03), off(holdout, 0.06, seed=2))
    assert [item["value"] for item in rule(decision, "slices").numbers["slices"]] == ["Clear"]
    assert "slices" not in [r.name for r in judge(rules, with_slices, off(holdout, 0.03), None).rules]


def test_a_slice_of_an_error_metric_regresses_relatively() -> None:
    holdout = hourly()
    weather = ["Clear"] * len(holdout.actual)
    with_slices = Holdout(holdout.actual, holdout.naive, holdout.fresh, holdout.days, {"weather_main": labels(weather)})
    rules = gate(metric="mae", threshold=1e9, slices={"columns": ["weather_main"], "max_regression": 0.05})
    decision = judge(rules, with_slices, Answers(holdout.actual + 104), Answers(holdout.actual + 100))
    assert rule(decision, "slices").numbers["slices"][0]["regression"] == pytest.approx(0.04)
    assert rule(decision, "slices").passed


def test_the_gates_own_durations_parse() -> None:
    assert gate(holdout="14d").holdout == timedelta(days=14)
