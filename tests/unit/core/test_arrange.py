"""The packed sort against the plain one, on boards that take each of its ways."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accrue.core.arrange import PREFIX_SIZE_BYTES_MAX, TEXT_SORT_MEMBERS_MAX, arranged
from accrue.core.event import MAGNITUDE_MAX
from accrue.core.ranking import Order, Row, Ties, sort_key

MANY = TEXT_SORT_MEMBERS_MAX * 3


def in_order(rows: list[Row], order: Order) -> list[str]:
    """The subjects as `arranged` orders the rows. Slots are given backwards, to tell them from rows."""
    names = [row.subject for row in reversed(rows)]
    slots = np.arange(len(rows))[::-1].copy()
    scores = np.array([row.scores for row in rows], dtype=np.int64).reshape(len(rows), len(order.descending)).T
    reached = np.array([row.reached for row in rows], dtype=np.int64)
    return [rows[at].subject for at in arranged(scores, reached, order, slots, names).tolist()]


def plainly(rows: list[Row], order: Order) -> list[str]:
    return [row.subject for row in sorted(rows, key=sort_key(order))]


@settings(deadline=None)
@given(st.data())
def test_it_is_the_plain_order(data: st.DataObject) -> None:
    descending = tuple(data.draw(st.lists(st.booleans(), min_size=1, max_size=3)))
    order = Order(descending, data.draw(st.sampled_from(get_args(Ties))))
    score = st.integers(-1, 1) | st.integers(-MAGNITUDE_MAX, MAGNITUDE_MAX)
    reached = st.integers(0, 2) | st.integers(0, 2**63 - 1)
    numbers = data.draw(st.lists(st.tuples(st.tuples(*[score for _ in descending]), reached), max_size=40))
    subjects = data.draw(st.lists(st.text(min_size=1), min_size=len(numbers), max_size=len(numbers), unique=True))
    rows = [Row(subject, *each) for subject, each in zip(subjects, numbers, strict=True)]

    assert in_order(rows, order) == plainly(rows, order)


@pytest.mark.parametrize("ties", get_args(Ties))
def test_numbers_of_more_than_63_bits_keep_their_order(ties: Ties) -> None:
    wide = (-MAGNITUDE_MAX, -1, 0, 1, MAGNITUDE_MAX)
    rows = [
        Row(f"{a}:{b}:{reached}", (a, b), reached) for a in wide for b in wide for reached in (0, 1, 2**62, 2**63 - 1)
    ]
    order = Order((True, False), ties)

    assert in_order(rows, order) == plainly(rows, order)


@pytest.mark.parametrize("alike", [1, 7, MANY // 2])
@pytest.mark.parametrize(
    "prefix",
    ["", "user:", "x" * PREFIX_SIZE_BYTES_MAX, "é" * (PREFIX_SIZE_BYTES_MAX // 2 - 1)],
    ids=["bare", "short prefix", "prefix as long as what is packed", "not ASCII"],
)
def test_many_tied_members_are_ordered_by_subject(prefix: str, alike: int) -> None:
    rows = [Row(f"{prefix}{number * 7919 % MANY}", (number % alike,), number) for number in range(MANY)]
    order = Order((True,), "id")

    assert in_order(rows, order) == plainly(rows, order)


def test_many_tied_members_are_ordered_by_code_point() -> None:
    signs = ["Z", "a", "\x7f", "\x80", "é", "\u07ff", "\ud800", "\uffee", "\U00010000", "\U0010ffff"]
    texts = {a + b + c + d for a in signs for b in signs for c in signs for d in signs[::3]}
    rows = [Row(text, (1,), 1) for text in sorted(texts, key=lambda text: text[::-1])]
    assert len(rows) > TEXT_SORT_MEMBERS_MAX

    assert in_order(rows, Order((True,), "first")) == sorted(texts)


def test_a_subject_that_begins_another_comes_first() -> None:
    rows = [Row("a" * length, (1,), 1) for length in range(MANY, 0, -1)]

    assert in_order(rows, Order((True,), "id")) == plainly(rows, Order((True,), "id"))


def test_names_are_not_read_when_numbers_tell_all_apart() -> None:
    scores, reached = np.array([[1, 1, 2]]), np.array([2, 1, 3])

    assert arranged(scores, reached, Order((True,), "first"), np.arange(3), []).tolist() == [2, 1, 0]
