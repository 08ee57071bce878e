"""Every metric on rows small enough to check by hand."""

import numpy as np
import pytest

from ratchet.domain.definition import Metric
from ratchet.domain.metrics import Answers, Floats, gain, losses, score


def numbers(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


ACTUAL = numbers(100, 200, 300)
FORECAST = Answers(numbers(110, 180, 300))
LABELS = numbers(0, 0, 1, 1)
GUESSES = Answers(numbers(0, 1, 1, 1), np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]]))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("forecast_accuracy", 1 - 30 / 600),
        ("mae", 10.0),
        ("rmse", (500 / 3) ** 0.5),
        ("r2", 1 - 500 / 20_000),
        ("mape", (0.1 + 0.1 + 0) / 3),
        ("smape", (20 / 210 + 40 / 380 + 0) / 3),
    ],
)
def test_regression(metric: Metric, expected: float) -> None:
    assert score(metric, ACTUAL, FORECAST) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", 3 / 4),
        ("balanced_accuracy", (1 / 2 + 1) / 2),
        ("precision", (1 + 2 / 3) / 2),
        ("recall", (1 / 2 + 1) / 2),
        ("f1", (2 / 3 + 4 / 5) / 2),
        ("log_loss", -np.log([0.9, 0.4, 0.5, 0.8]).mean()),
        ("auc", 3 / 4),  # of the four pairs of an actual 1 and an actual 0, three are in order
    ],
)
def test_classification(metric: Metric, expected: float) -> None:
    assert score(metric, LABELS, GUESSES) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "positive", "expected"),
    [
        ("precision", 0, 1.0),
        ("precision", 1, 2 / 3),
        ("recall", 0, 1 / 2),
        ("recall", 1, 1.0),
        ("f1", 0, 2 / 3),
        ("f1", 1, 4 / 5),
        ("f1", 2, 0.0),  # it neither happened nor was said
        ("auc", 0, 3 / 4),
        ("balanced_accuracy", 0, 3 / 4),  # of all classes, whichever is asked for
    ],
)
def test_one_class_may_be_what_counts(metric: Metric, positive: int, expected: float) -> None:
    assert GUESSES.probabilities is not None
    answers = Answers(GUESSES.values, np.column_stack([GUESSES.probabilities, np.zeros(4)]))
    assert score(metric, LABELS, answers, positive) == pytest.approx(expected)


def test_three_classes_are_averaged_over_those_that_happened() -> None:
    actual, said = numbers(0, 0, 1, 1, 1), Answers(numbers(0, 2, 1, 1, 2))
    assert score("recall", actual, said) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert score("precision", actual, said) == 1.0
    assert score("f1", actual, said) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_log_loss_of_a_label_without_probabilities_takes_it_as_certain() -> None:
    right, wrong = (score("log_loss", numbers(1), Answers(numbers(said))) for said in (1, 0))
    assert right == 0.0
    assert wrong == pytest.approx(-np.log(1e-15))


def test_auc_counts_a_tie_as_half() -> None:
    even = Answers(numbers(0, 1), np.array([[0.5, 0.5], [0.5, 0.5]]))
    assert score("auc", numbers(0, 1), even) == 0.5


def test_auc_of_a_constant_answer_or_of_one_class_says_nothing() -> None:
    assert score("auc", LABELS, Answers(numbers(1, 1, 1, 1))) == 0.5
    assert score("auc", numbers(1, 1, 1, 1), GUESSES) == 0.5


def test_actual_values_that_are_all_zero_divide_nothing() -> None:
    assert score("forecast_accuracy", numbers(0, 0), Answers(numbers(0, 0))) == 1.0
    assert score("forecast_accuracy", numbers(0, 0), Answers(numbers(0, 1))) == 0.0
    assert score("r2", numbers(5, 5), Answers(numbers(5, 6))) == 0.0
    assert score("r2", numbers(0.1, 0.1, 0.1), Answers(numbers(0.1, 0.1, 0.2))) == 0.0
    assert score("mape", numbers(0, 10), Answers(numbers(5, 11))) == pytest.approx(0.1)
    assert [score("mape", numbers(0), Answers(numbers(said))) for said in (0, 1)] == [0.0, 1.0]
    assert score("smape", numbers(0, 1), Answers(numbers(0, 1))) == 0.0


def test_gain_knows_each_metrics_direction() -> None:
    assert gain("rmse", 9.0, 10.0) == 1.0
    assert gain("accuracy", 0.9, 1.0) == pytest.approx(-0.1)


def test_losses_add_up_to_their_metric() -> None:
    mae, squared = losses("mae", ACTUAL, FORECAST), losses("rmse", ACTUAL, FORECAST)
    assert mae is not None
    assert squared is not None
    assert mae.mean() == score("mae", ACTUAL, FORECAST)
    assert squared.mean() ** 0.5 == pytest.approx(score("rmse", ACTUAL, FORECAST))
    wrong = losses("accuracy", LABELS, GUESSES)
    assert wrong is not None
    assert wrong.tolist() == [0, 1, 0, 0]
    assert losses("auc", LABELS, GUESSES) is None
