"""Student's t against values computed with SciPy 1.15."""

import math

import pytest

from ratchet.domain.student import t_cdf, t_quantile


@pytest.mark.parametrize(
    ("t", "degrees", "expected"),
    [
        (1.3137, 27, 0.8999995164012433),
        (-2.0, 13, 0.03342017882412713),
        (0.5, 1, 0.6475836176504333),
        (4.2, 30, 0.9998901057828921),
        (1.0, 365, 0.8410135064582449),
        (0.0, 5, 0.5),
        (math.inf, 5, 1.0),
        (-math.inf, 5, 0.0),
    ],
)
def test_cdf(t: float, degrees: int, expected: float) -> None:
    assert t_cdf(t, degrees) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [(0.9, 27, 1.3137029128292739), (0.95, 13, 1.7709333959867988), (0.99, 1, 31.82051595375758)],
)
def test_quantile(probability: float, degrees: int, expected: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-10)
    assert t_quantile(1 - probability, degrees) == pytest.approx(-expected, rel=1e-9)


def test_tails_are_symmetric_and_rising() -> None:
    points = [-40.0, -3.0, -1e-6, 0.0, 1e-9, 0.7, 5.0, 60.0]
    values = [t_cdf(t, 13) for t in points]
    assert values == sorted(values)
    assert all(t_cdf(t, 13) + t_cdf(-t, 13) == pytest.approx(1.0, abs=1e-14) for t in points)
