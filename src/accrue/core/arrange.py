"""The order of a large board, found with numpy: the same total order as `core.ranking.sort_key`.

All numbers of a row (each score in its direction, then `reached`) are packed into one int64, so that one sort
of plain integers does nearly all the work; it is several times faster than sorting by one column after
another, and lets go of the interpreter lock. Where the numbers need more than 63 bits, what was packed so far
is replaced by its dense number (0, 1, 2 ... in order), which needs no more bits than there are rows.

Only rows that are equal in every number are then ordered by subject. When these are many, the beginnings of
their UTF-8 text are packed like numbers (the bytes of UTF-8 sort as code points do); what is still equal
after that is sorted as text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accrue.core.ranking import Order

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

PACKED_MAX = 2**63 - 1
TEXT_SORT_MEMBERS_MAX = 500
"""Up to this many tied rows are sorted as text at once; packing would cost more."""
PREFIX_SIZE_BYTES_MAX = 64
"""How much of a subject is packed. Only rows that share all of this are compared as text."""
NAMES_PER_SLICE = 4_096
"""Subjects are encoded this many at a time, so that the interpreter lock is never kept long."""


def arranged(scores: Integers, reached: Integers, order: Order, slots: Integers, names: Sequence[str]) -> Integers:
    """The permutation that puts rows in the order, best first.

    `scores` has a row for each score of the order and a column a member; `reached` and `slots` have one entry
    a member. `names[slot]` is the member's subject; it is read for members tied in all numbers only.
    """
    columns = [-column if down else column for column, down in zip(scores, order.descending, strict=True)]
    if order.ties != "id":
        columns.append(reached if order.ties == "first" else -reached)
    key = _packed(columns, members=len(slots))
    result: Integers = np.argsort(key)
    same = _same_as_above(key[result])
    if same.any():
        _order_by_name(result, same, slots, names)
    return result


def _packed(columns: Sequence[Integers], *, members: int) -> Integers:
    """One integer a row that sorts as the columns do, the first one being the most significant."""
    key: Integers = np.zeros(members, dtype=np.int64)
    if not members:
        return key
    size = 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if low == high:
            continue
        if size * (high - low + 1) > PACKED_MAX:
            key, size = _dense(key)
        if size * (high - low + 1) > PACKED_MAX:
            column, distinct = _dense(column)
            low, high = 0, distinct - 1
        key = key * (high - low + 1) + (column - low)
        size *= high - low + 1
    return key


def _dense(values: Integers) -> tuple[Integers, int]:
    """Each value replaced by how many distinct ones are smaller, and how many distinct ones there are."""
    by_value = np.argsort(values)
    numbers = np.cumsum(~_same_as_above(values[by_value]), dtype=np.int64) - 1
    dense: Integers = np.empty_like(values)
    dense[by_value] = numbers
    return dense, int(numbers[-1]) + 1


def _same_as_above(ascending: Integers) -> Flags:
    """Which entries equal the one before them."""
    same: Flags = np.zeros(len(ascending), dtype=np.bool_)
    np.equal(ascending[1:], ascending[:-1], out=same[1:])
    return same


def _with_first(same: Flags) -> Flags:
    """Which entries belong to a run of equal ones, the first of each run included."""
    tied = same.copy()
    tied[:-1] |= same[1:]
    return tied


def _order_by_name(result: Integers, same: Flags, slots: Integers, names: Sequence[str]) -> None:
    """Put each run of equal rows (`same` marks all but its first) in the order of subjects, in place."""
    places = np.flatnonzero(_with_first(same))
    runs = np.cumsum(~same[places], dtype=np.int64)
    if len(places) > TEXT_SORT_MEMBERS_MAX:
        rows = result[places]
        key = _packed([runs, *_prefixes(slots[rows], names)], members=len(rows))
        by_key = np.argsort(key)
        result[places] = rows[by_key]
        same = _same_as_above(key[by_key])
        tied = _with_first(same)
        places, runs = places[tied], np.cumsum(~same, dtype=np.int64)[tied]
    if len(places):
        _sort_as_text(result, places, runs.tolist(), slots, names)


def _sort_as_text(result: Integers, places: Integers, runs: list[int], slots: Integers, names: Sequence[str]) -> None:
    """Sort these places, run by run, by subject. `runs` says for each place which run it belongs to."""
    rows = result[places]
    subjects = [names[slot] for slot in slots[rows].tolist()]
    result[places] = rows[sorted(range(len(runs)), key=lambda at: (runs[at], subjects[at]))]


def _prefixes(slots: Integers, names: Sequence[str]) -> list[Integers]:
    """The first bytes of each subject as columns of integers, eight bytes each, the first bytes first."""
    parts = []
    for start in range(0, len(slots), NAMES_PER_SLICE):
        part = slots[start : start + NAMES_PER_SLICE].tolist()
        # A lone surrogate is never accepted as a subject, but must not stop a board either.
        text = [names[slot].encode("utf-8", "surrogatepass") for slot in part]
        parts.append(np.array(text, dtype=np.bytes_))
    width = min(max(each.itemsize for each in parts), PREFIX_SIZE_BYTES_MAX)
    words = -(-width // 8)
    packed = np.concatenate([each.astype(f"S{words * 8}") for each in parts])
    columns = packed.view(">u8").reshape(len(slots), words).T
    # Flipping the highest bit makes signed integers sort as the unsigned bytes do.
    return [(column.astype(np.uint64) ^ np.uint64(2**63)).view(np.int64) for column in columns]
