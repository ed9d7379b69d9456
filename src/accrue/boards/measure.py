"""What boards cost: memory a member, and the time of publishing, refreshing and reading, for `accrue bench board`.

Through the contract only, so that any backend can be measured (memory counts this process alone). The clock
comes in as a value; scores are spread by a fixed multiplication, so that two runs measure the same board.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct

from accrue.boards.base import BoardKey, Boards, Change, Turn
from accrue.core.ranking import Order, Row

KEY = BoardKey("bench", "bench", "all")
ORDER = Order((True,), "first")
ROWS_PER_PUBLICATION = 100_000
READS = 2_000
REFRESHES = 5
REFRESH_STEP_US = 60_000_000
"""Each refresh is asked for this much later than the one before, so that no backend thinks it too early."""


class Times(Struct, frozen=True):
    """The middle and the 99th percentile of many calls, in microseconds."""

    p50_us: float
    p99_us: float


class Figures(Struct, frozen=True, kw_only=True):
    """One measurement. `refresh_ms` is the middle time of a first read after a change, copy and sort included."""

    members: int
    bytes_per_member: float
    publish_new_us_per_row: float
    publish_known_us_per_row: float
    refresh_ms: float
    rank: Times
    top_10: Times


async def measure(make: Callable[[], Boards], *, members: int, seconds: Callable[[], float]) -> Figures:
    """Fill a board made by `make`, read it, and do it again for its memory. `seconds` is a monotonic clock."""
    boards = make()
    publication = await Publication.begin(boards)
    new_us = await _publish(publication, members, round_=1, seconds=seconds)
    known_us = await _publish(publication, members, round_=2, seconds=seconds)
    refreshes: list[float] = []
    for refresh in range(1, REFRESHES + 1):
        await publication.publish([_row(0, refresh)])
        began = seconds()
        await _top(boards, now_us=refresh * REFRESH_STEP_US)
        refreshes.append(1e3 * (seconds() - began))
    now_us = REFRESHES * REFRESH_STEP_US
    top = await _times(lambda _: _top(boards, now_us=now_us), seconds)
    rank = await _times(lambda read: _rank(boards, read * 7919 % members, now_us=now_us), seconds)
    await boards.close()
    return Figures(
        members=members,
        bytes_per_member=await _size_bytes(make, members, seconds) / members,
        publish_new_us_per_row=new_us / members,
        publish_known_us_per_row=known_us / members,
        refresh_ms=sorted(refreshes)[REFRESHES // 2],
        rank=rank,
        top_10=top,
    )


class Publication:
    """The one publisher of the board that is measured."""

    def __init__(self, boards: Boards, turn: Turn) -> None:
        self._boards = boards
        self._turn = turn
        self._position = 0

    @staticmethod
    async def begin(boards: Boards) -> Publication:
        """Take the board over."""
        begun = await boards.begin(KEY.tenant, Turn(1, 1, 0), log="bench")
        return Publication(boards, begun.turn)

    async def publish(self, rows: list[Row]) -> None:
        """Publish these; the first time the board is made."""
        self._position += 1
        change = Change(KEY, ORDER, 1, rows, new=self._position == 1)
        self._turn = await self._boards.publish(KEY.tenant, [change], turn=self._turn, position=self._position)


async def _publish(publication: Publication, members: int, *, round_: int, seconds: Callable[[], float]) -> float:
    """Publish every member once; the time inside `publish` in microseconds."""
    spent = 0.0
    for rows in _publications(members, round_):
        began = seconds()
        await publication.publish(rows)
        spent += seconds() - began
    return 1e6 * spent


def _publications(members: int, round_: int) -> Iterator[list[Row]]:
    for start in range(0, members, ROWS_PER_PUBLICATION):
        stop = min(start + ROWS_PER_PUBLICATION, members)
        yield [_row(number, round_) for number in range(start, stop)]


def _row(number: int, round_: int) -> Row:
    """A member's row; multiplying by a large prime spreads the scores over a hundred thousand values."""
    return Row(f"user:{number:06}", (number * 2_654_435_761 * round_ % 100_003,), number * 1_048_576 + round_)


async def _top(boards: Boards, *, now_us: int) -> None:
    await boards.page(KEY, limit=10, offset=0, cursor=None, style="competition", now_us=now_us)


async def _rank(boards: Boards, number: int, *, now_us: int) -> None:
    await boards.ranks(KEY, [f"user:{number:06}"], style="competition", now_us=now_us)


async def _times(call: Callable[[int], Awaitable[None]], seconds: Callable[[], float]) -> Times:
    spent: list[float] = []
    for read in range(READS):
        began = seconds()
        await call(read)
        spent.append(1e6 * (seconds() - began))
    spent.sort()
    return Times(spent[READS // 2], spent[READS * 99 // 100])


async def _size_bytes(make: Callable[[], Boards], members: int, seconds: Callable[[], float]) -> int:
    """What one board with one snapshot holds: index, subjects, numbers, snapshot."""
    tracemalloc.start()
    try:
        boards = make()
        await _publish(await Publication.begin(boards), members, round_=1, seconds=seconds)
        await _top(boards, now_us=REFRESH_STEP_US)
        size_bytes, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await boards.close()
    return size_bytes
