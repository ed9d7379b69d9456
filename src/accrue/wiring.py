"""From the settings to the parts: the only file that names every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from accrue import ids
from accrue.boards.base import Boards
from accrue.boards.memory import MemoryBoards
from accrue.book.base import Book
from accrue.book.sqlite import SqliteBook
from accrue.clock import Clock
from accrue.config import Config
from accrue.connect.data_dir import locked
from accrue.errors import Unavailable
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import CommitLimits, GroupCommit
from accrue.log.base import Log
from accrue.log.memory import MemoryLog
from accrue.log.sqlite import SqliteLog
from accrue.process.closer import Closer
from accrue.process.live import LiveState
from accrue.process.worker import Limits, Worker
from accrue.process.world import Memory
from accrue.serve.query import Queries

PARTITION = 0
"""An embedded deployment has one partition; every tenant lives in it."""

SHUTDOWN_S_MAX = 10.0
"""How long the way out waits for the fold."""

HOUR_US = 3_600_000_000


class Parts(Struct, frozen=True, kw_only=True):
    """A running deployment."""

    config: Config
    clock: Clock
    log: Log
    book: Book
    boards: Boards
    worker: Worker
    live: LiveState
    acceptor: Acceptor
    queries: Queries
    commit: GroupCommit
    running: asyncio.Task[None]


@asynccontextmanager
async def running(config: Config, clock: Clock) -> AsyncIterator[Parts]:
    """Open everything, catch up with the log, and run until the block ends; then settle and close.

    1. lock the data directory; 2. open log, book, boards; 3. take the partition, start at the checkpoint;
    4. fold what the log has beyond it; 5. accept. On the way out: 6. accept nothing new; 7. settle; 8. close.
    """
    async with AsyncExitStack() as stack:
        # 1. and 2.
        if config.data_dir is not None:
            stack.enter_context(locked(config.data_dir))
        log = await _open_log(config.data_dir)
        stack.push_async_callback(log.close)
        book = await _open_book(config.data_dir, stack)
        boards = MemoryBoards(instance=ids.identity())
        stack.push_async_callback(boards.close)
        # 3.
        settings = config.process
        worker = Worker(
            log,
            book,
            boards,
            clock,
            partition=PARTITION,
            memory=Memory(
                repeat_window_us=round(settings.repeat_window_h * HOUR_US),
                once_window_us=round(settings.once_window_h * HOUR_US),
                size_bytes_max=settings.repeat_size_bytes_max,
            ),
            limits=Limits(
                tick_s=settings.tick_ms / 1000,
                settle_interval_s=settings.settle_interval_s,
                settle_dirty_rows=settings.settle_dirty_rows,
                settle_archive_bytes=settings.settle_archive_bytes,
                entries_in_memory_max=settings.entries_in_memory_max,
            ),
        )
        await worker.start(owner=ids.identity())
        work = asyncio.create_task(worker.run(), name="worker")
        stack.push_async_callback(_stopped, work)
        # 4.
        await _caught_up(worker, await log.end(PARTITION), work)
        # 5.
        commit = GroupCommit(
            log,
            clock,
            partition=PARTITION,
            last_log_time_us=worker.world.log_time_us,
            limits=CommitLimits(
                queue_events_max=config.ingest.queue_events_max,
                queue_size_bytes_max=config.ingest.queue_size_bytes_max,
            ),
        )
        committing = asyncio.create_task(commit.run(), name="group commit")
        stack.push_async_callback(_stopped, committing)
        live = LiveState(worker, book)
        acceptor = Acceptor(commit, live, clock, durability=log.durability)
        closer = Closer(worker, acceptor, clock, grace_us=round(settings.close_grace_min * 60_000_000))
        closing = asyncio.create_task(closer.run(), name="closer")
        running = asyncio.create_task(_until_one_ends(work, committing, closing), name="watch")
        parts = Parts(
            config=config,
            clock=clock,
            log=log,
            book=book,
            boards=boards,
            worker=worker,
            live=live,
            acceptor=acceptor,
            queries=Queries(live, boards, clock),
            commit=commit,
            running=running,
        )
        try:
            yield parts
        finally:
            # 6. and 7.
            await _stopped(running)
            await _stopped(closing)
            await commit.drain()
            if not work.done():
                with suppress(TimeoutError):  # what is not folded by then stands in the log, for the next start
                    async with asyncio.timeout(SHUTDOWN_S_MAX):
                        await _caught_up(worker, await log.end(PARTITION), work)
                await worker.settle()


async def _until_one_ends(*tasks: asyncio.Task[None]) -> None:
    """None of them ends by itself: when one does, raise what it failed with."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    raise Unavailable("A part of the engine has stopped.")


async def _caught_up(worker: Worker, end: int, work: asyncio.Task[None]) -> None:
    """Wait until everything up to `end` is folded, however long that takes, or the worker stops."""
    while worker.position < end:
        if work.done():
            work.result()
            raise Unavailable("The worker has stopped.")
        try:
            await worker.applied(end, timeout_s=1.0)
        except Unavailable:
            continue


async def _stopped(task: asyncio.Task[None]) -> None:
    """End a task and wait for it. What it failed with was reported where it matters."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def _open_log(data_dir: Path | None) -> Log:
    if data_dir is None:
        return MemoryLog(identity=ids.identity())
    log = SqliteLog(data_dir / "log.db", create_identity=ids.identity())
    await log.open()
    return log


async def _open_book(data_dir: Path | None, stack: AsyncExitStack) -> Book:
    if data_dir is None:
        data_dir = Path(stack.enter_context(TemporaryDirectory(prefix="accrue-")))
    book = await SqliteBook.open(data_dir / "book.db")
    stack.push_async_callback(book.close)
    return book
