"""One partition driven by hand: a log in memory, a book in a file, and workers that come and go.

    partition = Partition(tmp_path)
    await partition.feed([record, ...])            # appends
    await partition.caught_up()                    # a worker folds them; restart() puts another in its place

Tests choose where settlements, restarts and failures fall; that is the only thing this is for.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from accrue.boards.memory import MemoryBoards
from accrue.book.base import Book, Settlement, Written
from accrue.book.snapshot import Snapshot
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_snapshot import SqliteSnapshot
from accrue.clock import ManualClock
from accrue.core.event import PROGRAM
from accrue.core.record import FORMAT, Batch, Record, encode
from accrue.errors import Unavailable
from accrue.log.memory import MemoryLog
from accrue.process.digest import StateDigest, digest
from accrue.process.live import LiveState
from accrue.process.worker import Limits, Worker
from accrue.process.world import Memory

TENANT = "t"
NEVER_S = 3_600.0
TABLES = {
    "tallies": ("tenant, metric, period, subject, value, reached", (5,)),
    "awards": ("tenant, badge, level, subject, holder, time_us, sequence, revoked", (6,)),
    "streaks": ("tenant, streak, subject, current, longest, last, runs", ()),
    "attributes": ("tenant, kind, attribute, subject, value", ()),
    "applied_events": ("tenant, event_id, state, until_us, effects", ()),
    "programs": ("tenant, version, sequence, text, time_us, source", (2,)),
    "periods": ("tenant, period, first_seen_us, closed", (3,)),
    "board_results": ("tenant, board, period, place, rank, dense, subject, scores", ()),
    "late_tallies": ("tenant, period, metric, subject, reached", (4,)),
    "failed_events": ("tenant, sequence, event_id, reason, body, type, time_us, stamp", (1,)),
    "conflicts": ("tenant, sequence, event_id, body", (1,)),
}
"""Columns of each table of the book, and which of them hold sequence numbers."""


class FaultyBook:
    """A book whose settlements fail as a script says: `before` it wrote anything, `after` it committed, or not."""

    def __init__(self, book: Book, faults: Sequence[str] = ()) -> None:
        self._book = book
        self.faults = list(faults)
        self.while_settling: Callable[[], Any] | None = None

    async def settle(self, settlement: Settlement) -> Written:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise Unavailable("the book is away")
        if self.while_settling is not None:
            await self.while_settling()
        written = await self._book.settle(settlement)
        if fault == "after":
            raise Unavailable("nobody knows what became of it")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)


class Partition:
    """Use it with `async with`. `worker` and `live` are those of now."""

    def __init__(
        self,
        folder: Path,
        *,
        faults: Sequence[str] = (),
        memory: Memory | None = None,
        open_boards: Callable[[], Awaitable[Any]] | None = None,
        **limits: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "book.db"
        self.log = MemoryLog(identity="log")
        self.clock = ManualClock()
        self.memory = memory or Memory()
        self.limits = Limits(**{"tick_s": 0.0005, "settle_interval_s": NEVER_S, **limits})
        self.faults = list(faults)
        self._open_boards = open_boards

    async def __aenter__(self) -> Partition:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def begin(self) -> None:
        """A new worker at the book's checkpoint, with boards of its own unless it is said how they are opened."""
        self.book = FaultyBook(await self.open_book(), self.faults)
        self.boards = await self._open_boards() if self._open_boards else MemoryBoards(instance="here")
        self.worker = Worker(
            self.log, self.book, self.boards, self.clock, partition=0, memory=self.memory, limits=self.limits
        )  # fmt: skip
        self.live = LiveState(self.worker, self.book)
        await self.worker.start(owner="somebody")
        self.running = asyncio.create_task(self.worker.run())

    async def open_book(self) -> Book:
        return await SqliteBook.open(self.file)

    async def open_snapshot(self) -> Snapshot:
        """The book as it is now. Whoever opens it closes it."""
        return await SqliteSnapshot.open(self.file)

    async def stop(self) -> None:
        """Stop as a crash does: what is not settled is not in the book."""
        self.running.cancel()
        await asyncio.wait([self.running])
        if not self.running.cancelled():
            self.running.exception()
        self.faults = self.book.faults
        await self.book.close()
        await self.boards.close()

    @contextmanager
    def by_hand(self) -> Iterator[sqlite3.Connection]:
        """The book's file, for a change that no settlement makes. Only while it is stopped."""
        with closing(sqlite3.connect(self.file)) as connection, connection:
            yield connection

    async def restart(self) -> None:
        await self.stop()
        await self.begin()

    async def feed(self, records: Sequence[bytes]) -> None:
        for record in records:
            await self.log.append(0, record)

    async def caught_up(self) -> None:
        """Everything in the log is folded and on the boards."""
        await self.worker.applied(await self.log.end(0), timeout_s=20)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let everything else go on, turn by turn of the event loop, until something holds."""
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - what is waited for is inside the worker, which tells nobody
                await asyncio.sleep(0)

    async def held_back(self) -> None:
        """The fold waits until a settlement has made room."""
        room = self.worker._room
        await self.until(lambda: bool(room._waiters) and not room.is_set())

    async def settle(self) -> None:
        """Settle until it succeeds."""
        while True:
            try:
                return await self.worker.settle()
            except Unavailable:
                continue

    def rows(self, table: str, *, event_number: Callable[[int], int] | None = None) -> list[tuple[Any, ...]]:
        """What the book has in a table, sequence numbers told as the number of the event when that is asked for."""
        columns, sequences = TABLES[table]
        with sqlite3.connect(self.file) as connection:
            rows = connection.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}").fetchall()
        connection.close()
        if event_number is None:
            return rows
        return [tuple(event_number(cell) if at in sequences else cell for at, cell in enumerate(row)) for row in rows]

    def digest(self, *, event_number: Callable[[int], int] | None = None) -> StateDigest:
        """Of what is settled."""
        tables = {name: self.rows(name, event_number=event_number) for name in TABLES}
        return digest(tables, self.worker.world.indexes)

    def tally(self, metric: str, subject: str, period: str = "all") -> int | None:
        """One settled value."""
        for _, name, part, who, value, _ in self.rows("tallies"):
            if (name, part, who) == (metric, period, subject):
                return value
        return None


def event(type: str, id: str, **fields: Any) -> dict[str, Any]:
    """An event as it is sent, without what is None."""
    return {"type": type, "id": id, **{name: value for name, value in fields.items() if value is not None}}


def program(text: str, id: str = "program") -> dict[str, Any]:
    """The engine's own event that brings a program."""
    return {"type": PROGRAM, "id": id, "data": {"text": text, "tzdata": "any", "semantics": 1}}


def record(
    events: Sequence[dict[str, Any]], *, times_us: Sequence[int], log_time_us: int, tenant: str = TENANT
) -> bytes:
    """One record of the log with one batch."""
    body = b"\n".join(msgspec.json.encode(each) for each in events)
    return encode(Record(FORMAT, log_time_us, [Batch(tenant, body, list(times_us), {})]))
