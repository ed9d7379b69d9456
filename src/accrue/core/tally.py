"""Amounts: from what an expression gives to whole units of a metric, with the remainder carried.

A metric of scale 6 counts millionths. An amount finer than that is not lost and not rounded per event: the part
below one unit is kept with the subject and joins the next amount, so that a million views at 0.0000015 add up.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from accrue.core.arithmetic import CONTEXT, Failure, Value

REMAINDER_DIGITS = 12
"""A remainder is kept to this many digits below a unit; what is finer is rounded half to even, once."""

REMAINDER_UNIT: int = 10**REMAINDER_DIGITS


def scaled(amount: Value, scale: int) -> int | Decimal:
    """The amount in units of the metric: an int when it is whole, else a Decimal. Raises `Failure`."""
    if type(amount) is int and not scale:
        return amount
    if isinstance(amount, int):  # True and False are 1 and 0
        whole: int = int(amount) * 10**scale
        return whole
    if not isinstance(amount, Decimal):
        raise Failure("the amount is missing" if amount is None else "the amount is not a number")
    units = amount.scaleb(scale, context=CONTEXT)
    whole = int(units)
    return whole if whole == units else units


def split_remainder(units: Decimal, carried: int) -> tuple[int, int]:
    """`(whole units now, remainder to carry)` of an amount and what was carried, the remainder in 1e-12 units."""
    fine = int(units.scaleb(REMAINDER_DIGITS, context=CONTEXT).to_integral_value(context=CONTEXT)) + carried
    return divmod(fine, REMAINDER_UNIT)


def decimal_value(value: int | None, scale: int) -> Any:
    """A tally as an expression sees it: in whole numbers of the metric, not in its units."""
    return None if value is None else Decimal(value).scaleb(-scale, context=CONTEXT)


def shown(value: int, scale: int) -> int | str:
    """A tally as an answer shows it: a whole number, or an exact decimal text when the metric has a scale."""
    if scale == 0:
        return value
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(scale + 1, "0")
    fraction = digits[-scale:].rstrip("0")
    return f"{sign}{digits[:-scale]}" + (f".{fraction}" if fraction else "")
