"""From the settings to the parts: the only file that names every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from accrue import crashpoints, ids
from accrue.boards.base import Boards
from accrue.boards.memory import MemoryBoards
from accrue.book.base import Book, Checkpoint
from accrue.book.snapshot import Snapshot
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_scratch import SqliteScratch
from accrue.book.sqlite_snapshot import SqliteSnapshot
from accrue.book.sqlite_swap import NEW, clear_new, swap, take_alone
from accrue.clock import Clock
from accrue.config import Config, ProcessConfig
from accrue.connect.data_dir import locked
from accrue.errors import Unavailable, Unfinished
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import CommitLimits, GroupCommit
from accrue.log.base import Log
from accrue.log.memory import LOG_SIZE_BYTES_MAX, MemoryLog
from accrue.log.sqlite import SqliteLog
from accrue.log.sqlite_look import Ends, look
from accrue.process.closer import Closer
from accrue.process.kept import KeptState
from accrue.process.live import LiveState
from accrue.process.replay.scratch import Workshop
from accrue.process.worker import Limits, Worker
from accrue.process.world import Memory
from accrue.serve.query import Queries

PARTITION = 0
"""An embedded deployment has one partition; every tenant lives in it."""

SHUTDOWN_S_MAX = 10.0
"""How long the way out waits for the fold."""

HOUR_US = 3_600_000_000

Opening = Callable[[Config, AsyncExitStack], Awaitable[tuple[Log, Book, Boards]]]
"""Opens the backends; what has to be closed goes on the stack. Simulations open others (testing/deployment.py)."""


class Parts(Struct, frozen=True, kw_only=True):
    """A running deployment."""

    config: Config
    clock: Clock
    log: Log
    book: Book
    boards: Boards
    worker: Worker
    live: LiveState
    kept: KeptState
    acceptor: Acceptor
    queries: Queries
    commit: GroupCommit
    running: asyncio.Task[None]


async def open_backends(config: Config, stack: AsyncExitStack) -> tuple[Log, Book, Boards]:
    """Open the log, the book and the boards that the settings name; the stack closes them."""
    log = await _open_log(config)
    stack.push_async_callback(log.close)
    crashpoints.point("start 2: log open")
    book = await _open_book(config.data_dir, stack)
    crashpoints.point("start 3: book open")
    boards = MemoryBoards(instance=ids.identity())
    stack.push_async_callback(boards.close)
    return log, book, boards


@asynccontextmanager
async def running(config: Config, clock: Clock, *, opening: Opening = open_backends) -> AsyncIterator[Parts]:
    """Open everything, catch up with the log, and run until the block ends; then settle and close.

    1. lock the data directory; 2. open log, book, boards; 3. take the partition, start at the checkpoint;
    4. fold what the log has beyond it; 5. accept. On the way out: 6. accept nothing new; 7. settle; 8. close.
    """
    async with AsyncExitStack() as stack:
        # 1. and 2.
        if config.data_dir is not None:
            stack.enter_context(locked(config.data_dir))
            crashpoints.point("start 1: directory locked")
        log, book, boards = await opening(config, stack)
        # 3.
        settings = config.process
        worker = Worker(
            log,
            book,
            boards,
            clock,
            partition=PARTITION,
            memory=memory_of(settings),
            limits=limits_of(settings),
        )
        await worker.start(owner=ids.identity())
        work = asyncio.create_task(worker.run(), name="worker")
        stack.push_async_callback(_stopped, work)
        # 4.
        try:
            await _caught_up(worker, await log.end(PARTITION), work)
        except Unfinished:
            if config.data_dir is None:
                raise
            raise Unfinished(f"accrue replay --data-dir {quote(str(config.data_dir))}") from None
        crashpoints.point("start 5: caught up with the log")
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
        kept = KeptState(worker, book, log, partition=PARTITION)
        acceptor = Acceptor(commit, live, kept, clock, durability=log.durability)
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
            kept=kept,
            acceptor=acceptor,
            queries=Queries(live, boards, clock),
            commit=commit,
            running=running,
        )
        crashpoints.point("start 6: accepting")
        try:
            yield parts
        finally:
            # 6. and 7.
            await _stopped(running)
            await _stopped(closing)
            crashpoints.point("stop 1: nothing runs beside the worker")
            await commit.drain()
            crashpoints.point("stop 2: accepting has ended")
            if not work.done():
                await _leave(worker, await log.end(PARTITION), work)


def memory_of(settings: ProcessConfig) -> Memory:
    """How long and how much the repeat indexes remember."""
    return Memory(
        repeat_window_us=round(settings.repeat_window_h * HOUR_US),
        once_window_us=round(settings.once_window_h * HOUR_US),
        size_bytes_max=settings.repeat_size_bytes_max,
    )


def limits_of(settings: ProcessConfig) -> Limits:
    """When the worker does what."""
    return Limits(
        tick_s=settings.tick_ms / 1000,
        settle_interval_s=settings.settle_interval_s,
        settle_dirty_rows=settings.settle_dirty_rows,
        settle_archive_bytes=settings.settle_archive_bytes,
        entries_in_memory_max=settings.entries_in_memory_max,
    )


async def open_snapshot(data_dir: Path) -> Snapshot:
    """The book of a data directory as it is now, also beside a server that has it. Whoever opens it closes it."""
    return await SqliteSnapshot.open(data_dir / "book.db")


async def open_log(config: Config, data_dir: Path) -> Log:
    """The log of a data directory that nobody else has. Whoever opens it closes it."""
    return await _open_log(msgspec.structs.replace(config, data_dir=data_dir))


async def open_new_book(data_dir: Path) -> Book:
    """An empty book beside the live one, which nobody else may have open: raises `InUse`. Nothing in the new one is
    synced before `swap_books`."""
    take_alone(data_dir)
    return await SqliteBook.open(clear_new(data_dir), synchronous="OFF")


@contextmanager
def nothing_left_over(data_dir: Path) -> Iterator[None]:
    """Remove the new book when the block does not come to swapping it."""
    try:
        yield
    finally:
        clear_new(data_dir)


async def open_new_snapshot(data_dir: Path) -> Snapshot:
    """That book as it is now."""
    return await SqliteSnapshot.open(data_dir / NEW)


def swap_books(data_dir: Path, old: Checkpoint) -> Path:
    """Put the new book in the place of the live one, and return where that is now. Both must be closed."""
    return swap(data_dir, position=old.position, epoch=old.epoch)


async def log_ends(data_dir: Path) -> Ends:
    """Where the log of a data directory begins and ends now, also beside a server that has it."""
    return await look(data_dir / "log.db", PARTITION)


def workshop(config: Config, clock: Clock, folder: Path) -> Workshop:
    """What folding an archive from the start takes, with its books in this folder."""
    return Workshop(
        scratch=SqliteScratch(folder),
        boards=MemoryBoards(instance=ids.identity()),
        clock=clock,
        memory=memory_of(config.process),
        limits=limits_of(config.process),
    )


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


async def _leave(worker: Worker, end: int, work: asyncio.Task[None]) -> None:
    """Fold everything up to `end`, and settle. What is not folded in time stands in the log, for the next start."""
    try:
        async with asyncio.timeout(SHUTDOWN_S_MAX):
            await _caught_up(worker, end, work)
    except TimeoutError:
        # The fold may wait for the book in the middle of a record, and then a settlement would wait for the fold.
        await _stopped(work)
        with suppress(Unavailable):
            await worker.settle()
        return
    crashpoints.point("stop 3: everything folded")
    await worker.settle()
    crashpoints.point("stop 4: settled")


async def _stopped(task: asyncio.Task[None]) -> None:
    """End a task and wait for it. What it failed with was reported where it matters."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def _open_log(config: Config) -> Log:
    size_bytes_max = config.log.size_bytes_max
    if config.data_dir is None:
        return MemoryLog(identity=ids.identity(), size_bytes_max=min(size_bytes_max, LOG_SIZE_BYTES_MAX))
    log = SqliteLog(config.data_dir / "log.db", create_identity=ids.identity(), size_bytes_max=size_bytes_max)
    await log.open()
    return log


async def _open_book(data_dir: Path | None, stack: AsyncExitStack) -> Book:
    if data_dir is None:
        data_dir = Path(stack.enter_context(TemporaryDirectory(prefix="accrue-")))
    book = await SqliteBook.open(data_dir / "book.db")
    stack.callback(crashpoints.point, "stop 5: book closed")  # after what is pushed next
    stack.push_async_callback(book.close)
    return book
