"""Expressions: what the language means, what it refuses, and that nothing in it can run away."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accrue.core import arithmetic
from accrue.core.arithmetic import Failure
from accrue.core.expression import DEPTH_MAX, Expression, ExpressionError, Path, nearest, parse

SCOPE: dict[str, Any] = {**vars(arithmetic), "table_ranks": {"1": "gold", "2": "silver"}}


def value_of(text: str, **fields: Any) -> Any:
    """What a text comes to, with a path read from `fields` by its last name."""

    def resolve(path: Path) -> str:
        return f"fields.get({path[-1]!r})"

    return eval(parse(text).source(resolve), {**SCOPE, "fields": fields})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("0.1 + 0.2", Decimal("0.3")),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("-7.5 // 2", -4),
        ("1 / 4", Decimal("0.25")),
        ("-(2 + 3)", -5),
        ("1_000", 1000),
        ("1_000.5", Decimal("1000.5")),
        ("1e3", Decimal("1e3")),
        ("min(3, 1, 2) + max(1, 2)", 3),
        ("abs(-2.5)", Decimal("2.5")),
        ("floor(-0.5)", -1),
        ("round(2.5)", 2),
        ("round(2.345, 2)", Decimal("2.34")),
        ("len('abc')", 3),
        ("len(missing)", 0),
        ("lookup('ranks', 1)", "gold"),
        ("lookup('ranks', '9')", None),
        ("lookup('ranks', 9, 'none')", "none"),
        ("'b' in 'abc'", True),
        ("2 in [1, 2]", True),
        ("2 not in (1, 3)", True),
        ("x in missing", False),
        ("1 < 2 < 3", True),
        ("1 < 2 > 5", False),
        ("true and not false", True),
        ("null == missing", True),
        ("missing is None", True),
        ("3 if 1 == 1.0 else 4", 3),
        ("x == 5", True),
        ("x != 5", False),
        ("a.b == 'deep'", True),
        ("missing > 3", False),
        ("missing <= 3", False),
        ("3 >= missing", False),
    ],
)
def test_a_text_comes_to_its_value(text: str, expected: object) -> None:
    result = value_of(text, x=5, b="deep")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("text", ["missing + 1", "-missing", "abs(missing)", "min(missing, 1)", "'a' + 'b'", "1 + 'b'"])
def test_calculating_with_what_is_not_a_number_fails(text: str) -> None:
    with pytest.raises(Failure, match="cannot be calculated with"):
        value_of(text)


@pytest.mark.parametrize("text", ["'a' < 1", "x < [1]", "1 in 5", "len(5)", "round(1.5, 99)"])
def test_mixing_kinds_fails(text: str) -> None:
    with pytest.raises(Failure):
        value_of(text, x=1)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("1 +", "is not an expression"),
        ("2 ** 8", "'2 ** 8' is not allowed"),
        ("1 << 9", "not allowed"),
        ("~x", "not allowed"),
        ("+x", "not allowed"),
        ("lambda: 1", "not allowed"),
        ("[y for y in data.z]", "not allowed"),
        ("{1: 2}", "not allowed"),
        ("f'{x}'", "not allowed"),
        ("(y := 1)", "not allowed"),
        ("data.x[0]", "not allowed"),
        ("data.x[1:]", "not allowed"),
        ("[*x]", "not allowed"),
        ("true.x", "not allowed"),
        ("x.y()", "there is no function 'x.y'"),
        ("__import__('os')", "there is no function '__import__'"),
        ("mim(1, 2)", "did you mean 'min'?"),
        ("floor(1, 2)", "floor() takes 1 arguments"),
        ("min(1)", "min() takes 2 to 16"),
        ("max(*x)", "plain arguments"),
        ("round(1, digits=2)", "plain arguments"),
        ("lookup(x, 1)", "needs the name of a table"),
        ("lookup('a b', 1)", "needs the name of a table"),
        ("lookup('ranks')", "lookup('table', key)"),
        ("b'x'", "is not a number, a text, true, false or null"),
        ("1j", "is not a number"),
        ("...", "is not a number"),
        ("0x10", "is not a number"),
        ("0b1", "is not a number"),
        ("1e9999", "is not a number"),
        (r"'\ud800'", "no text may hold"),
        (r"'\x00'", "no text may hold"),
        ("x" * 1001, "at most 1000 characters"),
        ("+".join("x" * 300), "at most 200 parts"),
        ("not " * 40 + "x", f"at most {DEPTH_MAX} deep"),
        ("1 < (2 < x < 3) < 4", "with 'and'"),
    ],
)
def test_what_is_not_of_the_language_is_refused_by_name(text: str, fragment: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    assert fragment in str(refused.value)


def test_comparisons_inside_comparisons_cannot_multiply() -> None:
    text = "x"
    for _ in range(14):
        text = f"1 < ({text}) < 2"
    with pytest.raises(ExpressionError):
        parse(text)
    # The largest that is let through is not much longer than what was written.
    assert len(parse("1 < min(x + 1, y) < z").source(".".join)) < 200


def test_an_expression_may_stand_on_several_lines() -> None:
    assert value_of("1 +\n  2\r\n+ 3") == 6


def test_paths_and_tables_are_found() -> None:
    checked = parse("data['first-name'] == actor.day.points + lookup('ranks', len(data.a.b))")
    assert checked.paths == {("data", "first-name"), ("actor", "day", "points"), ("data", "a", "b")}
    assert checked.tables == {"ranks"}


@pytest.mark.parametrize(
    ("text", "constant"),
    [("5", "5"), ("-5", "-5"), ("1_0.5", "10.5"), ("-1e-7", "-1e-7"), ("5 + 1", None), ("true", None)],
)
def test_a_plain_number_is_known_as_a_constant(text: str, constant: str | None) -> None:
    assert parse(text).constant() == constant


def test_the_nearest_word_is_named_only_when_it_is_near() -> None:
    assert nearest("ponts", ["points", "views"]) == ", did you mean 'points'?"
    assert nearest("zzz", ["points", "views"]) == ""


WORDS = "x data.y 1 0.5 'a' true null 0x1 . ( ) [ ] , + - * / // % < >= == and or not in is if else min( len("
words = st.sampled_from([f" {word} " for word in WORDS.split()] + ["lookup('ranks',", "\n"])


@settings(max_examples=400, deadline=None)
@given(st.lists(words, max_size=25).map("".join))
def test_any_text_is_refused_or_can_be_evaluated(text: str) -> None:
    try:
        checked: Expression = parse(text)
    except ExpressionError:
        return
    source = checked.source(lambda path: "fields")
    assert len(source) < 40 * len(text) + 40  # what it costs is bounded by what was written
    with suppress(Failure, TypeError, ArithmeticError, ValueError):
        eval(source, {**SCOPE, "fields": 3})
