"""A snapshot: a board as it stood at one moment, sorted. Every read of one answer comes from one of these.

    place      0    1    2    3    4          (0 is the best)
    slots     17    3    8    0    5          who stands there
    scores    90   70   70   70   10          one row for each score of the order
    runs       0    1    4                    where a new value of the scores begins

A rank is found by a binary search for the place in `runs`. Arrays of integers only: 20 bytes a member when
the order has one score. It names members by their slot, which stays theirs for as long as the snapshot is
kept (members.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accrue.boards.base import RankOf
from accrue.boards.members import Columns
from accrue.core.arrange import arranged
from accrue.core.ranking import Order, Standing, Style

NOWHERE = -1
OVERHEAD_SIZE_BYTES = 1_024
"""About what the objects around the arrays take, so that many tiny snapshots are not counted as nothing."""

Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`place_of[slot]` is the reverse of `slots`, `NOWHERE` for a slot that had no member.

    It shows everything up to the place `position` of the log, and maybe more. Where a method takes `names`,
    `names[slot]` is the subject.
    """

    epoch: int
    as_of_us: int
    position: int
    slots: NDArray[np.int32]
    scores: NDArray[np.int64]
    runs: Places
    place_of: Places

    @property
    def members(self) -> int:
        return len(self.slots)

    @property
    def size_bytes(self) -> int:
        arrays = (self.slots, self.scores, self.runs, self.place_of)
        return OVERHEAD_SIZE_BYTES + sum(array.nbytes for array in arrays)

    def place(self, slot: int | None) -> int | None:
        """Where the member with this slot stands, None when it was not on the board."""
        if slot is None or slot >= len(self.place_of):
            return None
        place = int(self.place_of[slot])
        return None if place == NOWHERE else place

    def standings(self, start: int, stop: int, *, style: Style, names: Sequence[str]) -> list[Standing]:
        """The rows from place `start` up to but without `stop`, as far as there are any."""
        start, stop = max(start, 0), min(stop, self.members)
        if start >= stop:
            return []
        return self._rows(np.arange(start, stop, dtype=np.int32), style=style, names=names)

    def ranks(self, slots: Sequence[int], *, style: Style, names: Sequence[str]) -> list[RankOf]:
        """Where the members with these slots stand, best first; slots that had no member are left out."""
        found = {place for slot in slots if (place := self.place(slot)) is not None}
        places = np.array(sorted(found), dtype=np.int32)
        if not len(places):
            return []
        number = np.searchsorted(self.runs, places, side="right")
        if style == "ordinal":
            relative, first = np.arange(1, len(places) + 1), places
        else:
            _, index, inverse = np.unique(number, return_index=True, return_inverse=True)
            relative = (inverse if style == "dense" else index[inverse]) + 1
            first = self.runs[number - 1]
        percentiles = 100.0 * (self.members - first) / self.members
        rows = self._rows(places, style=style, names=names)
        return [RankOf(*each) for each in zip(rows, relative.tolist(), percentiles.tolist(), strict=True)]

    def _rows(self, places: Places, *, style: Style, names: Sequence[str]) -> list[Standing]:
        """`places` has the dtype of `runs`: otherwise each search would first convert all of `runs`."""
        ranks = (places + 1).tolist()
        if style != "ordinal":
            number = np.searchsorted(self.runs, places, side="right")
            ranks = (number if style == "dense" else self.runs[number - 1] + 1).tolist()
        slots = self.slots[places].tolist()
        scores = zip(*self.scores[:, places].tolist(), strict=True)
        return [
            Standing(rank, place + 1, names[slot], score)
            for rank, place, slot, score in zip(ranks, places.tolist(), slots, scores, strict=True)
        ]


def taken(
    columns: Columns, order: Order, *, names: Sequence[str], epoch: int, as_of_us: int, position: int
) -> Snapshot:
    """Sort a copy of a board's columns. May run in a thread: it changes nothing it is given."""
    slots = np.flatnonzero(columns.live)
    scores, reached = columns.scores, columns.reached
    if len(slots) < len(columns.live):
        scores, reached = scores[:, slots], reached[slots]
    by_rank = arranged(scores, reached, order, slots, names)
    sorted_slots = slots[by_rank].astype(np.int32)
    sorted_scores = np.take(scores, by_rank, axis=1)
    place_of = np.full(len(columns.live), NOWHERE, dtype=np.int32)
    place_of[sorted_slots] = np.arange(len(slots), dtype=np.int32)
    return Snapshot(
        epoch=epoch,
        as_of_us=as_of_us,
        position=position,
        slots=sorted_slots,
        scores=sorted_scores,
        runs=_runs(sorted_scores),
        place_of=place_of,
    )


def _runs(scores: NDArray[np.int64]) -> Places:
    """The places at which some score differs from the place above; the first place always does."""
    begins = np.ones(scores.shape[1], dtype=np.bool_)
    if len(begins):
        begins[1:] = (scores[:, 1:] != scores[:, :-1]).any(axis=0)
    return np.flatnonzero(begins).astype(np.int32)
