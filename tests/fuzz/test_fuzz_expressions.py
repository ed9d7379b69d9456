"""Any text as an expression: refused with a reason, or evaluated in bounded steps and memory; nothing else happens.

Steps are calls, counted by the interpreter's profile hook: the written functions hold no loop, so calls are what an
evaluation is made of. Memory is what tracemalloc sees. Neither is a matter of how fast the machine is.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given

from accrue.core.arithmetic import decimal
from accrue.core.decide import FAULTS, Decider, Remembers
from accrue.core.expression import ExpressionError, parse
from accrue.core.program import ProgramError
from accrue.core.reader import read
from accrue.core.table import Table, TableKey
from fuzz.examples import tried
from fuzz.expression_texts import expressions

STEPS_MAX = 600
"""Calls for one event, with two rules, a badge and their tables around the expression. The worst below makes 313."""

EVALUATION_SIZE_BYTES_MAX = 256 << 10
"""The worst below takes 113 KiB: a list of 190 numbers."""

NOW_US = 1_795_237_200_000_000
ENCODER = msgspec.json.Encoder(decimal_format="number")
PROGRAM = """
[lookups.worth]
1 = 10
ann = 2.5
[metrics.points]
[metrics.views]
of = "object"
[metrics.kept]
periods = ["day"]
[badges.b]
when = "day.points >= 1"
[streaks.daily]
on = "s"
every = "day"
[[rules]]
on = "t"
set = [{ on = "actor", attribute = "kind", value = "data.m" }]
"""
JUDGED = """
[[rules]]
on = "e"
when = {expression}
give = [{{ to = "actor", metric = "points" }}]
[[rules]]
on = "f"
give = [{{ to = "actor", metric = "points", amount = {expression} }}]
"""
LARGE = {
    "n": 2**53 - 1,
    "m": "x" * 200,
    "text": "x" * 15_000,
    "tags": [*range(1_000), "x" * 200],
    "deep": {"er": {"than": 1}},
}


def product(factor: str, times: int) -> str:
    """As many factors as asked for, in halves, because a row of them would be nested as deep as it is long."""
    if times == 1:
        return factor
    return f"({product(factor, times // 2)} * {product(factor, times - times // 2)})"


EVENTS: list[dict[str, Any]] = [
    {
        "actor": "ann",
        "object": "o",
        "owner": "bob",
        "value": 3,
        "data": {"n": 2, "m": 1, "text": "ann", "tags": ["x", 1]},
    },
    {"actor": "ann", "value": 2**53 - 1, "data": LARGE},
    {"data": {"n": Decimal("1E-999"), "text": ["x"], "tags": {"x": 1}}},
    {},
]
WORST = {
    "long numbers": product("floor(9e999)", 44),
    "long numbers, then a look-up": "lookup('worth', " + product("floor(9e999)", 40) + ", 1)",
    "long decimals": " / ".join(["1e999"] * 30 + ["1e-999"]),
    "many members": " or ".join(["'y' in data.tags"] * 45),
    "pieces of a text": " or ".join(["data.m in data.text"] * 39),
    "a long list": "value in [" + ",".join(["1"] * 190) + "]",
    "chains": " and ".join(["(data.n < data.n < data.n)"] * 28),
    "nested look-ups": "lookup('worth', " * 30 + "1" + ", 2)" * 30,
    "nested choices": "(1 if data.n else " * 28 + "2" + ")" * 28,
    "giant digits": "round(value, " + "9" * 900 + ")",
    "many minima": "min(" + ", ".join(["max(1, data.n)"] * 16) + ")",
    "differences": "-".join(["data.n"] * 31),
}


@tried(600)
@given(text=expressions)
@example(text="null < 5")
def test_a_text_is_refused_with_a_reason_or_evaluated_in_bounds(text: str) -> None:
    reason = refused(text)
    if reason is None:
        judge(text)
    else:
        assert reason


@pytest.mark.parametrize("name", WORST)
def test_the_worst_that_fits_is_evaluated_in_bounds(name: str) -> None:
    parse(WORST[name])  # it is one
    judge(WORST[name])


@pytest.mark.parametrize("condition", ["null < 5 and points > 1", "points > 1 or kind != null", "points >= 1 and true"])
def test_a_badge_may_compare_with_constants(condition: str) -> None:
    program = read(PROGRAM.replace("day.points >= 1", condition))
    Decider("t", program).source("t")


def refused(text: str) -> str | None:
    """Why it is no expression."""
    try:
        parse(text)
    except ExpressionError as error:
        return str(error)
    return None


def judge(text: str) -> None:
    """Put the text where a program may have one, and decide the events."""
    written = msgspec.json.encode(text.replace("\x7f", " ")).decode()
    try:
        program = read(PROGRAM + JUDGED.format(expression=written))
    except ProgramError:
        return
    decider = Decider("t", program)
    moment = program.calendar.moment(NOW_US)
    tables: dict[TableKey, Table] = {}

    def open_table(key: TableKey) -> Table:
        return tables.setdefault(key, Table("t", key))

    for type in ("e", "f"):
        decide, _ = decider.bind(
            type, moment=moment, open=open_table, remembers=Remembers({}, {}, lambda key: False, lambda key: False)
        )
        for number, fields in enumerate(EVENTS):
            body = ENCODER.encode({"type": type, "id": f"{number}", **fields})
            event = decider.decoder.decode(body)
            steps, size_bytes = cost(partial(decide, event, number, NOW_US, None, []))
            assert steps <= STEPS_MAX
            assert size_bytes <= EVALUATION_SIZE_BYTES_MAX


def cost(decide: Callable[[], None]) -> tuple[int, int]:
    """Calls made and bytes taken at most, whether it succeeds or fails as rules may."""
    steps = 0

    def count(frame: FrameType, what: str, argument: object) -> None:
        nonlocal steps
        steps += what in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        decide()
    except FAULTS:
        pass
    finally:
        sys.setprofile(None)
        size_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return steps, size_bytes


def test_a_decimal_of_an_event_has_bounded_digits() -> None:
    assert len(decimal("0." + "7" * 16_000).as_tuple().digits) == 60
