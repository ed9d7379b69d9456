"""Closing a period: its final standings, once and for ever.

A period is closed by an `accrue.close` record, never by a clock, so every replay closes it at the same place. The
standings are computed from the book with what memory has newer over it, and written by the next settlement.
Closing again changes nothing; what arrives later counts, and the standings stay what they were.

A board may have a million members, so nothing here is done for all of them at once: rows are made in slices between
which the event loop gets its turn, and they are sorted in a thread. The fold stands still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from accrue import crashpoints
from accrue.book.base import Book, PeriodRow, TallyRow
from accrue.core.arithmetic import Failure
from accrue.core.arrange import arranged
from accrue.core.ranking import Order, Row
from accrue.core.rule import Board
from accrue.core.table import TableKey
from accrue.process.results import BoardPeriod, Standings
from accrue.process.state import TenantState
from accrue.process.world import World

SLICE_ROWS = 1_000
"""Rows made before the event loop gets its turn: about one millisecond."""

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


async def close_period(world: World, book: Book, state: TenantState, period: str, sequence: int) -> None:
    """Write down the final standings of every board in this period. Raises `Failure` for an unknown period.

    Before a replay's own record nothing is computed: the standings were given, and stay.
    """
    row = world.periods.get((state.tenant, period))
    ordered = world.instead.get(state.tenant)
    if ordered is not None and sequence < ordered.sequence:
        if row is None or not row.closed:
            first_seen_us = row.first_seen_us if row is not None else world.log_time_us
            world.put_period(PeriodRow(state.tenant, period, first_seen_us, sequence))
        return
    if row is None:
        raise Failure(f"nothing was ever counted in the period {period!r}")
    if row.closed:
        return
    kind = state.kind_of(period)
    made: dict[BoardPeriod, Standings] = {}
    for board in state.program.boards.values():
        if kind in board.periods and kind != "all":
            members = await board_members(book, state, board, period)
            if members.names:
                key = BoardPeriod(state.tenant, board.name, period)
                made[key] = await final_standings(key, members, order_of(board))
    crashpoints.point("close 3: standings made")
    for key, standings in made.items():
        world.results.add(key, standings)
    world.put_period(row._replace(closed=sequence))
    crashpoints.point("close 4: closed in memory")


def order_of(board: Board) -> Order:
    """The order of a board's rows, as the read model wants it."""
    return Order(tuple(key.descending for key in board.order), board.ties)


def starting_scores(state: TenantState, board: Board, period: str) -> list[int]:
    """What a member without a tally of a metric has, for each metric of the order."""
    return [state.program.metrics[key.metric].initial if period == "all" else 0 for key in board.order]


class HasTallies(Protocol):
    """A book, or a moment of one."""

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        """See `Book.tallies`."""
        ...


async def board_rows(book: HasTallies, state: TenantState, board: Board, period: str) -> list[Row]:
    """Every member of a board in a period, see `board_members`."""
    members = await board_members(book, state, board, period)
    return [row for rows in members.rows() for row in rows]


async def board_members(book: HasTallies, state: TenantState, board: Board, period: str) -> Members:
    """Every member of a board in a period: whoever has a tally of any of its metrics there.

    From the book, with what memory has newer over it. Each row is as it was at some moment between the call and its
    end; what the fold changes meanwhile stands in `changed` of its table, for the next publication.
    """
    while True:
        before = state.settlements
        members = Members(starting_scores(state, board, period))
        for at, key in enumerate(board.order):
            async for tallies in book.tallies(state.tenant, key.metric, period):
                for some in _slices(len(tallies)):
                    for tally in tallies[some]:
                        members.put(at, tally.subject, tally.value, tally.reached)
                    await asyncio.sleep(0)
        if state.settlements == before:  # else what was read may be older than what memory still knows as changed
            break
    # What is clean in memory is what the book has. What is not is taken here, before anything waits, so that it makes
    # no difference whether it is settled, and forgotten, while the slices go on.
    unsettled = [
        (at, changes, list(changes))
        for at, key in enumerate(board.order)
        if (table := state.tables.get(TableKey("tally", key.metric, period))) is not None
        for changes in state.generations(table)
    ]
    state.readers += 1
    try:
        for at, changes, subjects in unsettled:
            for some in _slices(len(subjects)):
                for subject in subjects[some]:
                    value, sequence = changes[subject]
                    members.put(at, subject, value, sequence)
                await asyncio.sleep(0)
    finally:
        state.readers -= 1
    return members


class Members:
    """The members of a board, in columns: a row each would be looked at by the garbage collector again and again.

    `scores` has a column for each metric of the order, `reached` the sequence number of the last change of any.
    """

    def __init__(self, starts: Sequence[int]) -> None:
        self.names: list[str] = []
        self.scores: list[list[int]] = [[] for _ in starts]
        self.reached: list[int] = []
        self._starts = starts
        self._index: dict[str, int] = {}

    def put(self, column: int, subject: str, value: int, sequence: int) -> None:
        """Set one score of a member, who may be new."""
        at = self._index.get(subject)
        if at is None:
            at = self._index[subject] = len(self.names)
            self.names.append(subject)
            self.reached.append(0)
            for scores, start in zip(self.scores, self._starts, strict=True):
                scores.append(start)
        self.scores[column][at] = value
        if sequence > self.reached[at]:
            self.reached[at] = sequence

    def rows(self) -> Iterator[list[Row]]:
        """Everybody as rows, a slice at a time."""
        for some in _slices(len(self.names)):
            scores = zip(*(column[some] for column in self.scores), strict=True)
            yield list(map(Row, self.names[some], scores, self.reached[some]))


async def final_standings(key: BoardPeriod, members: Members, order: Order) -> Standings:
    """The members of a board as its final standings: those of `core.ranking.standings`, made in slices."""
    names = members.names
    scores = np.empty((len(order.descending), len(names)), dtype=np.int64)
    reached = np.empty(len(names), dtype=np.int64)
    for some in _slices(len(names)):
        for at, column in enumerate(members.scores):
            scores[at, some] = column[some]
        reached[some] = members.reached[some]
        await asyncio.sleep(0)
    best_first, new_scores = await asyncio.to_thread(_arranged, scores, reached, order, names)
    standings = Standings(key, columns=len(order.descending))
    rank = dense = 0
    for some in _slices(len(names)):
        places = best_first[some].tolist()
        for at, is_new in zip(places, new_scores[some].tolist(), strict=True):
            if is_new:
                rank, dense = len(standings) + 1, dense + 1
            standings.add(names[at], rank, dense)
        for column, made in zip(members.scores, standings.scores, strict=True):
            made += [column[at] for at in places]
        await asyncio.sleep(0)
    return standings


def _arranged(scores: Integers, reached: Integers, order: Order, names: list[str]) -> tuple[Integers, Flags]:
    """The members best first, and at which places the scores are others than above."""
    best_first = arranged(scores, reached, order, np.arange(len(names), dtype=np.int64), names)
    ordered = scores[:, best_first]
    new_scores = np.ones(len(names), dtype=np.bool_)
    new_scores[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return best_first, new_scores


def _slices(length: int) -> Iterator[slice]:
    for start in range(0, length, SLICE_ROWS):
        yield slice(start, start + SLICE_ROWS)
