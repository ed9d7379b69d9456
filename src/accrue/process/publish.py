"""Publishing: what changed goes to the boards, absolutely, once a tick however often it changed.

A board is *live* when the boards hold all of it. One that is not (after a start, a wipe, a new program) is made
whole from the book with memory over it, when somebody asks for it or when one of its members changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from accrue.boards.base import BoardKey, Boards
from accrue.book.base import Book
from accrue.core.ranking import Row
from accrue.core.rule import Board
from accrue.core.table import Table, TableKey
from accrue.errors import Rejected
from accrue.process.close import board_members, order_of, starting_scores
from accrue.process.state import TenantState
from accrue.process.world import World


class Publisher:
    """Keeps the boards in step with the fold. Every method is safe to repeat."""

    def __init__(self, world: World, boards: Boards, book: Book) -> None:
        self._world = world
        self._boards = boards
        self._book = book
        self._live: dict[BoardKey, int] = {}  # the program's sequence number it was published under
        self._one_at_a_time = asyncio.Lock()

    async def publish(self) -> None:
        """Bring every board up to what the fold holds now, and mark the changes for the next settlement."""
        async with self._one_at_a_time:
            for state in list(self._world.tenants.values()):
                touched, state.touched = [table for table in state.touched if table.changed], {}
                concerned, program_sequence = self._concerned(state, touched), state.program_sequence
                # Rows are taken before anything waits: the fold may go on while they are on their way.
                taken = [(key, board, self._take(state, key, board)) for key, board in concerned.items()]
                for table in touched:
                    if table.key.kind == "award":
                        state.earned.note(table.key, table.changed, settlements=state.settlements)
                    if table.dirty:
                        table.dirty.update(table.changed)
                    else:
                        table.dirty = table.changed
                    table.changed = {}
                while taken:
                    key, board, rows = taken[0]
                    try:
                        if rows is None:
                            await self._make_whole(state, key, board, program_sequence)
                        else:
                            await self._boards.publish(key, order_of(board), rows)
                    except BaseException:
                        for unpublished, _, _ in taken:  # made whole when somebody asks, or a member changes
                            self._live.pop(unpublished, None)
                        raise
                    del taken[0]

    async def ensure(self, state: TenantState, board: Board, period: str) -> None:
        """Make a board whole, unless it is. One that nobody has a tally for stays unknown."""
        key = BoardKey(state.tenant, board.name, period)
        async with self._one_at_a_time:
            board = state.program.boards.get(board.name, board)  # of now: who asked may have waited through a change
            if self._live.get(key) != state.program_sequence:
                await self._make_whole(state, key, board, state.program_sequence)

    async def drop(self, key: BoardKey) -> None:
        """Let go of a board. It comes back when somebody asks for it."""
        async with self._one_at_a_time:
            self._live.pop(key, None)
            await self._boards.drop(key)

    def live(self) -> list[BoardKey]:
        return list(self._live)

    def _concerned(self, state: TenantState, touched: Iterable[Table]) -> dict[BoardKey, Board]:
        concerned: dict[BoardKey, Board] = {}
        for table in touched:
            if table.key.kind == "tally" and "." not in table.key.name:
                try:
                    kind = state.kind_of(table.key.part)
                except Rejected:  # a range that a new program no longer has
                    continue
                for board in state.program.boards_on(table.key.name):
                    if kind in board.periods:
                        concerned[BoardKey(state.tenant, board.name, table.key.part)] = board
        return dict(sorted(concerned.items()))

    def _take(self, state: TenantState, key: BoardKey, board: Board) -> list[Row] | None:
        """The rows that changed; None when the board has to be made whole instead."""
        if self._live.get(key) != state.program_sequence:
            if not self._is_new(state, board, key.period):
                return None
            self._live[key] = state.program_sequence
        tables = [state.tables.get(TableKey("tally", item.metric, key.period)) for item in board.order]
        return _rows(tables, starting_scores(state, board, key.period))

    def _is_new(self, state: TenantState, board: Board, period: str) -> bool:
        """Whether everything the board has changed just now, so that publishing the changes publishes it all."""
        if period in state.partial or BoardKey(state.tenant, board.name, period) in self._live:
            return False
        tables = [state.tables.get(TableKey("tally", item.metric, period)) for item in board.order]
        return all(table is None or len(table) == len(table.changed) for table in tables)

    async def _make_whole(self, state: TenantState, key: BoardKey, board: Board, sequence: int) -> None:
        """`sequence` is that of the program `board` is from: while this waits, the tenant's program may change."""
        members = await board_members(self._book, state, board, key.period)
        await self._boards.drop(key)
        self._live.pop(key, None)
        if members.names:  # one with nobody on it is not kept in mind: anybody may ask for any period
            for rows in members.rows():
                await self._boards.publish(key, order_of(board), rows)
                await asyncio.sleep(0)
            self._live[key] = sequence


_row: Callable[[tuple[str, tuple[int], int]], Row] = partial(tuple.__new__, Row)
"""`Row(*columns)` without the detour through Python, because most of what is published comes this way."""


def _rows(tables: list[Table | None], starts: list[int]) -> list[Row]:
    """The rows of every member that has something changed, absolutely."""
    if len(tables) == 1:
        (only,) = tables
        if only is None:
            return []
        return [_row((subject, (value,), sequence)) for subject, (value, sequence) in only.changed.items()]
    reached: dict[str, int] = {}
    for table in tables:
        for subject, (_, sequence) in table.changed.items() if table is not None else ():
            reached[subject] = max(sequence, reached.get(subject, 0))
    columns = [(table if table is not None else {}, start) for table, start in zip(tables, starts, strict=True)]
    return [
        Row(subject, tuple([column.get(subject, start) for column, start in columns]), sequence)
        for subject, sequence in reached.items()
    ]
