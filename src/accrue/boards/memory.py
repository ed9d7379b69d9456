"""Boards in memory: the members in numpy columns, and a sorted snapshot that is refreshed when it is read.

    publish --> members (members.py) --copy, sort--> snapshot (snapshot.py) --> page, around, ranks
                                                        |
                                                        +-- replaced, but a cursor leads to it: kept.py

When a read makes a new snapshot of a board that changed:

- a small board: at once, on every such read;
- a large one: in a thread, and not before the old snapshot is an interval old. The read that starts it waits
  for it. Reads meanwhile answer from the old snapshot, and wait too only when there is none or it is very
  old.

A read that must show a place of the log (`Seen`) is never answered from a snapshot that was begun before the
board held it: it waits for the sort under way, and when that began too early for the next one, which all that wait
share.

A page says which snapshot it shows (`epoch`) and when that was made (`as_of_us`). Epochs grow through all
boards of one process and are never used twice, also not after a board was dropped; cursors carry the name of
the process as well, so that one from before a restart is `Gone` and never mistaken.

Publishing never waits for a sort, because the thread works on a copy.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from functools import partial

from accrue.boards.base import ANY, Abilities, Begun, BoardKey, Change, Mark, Page, RankOf, Seen, Turn, Usage
from accrue.boards.cursor import Cursor, Sealed
from accrue.boards.kept import KEPT_SIZE_BYTES_MAX, KEPT_SNAPSHOTS_MAX, Kept
from accrue.boards.members import Members
from accrue.boards.nearest import board_name, not_found
from accrue.boards.snapshot import Snapshot, taken
from accrue.boards.turns import Turns, lost
from accrue.core.ranking import Order, Row, Style
from accrue.errors import Gone, NotFound

SMALL_MEMBERS_MAX = 20_000
"""Up to this many members a board is sorted on the spot: 1 ms, 4 when most are tied to the id."""
REFRESH_INTERVAL_US = 1_000_000
"""A larger board is sorted again at most this often."""
STALE_US_MAX = 10_000_000
"""While a larger board is being sorted, a read is not answered from a snapshot older than this."""
ROWS_PER_SLICE = 2_048
"""Other tasks may run after this many published rows: 1-2 ms."""
DEPARTED_MIN = 1_024
"""More removed members than this, and than there are members, and the snapshots that mention them are let
go."""

ABILITIES = Abilities(snapshots=True, dense_members_max=None, shared=False, tenants_at_once=1)


class _Board:
    """One board: its members, its newest snapshot, and the sort that is under way."""

    def __init__(self, order: Order, program: int, *, number: int) -> None:
        self.order = order
        self.program = program
        self.number = number
        self.members = Members(width=len(order.descending))
        self.changed = False
        self.current: Snapshot | None = None
        self.paged = 0  # the newest epoch that a cursor was handed out for
        self.begun = 0  # the newest epoch whose sort was begun
        self.sorting: asyncio.Future[Snapshot] | None = None


class MemoryBoards:
    """The `Boards` of one process. `instance` is a name that no other process has or had (ids.identity)."""

    def __init__(
        self,
        *,
        instance: str,
        small_members_max: int = SMALL_MEMBERS_MAX,
        refresh_interval_us: int = REFRESH_INTERVAL_US,
        stale_us_max: int = STALE_US_MAX,
        kept_snapshots_max: int = KEPT_SNAPSHOTS_MAX,
        kept_size_bytes_max: int = KEPT_SIZE_BYTES_MAX,
    ) -> None:
        self._instance = instance
        self._small_members_max = small_members_max
        self._refresh_interval_us = refresh_interval_us
        self._stale_us_max = stale_us_max
        self._kept = Kept(snapshots_max=kept_snapshots_max, size_bytes_max=kept_size_bytes_max)
        self._turns = Turns()
        self._tenants: dict[str, dict[BoardKey, _Board]] = {}
        self._sorts: set[asyncio.Future[Snapshot]] = set()
        self._numbers = 0  # the last number given to a board or a snapshot

    @property
    def abilities(self) -> Abilities:
        return ABILITIES

    def place_of(self, tenant: str) -> str:
        return "memory"

    async def begin(self, tenant: str, turn: Turn, *, log: str) -> Begun:
        found = self._turns.begin(tenant, turn, log=log)
        there = {key: board.program for key, board in self._tenants.get(tenant, {}).items()}
        return Begun(turn=turn, found=found, boards=there)

    async def publish(self, tenant: str, changes: Sequence[Change], *, turn: Turn, position: int) -> Turn:
        """As the contract says. Other tasks run between slices, so a read may see the first part of a very large
        publication."""
        self._turns.check(tenant, turn)
        for change in changes:
            board = self._opened(change)
            for start in range(0, len(change.rows), ROWS_PER_SLICE):
                if start:
                    await self._others(tenant, turn)
                board.members.put(change.rows[start : start + ROWS_PER_SLICE])
                board.changed = True
            for start in range(0, len(change.removed), ROWS_PER_SLICE):
                if change.rows or start:
                    await self._others(tenant, turn)
                board.members.remove(change.removed[start : start + ROWS_PER_SLICE], epoch=board.begun)
                board.changed = True
                self._reclaim(board)
        return self._turns.step(tenant, turn, position=position)

    async def rebuild(
        self, key: BoardKey, order: Order, program: int, batches: Iterable[Sequence[Row]], *, turn: Turn
    ) -> Turn:
        self._turns.check(key.tenant, turn)
        board = _Board(order, program, number=self._next_number())
        for rows in batches:
            for start in range(0, len(rows), ROWS_PER_SLICE):
                board.members.put(rows[start : start + ROWS_PER_SLICE])
                board.changed = True
                await self._others(key.tenant, turn)
        self._forget(key)
        self._tenants.setdefault(key.tenant, {})[key] = board
        return self._turns.step(key.tenant, turn)

    async def drop(self, key: BoardKey, *, turn: Turn) -> Turn:
        self._turns.check(key.tenant, turn)
        self._forget(key)
        return self._turns.step(key.tenant, turn)

    async def marks(self, tenants: Sequence[str]) -> list[Mark | None]:
        return [self._turns.mark(tenant) for tenant in tenants]

    async def usage(self, tenant: str) -> Usage:
        boards = self._tenants.get(tenant, {}).values()
        size_bytes = sum(
            board.members.size_bytes + (board.current.size_bytes if board.current else 0) for board in boards
        )
        return Usage(len(boards), sum(len(board.members) for board in boards), size_bytes)

    async def has(self, key: BoardKey, *, program: int | None = None) -> bool:
        board = self._tenants.get(key.tenant, {}).get(key)
        return board is not None and program in (None, board.program)

    async def page(
        self,
        key: BoardKey,
        *,
        limit: int,
        offset: int,
        cursor: str | None,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        """As the contract says. With a cursor, its offset and style are taken instead of the arguments."""
        board = self._board(key)
        if cursor is None:
            snapshot = await self._snapshot(board, now_us, seen)
        else:
            where = _cursors.decode(cursor, key)
            snapshot = self._snapshot_of(board, where, seen)
            offset, style = where.offset, where.style
        start = max(offset, 0)
        return self._page(key, board, snapshot, start, start + limit, style)

    async def around(
        self,
        key: BoardKey,
        subject: str,
        *,
        before: int,
        after: int,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        board = self._board(key)
        snapshot = await self._snapshot(board, now_us, seen)
        place = snapshot.place(board.members.slot(subject))
        if place is None:
            raise NotFound(f"{subject!r} is not on the board {board_name(key)!r}.", field="subject")
        start = max(place - max(before, 0), 0)
        return self._page(key, board, snapshot, start, place + max(after, 0) + 1, style)

    async def ranks(
        self, key: BoardKey, subjects: Sequence[str], *, style: Style, now_us: int, seen: Seen = ANY
    ) -> list[RankOf]:
        board = self._board(key)
        snapshot = await self._snapshot(board, now_us, seen)
        slots = [slot for subject in subjects if (slot := board.members.slot(subject)) is not None]
        return snapshot.ranks(slots, style=style, names=board.members.names)

    async def close(self) -> None:
        """Forget every board, and wait for the sorts that are under way."""
        for key in [key for boards in self._tenants.values() for key in boards]:
            self._forget(key)
        self._turns.clear()
        await asyncio.gather(*self._sorts, return_exceptions=True)

    async def _others(self, tenant: str, turn: Turn) -> None:
        """Let other tasks run; one of them may have begun a newer turn."""
        await asyncio.sleep(0)
        self._turns.check(tenant, turn)

    def _opened(self, change: Change) -> _Board:
        """The board of a change, made when it is new."""
        if change.new:
            self._forget(change.key)
            board = _Board(change.order, change.program, number=self._next_number())
            self._tenants.setdefault(change.key.tenant, {})[change.key] = board
            return board
        found = self._tenants.get(change.key.tenant, {}).get(change.key)
        if found is None or (found.order, found.program) != (change.order, change.program):
            raise lost(change.key.tenant)
        return found

    def _forget(self, key: BoardKey) -> None:
        boards = self._tenants.get(key.tenant, {})
        board = boards.pop(key, None)
        if board is not None:
            board.current = None
            self._kept.forget(board.number)
        if not boards:
            self._tenants.pop(key.tenant, None)

    def _board(self, key: BoardKey) -> _Board:
        boards = self._tenants.get(key.tenant, {})
        board = boards.get(key)
        if board is None:
            raise not_found(key, boards)
        return board

    def _page(self, key: BoardKey, board: _Board, snapshot: Snapshot, start: int, stop: int, style: Style) -> Page:
        """The rows from `start` up to but without `stop`, with a cursor to `stop` when there are more."""
        cursor = None
        if start < stop < snapshot.members:
            cursor = _cursors.encode(
                Cursor(instance=self._instance, epoch=snapshot.epoch, offset=stop, style=style), key
            )
            board.paged = max(board.paged, snapshot.epoch)
        return Page(
            standings=snapshot.standings(start, stop, style=style, names=board.members.names),
            members=snapshot.members,
            epoch=snapshot.epoch,
            as_of_us=snapshot.as_of_us,
            cursor=cursor,
        )

    def _snapshot_of(self, board: _Board, where: Cursor, seen: Seen) -> Snapshot:
        """The very snapshot that a cursor was handed out for."""
        snapshot = board.current
        if snapshot is None or snapshot.epoch != where.epoch:
            snapshot = self._kept.get(board.number, where.epoch)
        if snapshot is None or where.instance != self._instance:
            raise Gone("The snapshot of this cursor is no longer kept; start paging again.", field="cursor")
        if not _shows(board, snapshot, seen):
            raise Gone("The snapshot of this cursor is older than what `after` asks for.", field="cursor")
        return snapshot

    async def _snapshot(self, board: _Board, now_us: int, seen: Seen) -> Snapshot:
        """The snapshot to answer from: a new one where the policy on top of this module says so."""
        current = board.current
        if current is not None and not board.changed and board.sorting is None:
            return current
        # A clock that was set back makes the age negative; such a snapshot counts as old, as one that shows too little.
        age_us = now_us - current.as_of_us if current is not None and _shows(board, current, seen) else math.inf
        age_us = math.inf if age_us < 0 else age_us
        sorting = board.sorting
        if sorting is None:
            if len(board.members) <= self._small_members_max:
                return self._adopt(board, self._begin(board, now_us, seen)())
            if current is not None and age_us < self._refresh_interval_us:
                return current
            sorting = self._sort_in_thread(board, now_us, seen)
        elif current is not None and age_us < self._stale_us_max:
            return current
        await asyncio.shield(sorting)
        # Not the sort's own result: members may have left since, and their slots been given away with it.
        if board.current is not None and _shows(board, board.current, seen):
            return board.current
        return await self._snapshot(board, now_us, seen)

    def _begin(self, board: _Board, now_us: int, seen: Seen) -> partial[Snapshot]:
        """Copy the board as it is now; the call that is returned sorts the copy, here or in a thread."""
        board.begun = self._next_number()
        board.changed = False
        return partial(
            taken,
            board.members.copy(),
            board.order,
            names=board.members.names,
            epoch=board.begun,
            as_of_us=now_us,
            position=max(seen),
        )

    def _sort_in_thread(self, board: _Board, now_us: int, seen: Seen) -> asyncio.Future[Snapshot]:
        """Start the one sort of a board. It is adopted also when the read that waits for it is cancelled."""
        loop = asyncio.get_running_loop()
        sorting = board.sorting = loop.run_in_executor(None, self._begin(board, now_us, seen))
        self._sorts.add(sorting)
        sorting.add_done_callback(partial(self._sorted, board))
        return sorting

    def _sorted(self, board: _Board, sorting: asyncio.Future[Snapshot]) -> None:
        self._sorts.discard(sorting)
        board.sorting = None
        if sorting.cancelled() or sorting.exception() is not None:
            board.changed = True  # the next read tries again
        else:
            self._adopt(board, sorting.result())

    def _adopt(self, board: _Board, snapshot: Snapshot) -> Snapshot:
        """Make this the board's snapshot; the one before is kept when a cursor leads to it."""
        before, board.current = board.current, snapshot
        if before is not None and before.epoch == board.paged:
            self._kept.put(board.number, before)
        self._reclaim(board)
        return snapshot

    def _reclaim(self, board: _Board) -> None:
        """Give away the slots of departed members that no snapshot mentions any more.

        On a board where many come and go and nobody reads, the old snapshots would hold ever more slots; so
        when there are more departed than members, the snapshots are let go, and their cursors with them.
        """
        if board.sorting is not None:
            return
        if board.members.departed > max(len(board.members), DEPARTED_MIN) and board.current is not None:
            board.current = None
            self._kept.forget(board.number)
        kept = self._kept.oldest(board.number)
        current = math.inf if board.current is None else board.current.epoch
        board.members.reclaim(oldest_epoch=current if kept is None else min(kept, current))

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers


def _shows(board: _Board, snapshot: Snapshot, seen: Seen) -> bool:
    """Whether nothing up to the wanted place of the log is missing."""
    newest = snapshot is board.current and not board.changed and board.sorting is None
    return newest or snapshot.position >= seen.wanted


_cursors = Sealed(Cursor)
