"""Amounts: what is below a metric's scale is carried, never lost, never doubled."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accrue.core.arithmetic import Failure
from accrue.core.tally import REMAINDER_UNIT, decimal_value, scaled, shown, split_remainder


def total_of(amounts: list[Decimal], scale: int) -> tuple[int, int]:
    """The tally and what is carried after these amounts, one by one."""
    tally = carried = 0
    for amount in amounts:
        units = scaled(amount, scale)
        if not isinstance(units, int):
            units, carried = split_remainder(units, carried)
        tally += units
    return tally, carried


def test_a_million_views_at_a_fraction_of_a_unit_add_up() -> None:
    tally, carried = total_of([Decimal("0.0000015")] * 1_000_000, 6)
    assert (tally, carried) == (1_500_000, 0)  # 1.5


def test_thirds_lose_less_than_a_unit() -> None:
    third = Decimal(1) / Decimal(3)
    tally, carried = total_of([third] * 3_000, 0)
    assert tally == 999
    assert REMAINDER_UNIT - 3_000 <= carried < REMAINDER_UNIT


@given(st.lists(st.decimals(-100, 100, places=4), max_size=60), st.integers(0, 3))
def test_the_tally_and_the_carried_rest_are_the_exact_sum(amounts: list[Decimal], scale: int) -> None:
    tally, carried = total_of(amounts, scale)
    assert 0 <= carried < REMAINDER_UNIT
    assert Decimal(tally) + Decimal(carried) / REMAINDER_UNIT == sum(amounts) * 10**scale


def test_negative_fractions_add_up_too() -> None:
    assert total_of([Decimal("-0.5")] * 4, 0) == (-2, 0)
    assert total_of([Decimal("-0.25"), Decimal("0.25")], 0) == (0, 0)


@pytest.mark.parametrize(
    ("amount", "scale", "units"),
    [(5, 0, 5), (5, 2, 500), (True, 2, 100), (False, 0, 0), (Decimal("1.50"), 2, 150), (Decimal("5.0"), 0, 5)],
)
def test_a_whole_amount_is_a_whole_number_of_units(amount: object, scale: int, units: int) -> None:
    found = scaled(amount, scale)  # type: ignore[arg-type]
    assert (found, type(found)) == (units, int)


@pytest.mark.parametrize(("amount", "reason"), [(None, "missing"), ("5", "not a number"), ([5], "not a number")])
def test_what_is_no_number_is_no_amount(amount: object, reason: str) -> None:
    with pytest.raises(Failure, match=reason):
        scaled(amount, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (5, 0, 5),
        (-5, 0, -5),
        (1_500_000, 6, "1.5"),
        (-1_500_000, 6, "-1.5"),
        (1, 6, "0.000001"),
        (-1, 2, "-0.01"),
        (100, 2, "1"),
        (0, 2, "0"),
        (2**53 - 1, 9, "9007199.254740991"),
    ],
)
def test_a_tally_is_shown_exactly(value: int, scale: int, text: int | str) -> None:
    assert shown(value, scale) == text


def test_expressions_see_whole_numbers_of_the_metric() -> None:
    assert decimal_value(150, 2) == Decimal("1.5")
    assert decimal_value(None, 2) is None
