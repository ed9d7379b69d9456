"""Comparing two tables: exactly the rows that differ, whatever the batches they come in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accrue.book.snapshot import Row, Shape
from accrue.process.replay import compare
from accrue.process.replay.compare import Comparison, named

SHAPE = Shape("things", ("value", "name", "number"), (1, 2), (False, True, False))
Table = dict[tuple[bytes, int], int]


class Rows:
    """A table in the order of its key, in batches of a size."""

    def __init__(self, table: Table, size: int) -> None:
        self._rows: list[Row] = [(value, *key) for key, value in sorted(table.items())]
        self._size = size

    async def rows(self, shape: Shape) -> AsyncIterator[list[Row]]:
        for start in range(0, len(self._rows), self._size):
            yield self._rows[start : start + self._size]


def as_rows(table: Table, key: tuple[bytes, int]) -> Row | None:
    return (table[key], *key) if key in table else None


keys = st.tuples(st.sampled_from([b"a", b"aa", b"b", "\u00f6".encode(), b"\xff"]), st.integers(-3, 12))
tables = st.dictionaries(keys, st.integers(0, 2), max_size=30)
sizes = st.integers(1, 7)


@given(tables, tables, st.booleans(), sizes, sizes, st.integers(1, 5))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
async def test_the_pairs_are_the_rows_that_differ(
    found: Table, other: Table, alike: bool, one: int, two: int, piece: int
) -> None:
    expected = {**found, **dict(list(other.items())[:3])} if alike else other
    comparison: Any = Comparison(SHAPE, Rows(found, one), Rows(expected, two))  # type: ignore[arg-type]  # rows is all
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compare, "PIECE_ROWS", piece)
        pairs = [pair async for pair in comparison.pairs()]
    differing = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    assert pairs == [(as_rows(found, key), as_rows(expected, key)) for key in differing]
    assert comparison.rows == len(found)


def test_a_difference_names_its_row_and_only_what_differs() -> None:
    changed = named(SHAPE, ((1, b"a", 2), (3, b"a", 2)))
    assert changed is not None
    assert (changed.key, changed.expected, changed.found) == ({"name": "a", "number": 2}, {"value": 3}, {"value": 1})
    gone = named(SHAPE, (None, (3, b"\xff", 2)))
    assert gone is not None
    assert gone.text == "things, name '\\\\xff', number 2: value 3 expected, nothing found"


def test_what_an_earlier_version_did_not_keep_is_no_difference() -> None:
    shape = Shape("programs", ("tenant", "version", "text", "time_us"), (0, 1), (True, False, True, False))
    kept: Row = (b"t", 1, b"rules", 1_000)
    before: Row = (b"t", 1, b"rules", 0)
    assert named(shape, (before, kept)) is None
    assert named(shape, (kept, before)) is not None
    both = named(shape, ((b"t", 1, b"others", 0), kept))
    assert both is not None
    assert both.found == {"text": "others"}
