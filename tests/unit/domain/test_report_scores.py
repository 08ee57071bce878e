"""The report's figures, computed by hand beside them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ratchet.domain.report import Classification, Regression, ReportedDefinition, Scores
from ratchet.domain.report_scores import BINS, MAX_CLASSES, MAX_POINTS, MAX_TIMES, OTHER, Scored, sampled, scores_of
from ratchet.domain.scores import HoldoutRow
from tests.unit import samples

SUNDAY = datetime(2026, 2, 1, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "origin": {"type": "string"},
    "delay": {"type": "number"},
    "late": {"type": "boolean", "required": True},
}


def reported(**sections: Any) -> ReportedDefinition:
    return ReportedDefinition.model_validate(samples.stored_definition(samples.compiled(**sections)))


def timed(**gate: Any) -> ReportedDefinition:
    return reported(gate={"metric": "forecast_accuracy", "threshold": 0.9, **gate})


def classified() -> ReportedDefinition:
    data = {"target": "late", "task": "classification", "columns": COLUMNS}
    return reported(data=data, gate={"metric": "accuracy", "threshold": 0.5, "holdout": 0.2})


def hours(actual: Sequence[float], naive: Sequence[float | None] | None = None, step: int = 1) -> list[HoldoutRow]:
    """Rows an hour, or `step` hours, apart; the weather is clear in every other one."""
    return [
        HoldoutRow(
            row=number,
            actual=value,
            naive=naive[number] if naive else None,
            time=SUNDAY + timedelta(hours=number * step),
            record={"weather_main": "Fog" if number % 2 else "Clear"},
        )
        for number, value in enumerate(actual)
    ]


def said(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"prediction": value} for value in values]


def regression(scores: Scores) -> Regression:
    assert isinstance(scores.detail, Regression)
    return scores.detail


def classification(scores: Scores) -> Classification:
    assert isinstance(scores.detail, Classification)
    return scores.detail


def test_errors_are_daily_means_of_each_model_and_of_the_naive_forecast() -> None:
    rows = hours([10.0] * 96, [None] * 48 + [14.0] * 48)
    scores = scores_of(timed(), Scored(rows, said([12.0] * 96), said([7.0] * 96)))
    assert scores.errors is not None
    assert scores.errors.period == "day"
    assert [value for _, value in scores.errors.lines["candidate"]] == [2.0] * 4
    assert [value for _, value in scores.errors.lines["champion"]] == [3.0] * 4
    naive = scores.errors.lines["naive"]
    assert [time.day for time, _ in naive] == [3, 4], "no naive forecast, no error of it"
    assert scores.errors.rows()[0] == (SUNDAY, [2.0, 3.0, None])


def test_without_a_champion_or_naive_forecast_there_is_one_line() -> None:
    scores = scores_of(timed(), Scored(hours([10.0, 11.0]), said([12.0, 11.0]), None))
    assert scores.errors is not None
    assert list(scores.errors.lines) == ["candidate"]
    assert scores.errors.period == "hour"


@pytest.mark.parametrize(("days", "period"), [(2, "hour"), (90, "day"), (900, "week"), (4000, "month")])
def test_however_long_the_holdout_a_line_stays_drawable(days: int, period: str) -> None:
    rows = hours([1.0] * (days * 4), step=6)
    scores = scores_of(timed(), Scored(rows, said([2.0] * len(rows)), None))
    assert scores.errors is not None
    assert scores.errors.period == period
    assert len(scores.errors.lines["candidate"]) <= MAX_TIMES


def test_the_scatter_is_a_bounded_sample_and_the_figures_are_of_all_rows() -> None:
    actual = [float(number % 100) for number in range(10_001)]
    scores = scores_of(timed(), Scored(hours(actual), said([value + 1 for value in actual]), None))
    detail = regression(scores)
    assert MAX_POINTS / 2 < len(detail.pairs) < MAX_POINTS * 1.2
    assert all(predicted == truth + 1 for truth, predicted in detail.pairs)
    assert (scores.rows, scores.used, detail.bias, detail.mean_error) == (10_001, 10_001, 1.0, 1.0)


def test_a_sample_is_not_always_the_same_hour() -> None:
    taken = [row for row in range(24 * 400) if sampled(row, 24)]
    assert len(taken) == pytest.approx(400, rel=0.2)
    assert len({row % 24 for row in taken}) == 24
    assert all(sampled(row, 1) for row in range(100))


def test_every_residual_falls_into_a_bin_even_the_wildest() -> None:
    actual = [0.0] * 1_000
    guesses = [number / 100 - 5 for number in range(998)] + [1e9, -1e9]
    detail = regression(scores_of(timed(), Scored(hours(actual), said(guesses), None)))
    assert sum(held.rows for held in detail.residuals) == 1_000
    assert len(detail.residuals) == BINS
    assert detail.residuals[-1].high < 10, "two wild rows do not flatten the others"
    assert detail.residuals[0].low == -detail.residuals[-1].high


def test_a_perfect_model_has_residuals_too() -> None:
    detail = regression(scores_of(timed(), Scored(hours([1.0] * 30), said([1.0] * 30), None)))
    assert detail.bias == 0
    assert sum(held.rows for held in detail.residuals) == 30


def test_the_newest_part_is_shown_by_the_hour_or_by_the_day() -> None:
    month = hours([float(number) for number in range(24 * 28)])
    recent = regression(scores_of(timed(), Scored(month, said([0.0] * len(month)), None))).recent
    assert recent is not None
    assert recent.period == "hour"
    assert len(recent.lines["actual"]) == 14 * 24
    assert recent.lines["actual"][-1][1] == 24 * 28 - 1
    daily = hours([1.0] * 28, step=24)
    recent = regression(scores_of(timed(), Scored(daily, said([1.0] * 28), None))).recent
    assert recent is not None
    assert recent.period == "day"


def test_slices_are_the_gates_else_the_columns_of_text_and_the_weekday() -> None:
    rows = hours([10.0] * 48)
    guesses = [13.0 if number % 2 else 9.0 for number in range(48)]
    scores = scores_of(timed(), Scored(rows, said(guesses), said([12.0] * 48)))
    by_name = {(held.column, held.value): held for held in scores.slices}
    fog = by_name["weather_main", "Fog"]
    assert (fog.rows, fog.candidate, fog.champion, fog.bias) == (24, 3.0, 2.0, 3.0)
    clear = by_name["weather_main", "Clear"]
    assert (clear.rows, clear.candidate, clear.champion, clear.bias) == (24, 1.0, 2.0, -1.0)
    weekdays = [held.value for held in scores.slices if held.column == "weekday of datetime"]
    assert weekdays == ["Monday", "Sunday"], "from Monday on, whichever day the holdout begins with"
    chosen = scores_of(timed(slices={"columns": ["temp"]}), Scored(rows, said(guesses), None)).slices
    assert {held.column for held in chosen} == {"temp", "weekday of datetime"}


def test_of_many_values_the_commonest_are_sliced() -> None:
    rows = [HoldoutRow(number, 1.0, None, SUNDAY, {"weather_main": f"w{min(number, 40)}"}) for number in range(200)]
    scores = scores_of(timed(), Scored(rows, said([1.0] * 200), None))
    values = [held.value for held in scores.slices if held.column == "weather_main"]
    assert values[0] == "w40"
    assert len(values) == 8


def test_confusion_counts_rows_by_what_happened_and_what_was_said() -> None:
    truth = [True, True, True, False, False]
    guesses = [
        {"prediction": "true", "probabilities": {"true": 0.9, "false": 0.1}},
        {"prediction": "true", "probabilities": {"true": 0.92, "false": 0.08}},
        {"prediction": "false", "probabilities": {"true": 0.45, "false": 0.55}},
        {"prediction": "false", "probabilities": {"true": 0.3, "false": 0.7}},
        {"prediction": "true", "probabilities": {"true": 0.91, "false": 0.09}},
    ]
    rows = [HoldoutRow(number, value, None, None, {"origin": "JFK"}) for number, value in enumerate(truth)]
    scores = scores_of(classified(), Scored(rows, guesses, None))
    detail = classification(scores)
    assert [held.name for held in detail.classes] == ["false", "true"]
    assert detail.confusion == ((1, 1), (1, 2))
    late = detail.classes[1]
    assert (late.rows, late.precision, late.recall) == (3, 2 / 3, 2 / 3)
    assert scores.errors is None
    (jfk,) = scores.slices
    assert (jfk.candidate, jfk.bias) == (0.4, None)
    sure = detail.calibration[-1]
    assert (sure.rows, sure.right) == (3, 2 / 3)
    assert sure.stated == pytest.approx(0.91)
    assert sum(held.rows for held in detail.calibration) == 5


def test_many_classes_are_put_together_and_none_is_lost() -> None:
    truth = [f"class {number % 40:02}" for number in range(1_000)]
    rows = [HoldoutRow(number, value, None, None, {}) for number, value in enumerate(truth)]
    detail = classification(scores_of(classified(), Scored(rows, said(truth), None)))
    assert len(detail.classes) == MAX_CLASSES + 1
    assert detail.classes[-1].name == OTHER
    assert sum(map(sum, detail.confusion)) == 1_000


def test_a_class_never_said_has_no_precision_and_a_model_without_probabilities_no_calibration() -> None:
    rows = [HoldoutRow(0, "a", None, None, {}), HoldoutRow(1, "b", None, None, {})]
    detail = classification(scores_of(classified(), Scored(rows, said(["a", "a"]), None)))
    assert [held.precision for held in detail.classes] == [0.5, None]
    assert detail.calibration == ()
