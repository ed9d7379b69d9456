"""Boards made from the book alone, for reads while the live boards cannot be reached; made anew after a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from accrue.boards.base import BoardKey, Boards, Turn
from accrue.book.base import Book
from accrue.clock import Clock
from accrue.core.rule import Board
from accrue.process.close import board_members, order_of
from accrue.process.state import TenantState

FRESH_S = 10.0
"""A board of the book is read again when it is older than this. The book moves once a settlement anyway."""
BOARDS_MAX = 200
"""The one not asked for the longest goes first."""


class BookBoards:
    """Fills `boards`, which nobody else publishes to."""

    def __init__(self, book: Book, boards: Boards, clock: Clock) -> None:
        self._book = book
        self._boards = boards
        self._clock = clock
        self._made: OrderedDict[BoardKey, float] = OrderedDict()
        self._begun = 0
        self._one_at_a_time = asyncio.Lock()

    async def ensure(self, state: TenantState, board: Board, period: str) -> None:
        """Make the board, unless it was made lately. Raises `Unavailable`."""
        key = BoardKey(state.tenant, board.name, period)
        async with self._one_at_a_time:
            now_s = self._clock.monotonic_s()
            if key in self._made and now_s - self._made[key] < FRESH_S:
                self._made.move_to_end(key)
                return
            members = await board_members(self._book, state, board, period)
            turn = await self._turn(state.tenant)
            if members.names:
                await self._boards.rebuild(key, order_of(board), 0, members.rows(), turn=turn)
            else:
                await self._boards.drop(key, turn=turn)
            self._made[key] = now_s
            self._made.move_to_end(key)
            if len(self._made) > BOARDS_MAX:
                oldest, _ = self._made.popitem(last=False)
                await self._boards.drop(oldest, turn=await self._turn(oldest.tenant))

    async def _turn(self, tenant: str) -> Turn:
        self._begun += 1
        return (await self._boards.begin(tenant, Turn(1, self._begun, 0), log="")).turn
