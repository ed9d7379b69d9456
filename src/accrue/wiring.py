"""From the settings to the parts.

`running` is a deployment in one process, on a data directory; node.py is one process of several.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from shlex import quote
from typing import Any, Protocol

from msgspec import Struct

from accrue import crashpoints, ids
from accrue.backends import PARTITION, open_backends
from accrue.boards.base import Boards
from accrue.book.base import Book
from accrue.clock import Clock
from accrue.config import Config
from accrue.connect.data_dir import locked
from accrue.errors import Unavailable, Unfinished
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import CommitLimits, GroupCommit
from accrue.log.base import Log
from accrue.process.base import Kept, Live
from accrue.process.closer import Closer
from accrue.process.kept import KeptState
from accrue.process.live import LiveState
from accrue.process.settings import limits_of, memory_of
from accrue.process.worker import Worker
from accrue.serve.query import Queries

SHUTDOWN_S_MAX = 10.0
"""How long the way out waits for the fold."""

Opening = Callable[[Config, AsyncExitStack], Awaitable[tuple[Log, Book, Boards]]]
"""Opens the backends; what has to be closed goes on the stack. Simulations open others (testing/deployment.py)."""


class Accepting(Protocol):
    """The way into the log: the group commit of one partition, or of all (ingest/intake.py)."""

    @property
    def queue_events(self) -> int:
        """Events that wait for an append."""
        ...


class Parts(Struct, frozen=True, kw_only=True):
    """What the faces are made of. `settle` settles everything that this process works on; `running` ends only when a
    part of it failed."""

    config: Config
    clock: Clock
    log: Log
    book: Book
    boards: Boards
    live: Live
    kept: Kept
    acceptor: Acceptor
    queries: Queries
    commit: Accepting
    settle: Callable[[], Awaitable[None]]
    running: asyncio.Task[None]


class Alone(Parts, frozen=True, kw_only=True):
    """A deployment in one process, with its one worker."""

    worker: Worker
    live: LiveState


@asynccontextmanager
async def running(config: Config, clock: Clock, *, opening: Opening = open_backends) -> AsyncIterator[Alone]:
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
        stack.push_async_callback(stopped, work)
        # 4.
        try:
            await caught_up(worker, await log.end(PARTITION), work)
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
        stack.push_async_callback(stopped, committing)
        live = LiveState(worker, book)
        kept = KeptState(worker, book, log, partition=PARTITION)
        acceptor = Acceptor(commit, live, kept, clock, durability=lambda: log.durability)
        closer = Closer(worker, acceptor, clock, grace_us=round(settings.close_grace_min * 60_000_000))
        closing = asyncio.create_task(closer.run(), name="closer")
        running = asyncio.create_task(until_one_ends(work, committing, closing), name="watch")
        parts = Alone(
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
            settle=worker.settle,
            running=running,
        )
        crashpoints.point("start 6: accepting")
        try:
            yield parts
        finally:
            # 6. and 7.
            await stopped(running)
            await stopped(closing)
            crashpoints.point("stop 1: nothing runs beside the worker")
            await commit.drain()
            crashpoints.point("stop 2: accepting has ended")
            if not work.done():
                await _leave(worker, await log.end(PARTITION), work)


async def until_one_ends(*tasks: asyncio.Task[None]) -> None:
    """None of them ends by itself: when one does, raise what it failed with."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    raise Unavailable("A part of the engine has stopped.")


async def caught_up(worker: Worker, end: int, work: asyncio.Task[None]) -> None:
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
            await caught_up(worker, end, work)
    except TimeoutError:
        # The fold may wait for the book in the middle of a record, and then a settlement would wait for the fold.
        await stopped(work)
        with suppress(Unavailable):
            await worker.settle()
        return
    crashpoints.point("stop 3: everything folded")
    await worker.settle()
    crashpoints.point("stop 4: settled")


async def stopped(task: asyncio.Task[Any]) -> None:
    """End a task and wait for it. What it failed with was reported where it matters."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
