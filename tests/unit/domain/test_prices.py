"""Prices: dated, and applied as AWS bills."""

from datetime import date

import pytest

from ratchet.domain import prices


def test_the_list_says_of_when_and_where_it_is() -> None:
    assert date.fromisoformat(prices.AS_OF) < date(2030, 1, 1)
    assert prices.REGION == "us-east-1"


def test_an_hour_costs_the_list_price() -> None:
    assert prices.instance_dollars("ml.m5.large", 3600) == pytest.approx(0.115)
    assert prices.glue_dollars(3600, 2) == pytest.approx(0.88)
    assert prices.lambda_dollars(1, 1024, "x86_64") == pytest.approx(0.0000166667 + 0.0000002)


def test_glue_bills_a_minute_at_least() -> None:
    assert prices.glue_dollars(3, 2) == prices.glue_dollars(60, 2)
    assert prices.glue_dollars(61, 2) > prices.glue_dollars(60, 2)


def test_an_unlisted_instance_has_no_price_instead_of_a_wrong_one() -> None:
    assert prices.instance_dollars("ml.unheard.large", 3600) is None
