"""Two books, table by table, in the order of their keys: what is the same is passed over in bulk, what is not is named.

Memory holds one batch of each side.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from hashlib import blake2b
from struct import Struct
from typing import Any

from accrue.book.snapshot import Cell, Row, Shape, Snapshot
from accrue.process.repeats import RepeatIndex
from accrue.process.replay.difference import Difference, Value

PIECE_ROWS = 256
"""Rows compared in one go; where a piece differs its rows are looked at one by one."""

NOT_KEPT: dict[str, dict[str, tuple[Cell, ...]]] = {
    "failed_events": {"time_us": (-1,), "stamp": (b"{}",)},
    "programs": {"time_us": (0,), "source": (b"file",)},
}
"""What stands in a column of rows that were written before there was such a column. It says nothing."""

_HEAD = Struct("<qQ")  # how `RepeatIndex.digest_entries` begins each bucket

Pair = tuple[Row | None, Row | None]
"""A row as it is found and as it is expected; None where there is none. The two have the same key."""


class Comparison:
    """Goes through a table of two books at once. `rows` counts those found so far."""

    def __init__(self, shape: Shape, found: Snapshot, expected: Snapshot) -> None:
        self.rows = 0
        self._key = shape.key
        self._found = _Stream(found.rows(shape))
        self._expected = _Stream(expected.rows(shape))

    async def pairs(self) -> AsyncIterator[Pair]:
        """Every row that the two do not agree on, by key."""
        while True:
            mine, theirs = await self._found.piece(), await self._expected.piece()
            both = min(len(mine), len(theirs))
            if not both:
                if not mine and not theirs:
                    return
                for row in mine:
                    yield row, None
                for row in theirs:
                    yield None, row
                self._pass_over(len(mine), len(theirs))
            elif mine[:both] == theirs[:both]:
                self._pass_over(both, both)
            else:
                pairs, one, two = self._by_row(mine, theirs)
                for pair in pairs:
                    yield pair
                self._pass_over(one, two)

    def _by_row(self, mine: list[Row], theirs: list[Row]) -> tuple[list[Pair], int, int]:
        """The pairs that differ until one side's piece ends, and how many rows of each side that took."""
        pairs: list[Pair] = []
        one = two = 0
        while one < len(mine) and two < len(theirs):
            a, b = mine[one], theirs[two]
            here: tuple[Any, ...] = tuple([a[at] for at in self._key])
            there: tuple[Any, ...] = tuple([b[at] for at in self._key])
            if here == there:
                if a != b:
                    pairs.append((a, b))
                one, two = one + 1, two + 1
            elif here < there:
                pairs.append((a, None))
                one += 1
            else:
                pairs.append((None, b))
                two += 1
        return pairs, one, two

    def _pass_over(self, found: int, expected: int) -> None:
        self.rows += found
        self._found.pass_over(found)
        self._expected.pass_over(expected)


def named(shape: Shape, pair: Pair) -> Difference | None:
    """A difference in words: which row, and in which columns it differs. None when only what was not kept does."""
    found, expected = pair
    row = found if found is not None else expected
    assert row is not None  # a pair has one row at least
    key = {shape.columns[at]: shown(row[at]) for at in shape.key}
    if found is None or expected is None:
        rest = {shape.columns[at]: shown(row[at]) for at in range(len(row)) if at not in shape.key}
        return Difference(shape.name, key, None if expected is None else rest, None if found is None else rest)
    excused = NOT_KEPT.get(shape.name, {})
    columns = [
        at
        for at, name in enumerate(shape.columns)
        if found[at] != expected[at] and found[at] not in excused.get(name, ())
    ]
    if not columns:
        return None
    return Difference(
        shape.name,
        key,
        {shape.columns[at]: shown(expected[at]) for at in columns},
        {shape.columns[at]: shown(found[at]) for at in columns},
    )


def shown(cell: Cell) -> Value:
    """A cell as it can be told. Bytes that are no text are written as escapes."""
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else cell


Buckets = dict[int, dict[str, Value]]
"""The buckets of a repeat index by the log time they begin at: how many entries each remembers, and their digest."""


def buckets_of(index: RepeatIndex) -> Buckets:
    """What an index remembers, told so that two can be compared without both being there."""
    chunks = index.digest_entries()
    buckets: Buckets = {}
    for head in chunks:
        begins_us, entries = _HEAD.unpack(head)
        buckets[begins_us] = {"entries": entries, "digest": blake2b(next(chunks), digest_size=8).hexdigest()}
    return buckets


def index_differences(index: str, found: Buckets, expected: Buckets) -> Iterator[Difference]:
    """The buckets of a repeat index that are not the same."""
    for begins_us in sorted(found.keys() | expected.keys()):
        if found.get(begins_us) != expected.get(begins_us):
            key: dict[str, Value] = {"index": index, "bucket": begins_us}
            yield Difference("repeats", key, expected.get(begins_us), found.get(begins_us))


class _Stream:
    """The rows of one side, a piece at a time."""

    def __init__(self, batches: AsyncIterator[list[Row]]) -> None:
        self._batches = batches
        self._rows: list[Row] = []
        self._at = 0

    async def piece(self) -> list[Row]:
        """The next rows, without taking them; none at the end."""
        while self._at >= len(self._rows):
            rows = await anext(self._batches, None)
            if rows is None:
                return []
            self._rows, self._at = rows, 0
        return self._rows[self._at : self._at + PIECE_ROWS]

    def pass_over(self, rows: int) -> None:
        """Take so many of them."""
        self._at += rows
