"""Arithmetic: exact, bounded, and independent of the decimal context the program around it set."""

from __future__ import annotations

import decimal
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accrue.core import arithmetic
from accrue.core.arithmetic import Failure

numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.decimals(-(10**6), 10**6, places=3),
)


@given(numbers, numbers)
def test_sums_differences_and_products_are_exact(left: int | Decimal, right: int | Decimal) -> None:
    one, two = Fraction(left), Fraction(right)
    assert Fraction(arithmetic.add(left, right)) == one + two
    assert Fraction(arithmetic.subtract(left, right)) == one - two
    assert Fraction(arithmetic.multiply(left, right)) == one * two
    assert Fraction(arithmetic.negate(left)) == -one
    assert Fraction(arithmetic.absolute(left)) == abs(one)


@given(numbers, numbers.filter(bool))
def test_floor_division_and_modulo_belong_together(left: int | Decimal, right: int | Decimal) -> None:
    whole = arithmetic.floor_divide(left, right)
    rest = arithmetic.modulo(left, right)
    assert type(whole) is int
    assert whole == Fraction(left) // Fraction(right)
    assert Fraction(rest) == Fraction(left) % Fraction(right)


@given(numbers, numbers)
def test_ordering_agrees_with_the_numbers(left: int | Decimal, right: int | Decimal) -> None:
    assert arithmetic.less(left, right) == (Fraction(left) < Fraction(right))
    assert arithmetic.less_or_equal(left, right) == (Fraction(left) <= Fraction(right))


def test_whatever_context_surrounds_it_the_result_is_the_same() -> None:
    def results() -> list[object]:
        third = arithmetic.divide(1, 3)
        return [
            third,
            arithmetic.add(third, 1),
            arithmetic.round_half_even(Decimal("2.3455555555"), 9),
            arithmetic.floor(Decimal("-12345678.9")),
            arithmetic.decimal("0.12345678901234567890123456789"),
            arithmetic.modulo(Decimal("1234567.891"), Decimal("0.7")),
        ]

    expected = results()
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP, Emin=-5, Emax=5, traps=[])):
        assert results() == expected


@pytest.mark.parametrize("divide", [arithmetic.divide, arithmetic.floor_divide, arithmetic.modulo])
@pytest.mark.parametrize(("left", "right"), [(1, 0), (Decimal("1.5"), 0), (0, 0)])
def test_dividing_by_zero_is_a_fault_and_no_value(divide: object, left: object, right: object) -> None:
    with pytest.raises(ArithmeticError):
        divide(left, right)  # type: ignore[operator]


def test_a_number_that_is_too_large_to_hold_is_a_fault() -> None:
    with pytest.raises(ArithmeticError):
        arithmetic.decimal("1e1000")
    with pytest.raises(ArithmeticError):
        arithmetic.multiply(Decimal("1e600"), Decimal("1e600"))


@pytest.mark.parametrize(
    ("key", "found"),
    [("1", "one"), (1, "one"), (Decimal("1.0"), "one"), (Decimal("1.50"), "half"), (True, "yes"), ([1], "default")],
)
def test_a_look_up_finds_numbers_by_their_plain_text(key: object, found: str) -> None:
    table = {"1": "one", "1.5": "half", "true": "yes"}
    assert arithmetic.look_up(table, key, "default") == found  # type: ignore[arg-type]


def test_membership_is_of_lists_objects_and_texts() -> None:
    assert arithmetic.contains("a", ["a"])
    assert arithmetic.contains("a", {"a": 1})
    assert arithmetic.contains("a", "cat")
    assert not arithmetic.contains(1, "1")
    assert not arithmetic.contains("a", None)
    with pytest.raises(Failure, match="not true or false"):
        arithmetic.contains("a", True)


def test_a_member_of_what_is_no_object_is_missing() -> None:
    assert arithmetic.member({"a": 1}, "a") == 1
    assert arithmetic.member({"a": 1}, "b") is None
    assert arithmetic.member("text", "a") is None
    assert arithmetic.member(None, "a") is None


def test_what_a_long_number_finds_does_not_depend_on_the_process() -> None:
    before = sys.get_int_max_str_digits()
    try:
        for digits_max in (640, 0):
            sys.set_int_max_str_digits(digits_max)
            for number in (10**60, -(10**700), Decimal("1e900")):
                with pytest.raises(Failure, match="more than 60 digits"):
                    arithmetic.look_up({}, number)
            assert arithmetic.look_up({"9" * 60: 1}, 10**60 - 1) == 1
    finally:
        sys.set_int_max_str_digits(before)
