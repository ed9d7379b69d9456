"""What the operators of the expression language do: exact, bounded, and the same everywhere.

Numbers are `int` and `Decimal`, never `float`. A missing value (None) makes every ordering comparison false and
every calculation fail: a rule that calculates with something that is not there must not guess.
The context is our own, so nothing depends on what the surrounding program set.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

DIGITS = 60
CONTEXT = Context(
    prec=DIGITS,
    rounding=ROUND_HALF_EVEN,
    Emin=-999,
    Emax=999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation, DivisionByZero, Overflow],
)

_LONGEST = 10**DIGITS

Number = int | Decimal
Value = None | bool | int | Decimal | str | list["Value"] | dict[str, "Value"]


class Failure(Exception):
    """An expression that cannot be evaluated for this event. The message is shown to the operator."""


def decimal(text: str) -> Decimal:
    """A JSON number with a fraction or exponent, rounded to DIGITS significant digits. Used as `float_hook`."""
    return CONTEXT.create_decimal(text)


def add(left: Value, right: Value) -> Number:
    """`left + right`: whole numbers stay whole, everything else is exact to DIGITS."""
    if type(left) is int and type(right) is int:
        return left + right
    return CONTEXT.add(_exact(left), _exact(right))


def subtract(left: Value, right: Value) -> Number:
    """`left - right`."""
    if type(left) is int and type(right) is int:
        return left - right
    return CONTEXT.subtract(_exact(left), _exact(right))


def multiply(left: Value, right: Value) -> Number:
    """`left * right`."""
    if type(left) is int and type(right) is int:
        return left * right
    return CONTEXT.multiply(_exact(left), _exact(right))


def divide(left: Value, right: Value) -> Number:
    """`left / right`, always a decimal. Dividing by zero is a failure of the event, never an infinity."""
    return CONTEXT.divide(_exact(left), _exact(right))


def floor_divide(left: Value, right: Value) -> Number:
    """Rounds towards minus infinity, for whole numbers and decimals alike."""
    if type(left) is int and type(right) is int:
        return left // right
    return floor(CONTEXT.divide(_exact(left), _exact(right)))


def modulo(left: Value, right: Value) -> Number:
    """Has the sign of the divisor, for whole numbers and decimals alike."""
    if type(left) is int and type(right) is int:
        return left % right
    whole = floor_divide(left, right)
    return CONTEXT.subtract(_exact(left), CONTEXT.multiply(Decimal(whole), _exact(right)))


def negate(value: Value) -> Number:
    """`-value`."""
    return -value if type(value) is int else CONTEXT.minus(_exact(value))


def less(left: Value, right: Value) -> bool:
    """`left < right`, of two numbers or two texts; false when one of them is missing."""
    if left is None or right is None:
        return False
    _same_kind(left, right)
    return left < right  # type: ignore[operator]  # both are numbers or both are text


def less_or_equal(left: Value, right: Value) -> bool:
    """`left <= right`, of two numbers or two texts; false when one of them is missing."""
    if left is None or right is None:
        return False
    _same_kind(left, right)
    return left <= right  # type: ignore[operator]  # both are numbers or both are text


def contains(item: Value, container: Value) -> bool:
    """`item in container`: a member of a list, a key of an object, or a piece of a text."""
    if container is None:
        return False
    if isinstance(container, str):
        return isinstance(item, str) and item in container
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if isinstance(container, (list, tuple)):
        return item in container
    raise Failure(f"'in' needs a list, an object or a text, not {_named(container)}")


def length(value: Value) -> int:
    """Characters of a text, members of a list or object; 0 for what is missing."""
    if value is None:
        return 0
    if isinstance(value, (str, list, dict)):
        return len(value)
    raise Failure(f"len() needs a text, a list or an object, not {_named(value)}")


def floor(value: Value) -> int:
    """The nearest whole number towards minus infinity."""
    if type(value) is int:
        return value
    return int(_exact(value).to_integral_value(rounding="ROUND_FLOOR", context=CONTEXT))


def round_half_even(value: Value, digits: Value = 0) -> Number:
    """To `digits` decimals, halves to the even neighbour."""
    if type(digits) is not int or not 0 <= digits <= 12:
        raise Failure("round() needs 0 to 12 digits")
    if type(value) is int:
        return value
    rounded = CONTEXT.quantize(_exact(value), Decimal((0, (1,), -digits)))
    return int(rounded) if digits == 0 else rounded


def absolute(value: Value) -> Number:
    """The value without its sign."""
    return abs(value) if type(value) is int else CONTEXT.abs(_exact(value))


def smallest(*values: Value) -> Number:
    """`min(...)` of numbers."""
    return min(_number(value) for value in values)


def largest(*values: Value) -> Number:
    """`max(...)` of numbers."""
    return max(_number(value) for value in values)


def look_up(table: Mapping[str, Value], key: Value, default: Value = None) -> Value:
    """The entry of a table of the program. Keys are text; the number 1 finds the key "1"."""
    if isinstance(key, bool):
        key = "true" if key else "false"
    elif isinstance(key, (int, Decimal)):
        key = _key(key)
    return table.get(key, default) if isinstance(key, str) else default


def _key(number: Number) -> str:
    """A number as a key is written. Longer ones are refused, because how many digits Python writes is a setting of
    the process."""
    if isinstance(number, Decimal) and number != number.to_integral_value(context=CONTEXT):
        return str(number.normalize(CONTEXT))
    if not -_LONGEST < number < _LONGEST:
        raise Failure(f"a number of more than {DIGITS} digits cannot be looked up")
    return str(int(number))


def member(value: Value, name: str) -> Value:
    """`value.name` of an object inside `data`; missing when `value` is no object."""
    return value.get(name) if isinstance(value, dict) else None


def _number(value: Value) -> Number:
    if isinstance(value, (int, Decimal)):
        return value
    if value is None:
        raise Failure("a value that is missing cannot be calculated with")
    raise Failure(f"{_named(value)} cannot be calculated with")


def _exact(value: Value) -> Decimal:
    number = _number(value)
    return number if isinstance(number, Decimal) else Decimal(number)


def _same_kind(left: Value, right: Value) -> None:
    if isinstance(left, (int, Decimal)) and isinstance(right, (int, Decimal)):
        return
    if isinstance(left, str) and isinstance(right, str):
        return
    raise Failure(f"{_named(left)} cannot be compared with {_named(right)}")


def _named(value: Value) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, Decimal)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, (list, tuple)) else "an object" if isinstance(value, dict) else "nothing"
