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
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from itertools import islice

from accrue.boards import cursor as cursors
from accrue.boards.base import ANY, BoardKey, Page, RankOf, Seen
from accrue.boards.cursor import Cursor
from accrue.boards.kept import KEPT_SIZE_BYTES_MAX, KEPT_SNAPSHOTS_MAX, Kept
from accrue.boards.members import Members
from accrue.boards.snapshot import Snapshot, taken
from accrue.core.ranking import Order, Row, Style
from accrue.errors import Gone, NotFound, Rejected

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
NEAREST_CANDIDATES_MAX = 1_000
"""How many names are compared to find the nearest to an unknown one."""


class _Board:
    """One board: its members, its newest snapshot, and the sort that is under way."""

    def __init__(self, order: Order, *, number: int) -> None:
        self.order = order
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
        self._tenants: dict[str, dict[BoardKey, _Board]] = {}
        self._sorts: set[asyncio.Future[Snapshot]] = set()
        self._numbers = 0  # the last number given to a board or a snapshot

    async def publish(self, key: BoardKey, order: Order, rows: Sequence[Row], *, removed: Sequence[str] = ()) -> None:
        """Set these rows, then drop the members in `removed`; a subject in both is dropped.

        Other tasks run between slices, so a read may see the first part of a very large publication.
        Raises `Rejected` when the board has another order: drop it first.
        """
        board = self._opened(key, order)
        for start in range(0, len(rows), ROWS_PER_SLICE):
            if start:
                await asyncio.sleep(0)
            board.members.put(rows[start : start + ROWS_PER_SLICE])
            board.changed = True
        for start in range(0, len(removed), ROWS_PER_SLICE):
            if rows or start:
                await asyncio.sleep(0)
            board.members.remove(removed[start : start + ROWS_PER_SLICE], epoch=board.begun)
            board.changed = True
            self._reclaim(board)

    async def has(self, key: BoardKey) -> bool:
        return key in self._tenants.get(key.tenant, {})

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
            where = cursors.decode(cursor, key)
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
            raise NotFound(f"{subject!r} is not on the board {_name(key)!r}.", field="subject")
        start = max(place - max(before, 0), 0)
        return self._page(key, board, snapshot, start, place + max(after, 0) + 1, style)

    async def ranks(
        self, key: BoardKey, subjects: Sequence[str], *, style: Style, now_us: int, seen: Seen = ANY
    ) -> list[RankOf]:
        board = self._board(key)
        snapshot = await self._snapshot(board, now_us, seen)
        slots = [slot for subject in subjects if (slot := board.members.slot(subject)) is not None]
        return snapshot.ranks(slots, style=style, names=board.members.names)

    async def drop(self, key: BoardKey) -> None:
        boards = self._tenants.get(key.tenant, {})
        board = boards.pop(key, None)
        if board is not None:
            board.current = None
            self._kept.forget(board.number)
        if not boards:
            self._tenants.pop(key.tenant, None)

    async def close(self) -> None:
        """Forget every board, and wait for the sorts that are under way."""
        for key in [key for boards in self._tenants.values() for key in boards]:
            await self.drop(key)
        await asyncio.gather(*self._sorts, return_exceptions=True)

    def _opened(self, key: BoardKey, order: Order) -> _Board:
        boards = self._tenants.setdefault(key.tenant, {})
        board = boards.get(key)
        if board is None:
            board = boards[key] = _Board(order, number=self._next_number())
        if board.order != order:
            raise Rejected(f"The board {_name(key)!r} has another order; drop it first.", field="order")
        return board

    def _board(self, key: BoardKey) -> _Board:
        boards = self._tenants.get(key.tenant, {})
        board = boards.get(key)
        if board is None:
            raise _not_found(key, boards)
        return board

    def _page(self, key: BoardKey, board: _Board, snapshot: Snapshot, start: int, stop: int, style: Style) -> Page:
        """The rows from `start` up to but without `stop`, with a cursor to `stop` when there are more."""
        cursor = None
        if start < stop < snapshot.members:
            cursor = cursors.encode(
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


def _name(key: BoardKey) -> str:
    return f"{key.board}/{key.period}"


def _not_found(key: BoardKey, boards: dict[BoardKey, _Board]) -> NotFound:
    """Names the nearest board of the same tenant: the same board in another period, before another board."""
    candidates = list(islice(boards, NEAREST_CANDIDATES_MAX))
    named = {other.board for other in candidates}
    board = key.board if key.board in named else _nearest(key.board, named)
    period = _nearest(key.period, {other.period for other in candidates if other.board == board}, cutoff=0.0)
    nearest = None if board is None or period is None else _name(BoardKey(key.tenant, board, period))
    field = "period" if key.board in named else "board"
    return NotFound(f"There is no board {_name(key)!r}.", field=field, nearest=nearest)


def _nearest(word: str, words: set[str], *, cutoff: float = 0.5) -> str | None:
    return next(iter(get_close_matches(word, sorted(words), n=1, cutoff=cutoff)), None)
