"""Final standings: those that wait for the next settlement, and reading them and what came late, memory over book.

    close --> Results (since the last settlement) --> board_results (the book)
                  ^                                       ^
                  +--------------- Closed ----------------+     a page, some members, what came late

Final standings never change, so it does not matter which of the two places a read finds them in. What an event changes
in a closed period afterwards counts in the tallies; the book keeps a list of those (`late_tallies`), so that the few
which differ are found without comparing everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import islice
from typing import overload

import msgspec
from msgspec import Struct

from accrue.book.base import Book, ResultRow
from accrue.core.rule import Board
from accrue.core.table import Table, TableKey
from accrue.process.state import TenantState

SLICE_ROWS = 4_000
"""Changes looked at before the event loop gets its turn: about one millisecond."""


class BoardPeriod(Struct, frozen=True):
    """One board in one closed period."""

    tenant: str
    board: str
    period: str


class Standings:
    """The final standings of a board, in columns: rows are made when they are asked for. The first place is 1."""

    def __init__(self, key: BoardPeriod, *, columns: int) -> None:
        self.scores: list[list[int]] = [[] for _ in range(columns)]
        self.place_of: dict[str, int] = {}
        self._key = key
        self._subjects: list[str] = []
        self._ranks: list[int] = []
        self._dense: list[int] = []

    def __len__(self) -> int:
        return len(self._subjects)

    def add(self, subject: str, rank: int, dense: int) -> None:
        """The next place. Its scores go to `scores`, one to each column."""
        self._subjects.append(subject)
        self._ranks.append(rank)
        self._dense.append(dense)
        self.place_of[subject] = len(self._subjects)

    def page(self, first: int, rows: int) -> list[ResultRow]:
        """Up to so many from the place `first` on."""
        tenant, board, period = self._key.tenant, self._key.board, self._key.period
        some = slice(first - 1, first - 1 + rows)
        scores = zip(*(column[some] for column in self.scores), strict=True)
        standing = zip(self._ranks[some], self._subjects[some], scores, self._dense[some], strict=True)
        return [
            ResultRow(tenant, board, period, place, rank, subject, msgspec.json.encode(values).decode(), dense)
            for place, (rank, subject, values, dense) in enumerate(standing, start=first)
        ]


class Rows(Sequence[ResultRow]):
    """All rows of some standings, one after the other, made as they are taken."""

    def __init__(self, standings: Sequence[Standings]) -> None:
        self._standings = standings
        self._length = sum(map(len, standings))

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> ResultRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[ResultRow]: ...
    def __getitem__(self, at: int | slice) -> ResultRow | list[ResultRow]:
        if isinstance(at, int):
            return self[range(self._length)[at] :][0]
        asked = range(self._length)[at]
        if not asked:
            return []
        first = start = min(asked[0], asked[-1])
        stop = max(asked[0], asked[-1]) + 1
        found: list[ResultRow] = []
        for standings in self._standings:
            if start < len(standings) and stop > 0:
                found += standings.page(start + 1, min(stop, len(standings)) - start)
            start, stop = max(start - len(standings), 0), stop - len(standings)
        return [found[place - first] for place in asked]


class Results:
    """The final standings of one partition that the book does not have yet."""

    def __init__(self) -> None:
        self._waiting: dict[BoardPeriod, Standings] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, key: BoardPeriod, standings: Standings) -> None:
        """Once for each board and period, and never empty ones."""
        self._waiting[key] = standings

    def find(self, key: BoardPeriod) -> Standings | None:
        """None when they are in the book, or nowhere."""
        return self._waiting.get(key)

    def rows(self) -> Sequence[ResultRow]:
        """All of them, for a settlement."""
        return Rows(list(self._waiting.values()))

    def settled(self, rows: Sequence[ResultRow]) -> None:
        """The book has these, which `rows` gave; what was added meanwhile stays."""
        left = len(rows)
        while left:
            key = next(iter(self._waiting))
            left -= len(self._waiting.pop(key))


class Closed:
    """See `FinalStandings` in base.py. `closed` is the sequence number of the close."""

    def __init__(
        self, book: Book, state: TenantState, key: BoardPeriod, *, closed: int, members: int, waiting: Standings | None
    ) -> None:
        self.members = members
        self._book = book
        self._state = state
        self._key = key
        self._closed = closed
        self._waiting = waiting

    async def page(self, *, first: int, rows: int) -> list[ResultRow]:
        if self._waiting is not None:
            return self._waiting.page(first, rows)
        key = self._key
        return await self._book.results(key.tenant, key.board, key.period, after=first - 1, rows=rows)

    async def of(self, subjects: Collection[str]) -> list[ResultRow]:
        key, waiting = self._key, self._waiting
        if waiting is None:
            return await self._book.results_of(key.tenant, key.board, key.period, subjects) if subjects else []
        places = {waiting.place_of[subject] for subject in subjects if subject in waiting.place_of}
        return [row for place in sorted(places) for row in waiting.page(place, 1)]

    async def late(
        self, board: Board, *, subjects: Collection[str] | None, rows: int
    ) -> list[tuple[str, tuple[int, ...]]]:
        key, state = self._key, self._state
        metrics = [item.metric for item in board.order]
        while True:
            before = state.settlements
            settled: dict[str, dict[str, int]] = {}
            for row in await self._book.late(key.tenant, key.period, metrics, subjects=subjects, rows=rows):
                settled.setdefault(row.subject, {})[row.metric] = row.value
            tables = {metric: state.tables.get(TableKey("tally", metric, key.period)) for metric in metrics}
            unsettled = [
                await self._unsettled(table, subjects, rows)
                for table in dict.fromkeys(tables.values())
                if table is not None
            ]
            if state.settlements == before:  # else some may have been settled after the book was asked
                break
        found = sorted(set(settled).union(*unsettled))[:rows]
        return [
            (subject, tuple([_newest(tables[metric], subject, settled, metric) for metric in metrics]))
            for subject in found
        ]

    async def _unsettled(self, table: Table, subjects: Collection[str] | None, rows: int) -> list[str]:
        """Whose tally in this table changed after the close, and is not in the book yet: the first so many."""
        found: list[str] = []
        for changes in self._state.generations(table):
            asked = iter(list(changes) if subjects is None else subjects)
            while some := list(islice(asked, SLICE_ROWS)):
                late = {
                    subject
                    for subject in some
                    if (change := changes.get(subject)) is not None and change[1] > self._closed
                }
                found = sorted(late.union(found))[:rows]
                await asyncio.sleep(0)
        return found


def _newest(table: Table | None, subject: str, settled: dict[str, dict[str, int]], metric: str) -> int:
    in_memory: int | None = None if table is None else table.get(subject)
    return settled.get(subject, {}).get(metric, 0) if in_memory is None else in_memory
