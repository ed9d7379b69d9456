r"""One process of a deployment that has several: a gateway, a worker, or both.

    gateway --> log (shared) --> the worker that owns the partition --> boards (shared), book (shared)
       \--------------------- reads: boards; the worker; the book, stale ---------------/

Every process accepts events for every partition and answers every read. Which of them works on a partition is decided
in the book (process/owner.py); what it folds, and how, is the same as in a deployment of one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from msgspec import Struct

from accrue import ids
from accrue.backends import SharedBook, open_node_backends
from accrue.boards.base import BoardKey, Boards, ReadBoards
from accrue.boards.memory import MemoryBoards
from accrue.book.base import Book
from accrue.clock import Clock
from accrue.config import Config
from accrue.core.placement import partition_of
from accrue.core.rule import Board
from accrue.errors import Elsewhere, Misconfigured, Unavailable
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import Appending, CommitLimits, GroupCommit
from accrue.ingest.intake import Intake
from accrue.ingest.spool import Spool, SpoolLimits
from accrue.ingest.spooled_log import SpooledLog, SpoolTimes, age_us_max
from accrue.log.base import Log, Position
from accrue.log.late import LateLog
from accrue.process.afar import AfarLive, Ask, KeptAfar, Programs, nobody
from accrue.process.base import Kept, Live, Status
from accrue.process.book_boards import BookBoards
from accrue.process.directory import Directory
from accrue.process.owner import Owner
from accrue.process.routed import Here, RoutedKept, RoutedLive
from accrue.process.settings import memory_of
from accrue.process.state import TenantState
from accrue.serve.guarded import GuardedBoards
from accrue.serve.query import Queries
from accrue.site import Site
from accrue.wiring import Parts, stopped, until_one_ends

Opening = Callable[[Config, AsyncExitStack], Awaitable[tuple[Log, SharedBook, Boards]]]
"""Opens what the processes share; see `wiring.Opening`."""

BOARDS_RETRY_S = 3.0
"""While the shared boards do not answer, one read in this time waits to find out; the book answers the others."""

EVENTS_SHARE = 0.75
"""Of a record, for the JSON of its events: the rest is for their times and stamps."""

LEAVE_S_MAX = 30.0
"""How long the way out waits for the last settlements; what is not settled stands in the log."""

logger = structlog.get_logger("accrue.node")


class Fallback(Struct, frozen=True):
    """What answers from the book alone."""

    live: Live
    kept: Kept
    queries: Queries


class Node(Parts, frozen=True, kw_only=True):
    """The parts of a process among several."""

    live: RoutedLive
    directory: Directory
    fallback: Fallback
    spool: SpooledLog | None
    statuses: Callable[[], dict[int, Status]]
    """Of what this process works on, and of what it catches up with."""
    troubles: Callable[[], dict[int, str]]
    """Why it does not work on what it tried to work on."""


@asynccontextmanager
async def running(
    config: Config,
    clock: Clock,
    *,
    works: bool = True,
    address: str = "",
    opening: Opening = open_node_backends,
) -> AsyncIterator[Node]:
    """Open everything and run until the block ends; then settle, give the partitions up, and close.

    1. open log, book, boards, and see that they are one deployment; 2. know the programs; 3. accept; 4. work, if this
    process does. On the way out: 5. accept nothing new; 6. settle and give up the partitions; 7. close.
    """
    async with AsyncExitStack() as stack:
        # 1.
        log, book, boards = await opening(config, stack)
        await book.found(partitions=config.partitions, log_identity=log.identity, created_us=clock.now_us())
        # 2.
        programs = Programs(book, clock)
        await programs.refresh()
        directory = Directory(book, clock)
        await directory.refresh()
        here: dict[int, Here] = {}
        shown: ReadBoards = boards
        if boards.abilities.shared:
            shown = GuardedBoards(boards, clock, retry_s=BOARDS_RETRY_S)
        ask = await _asking(config, directory, clock, stack)
        live = RoutedLive(here, _afar(programs, book, shown, clock, ask), partitions=config.partitions)
        kept = RoutedKept(here, KeptAfar(book), partitions=config.partitions)
        # 3.
        spooled = await _spooled(config, log, clock, stack)
        late = log if isinstance(log, LateLog) else None
        if late is not None and (works or spooled is None):
            raise Unavailable(late.reason)
        intake = await _intake(config, spooled or log, book, clock, log.record_size_bytes_max)
        acceptor = Acceptor(intake, live, kept, clock, durability=lambda: log.durability)
        # 4.
        site = Site(config, log, book, boards, clock, acceptor, programs, here, address)
        owner = Owner(
            book,
            clock,
            site.work,
            name=site.name,
            partitions=config.partitions,
            lease_s=config.node.lease_s,
            partitions_max=config.node.partitions_max,
        )
        tasks = [
            _start(stack, part, name)
            for part, name in (
                (intake.run, "group commits"),
                *([(spooled.run, "spool")] if spooled is not None else []),
                *([(late.run, "late log")] if late is not None else []),
                (programs.run, "programs"),
                (directory.run, "directory"),
                *([(owner.run, "owner")] if works else []),
            )
        ]
        watch = asyncio.create_task(until_one_ends(*tasks), name="watch")
        node = Node(
            config=config,
            clock=clock,
            log=log,
            book=book,
            boards=boards,
            live=live,
            kept=kept,
            acceptor=acceptor,
            queries=Queries(live, shown, clock),
            commit=intake,
            settle=site.settle,
            running=watch,
            directory=directory,
            fallback=_fallback(config, programs, book, clock),
            spool=spooled,
            statuses=site.statuses,
            troubles=owner.troubles,
        )
        try:
            yield node
        finally:
            # 5. and 6.
            await stopped(watch)
            await intake.drain()
            try:
                async with asyncio.timeout(LEAVE_S_MAX):
                    await owner.leave()
            except TimeoutError:
                logger.warning("could not settle in time; the next worker folds the log again")


def _start(stack: AsyncExitStack, part: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(part(), name=name)
    stack.push_async_callback(stopped, task)
    return task


async def _spooled(config: Config, log: Log, clock: Clock, stack: AsyncExitStack) -> SpooledLog | None:
    """The way to the log round by a spool, when there is a place for one."""
    if not config.spool.enabled or config.data_dir is None:
        return None
    config.data_dir.mkdir(parents=True, exist_ok=True)
    limits = SpoolLimits(size_bytes_max=config.spool.size_bytes_max, records_max=config.spool.records_max)
    spool = await Spool.open(config.data_dir / "spool.db", log_identity=log.identity, limits=limits)
    stack.push_async_callback(spool.close)
    oldest_us = age_us_max(memory_of(config.process).repeat_window_us)
    times = SpoolTimes(age_us_max=oldest_us, log_wait_s_max=config.spool.log_wait_s_max)
    return SpooledLog(log, spool, clock, times=times)


async def _intake(config: Config, log: Appending, book: Book, clock: Clock, record_size_bytes_max: int) -> Intake:
    limits = CommitLimits(
        record_size_bytes_max=round(record_size_bytes_max * EVENTS_SHARE),
        queue_events_max=config.ingest.queue_events_max,
        queue_size_bytes_max=config.ingest.queue_size_bytes_max,
    )
    commits = []
    for partition in range(config.partitions):
        held = await book.checkpoint(partition)
        last_us = held.log_time_us if held is not None else 0
        commits.append(GroupCommit(log, clock, partition=partition, last_log_time_us=last_us, limits=limits))
    return Intake(commits)


async def _asking(config: Config, directory: Directory, clock: Clock, stack: AsyncExitStack) -> Ask:
    """Asks the workers elsewhere what became of a record."""
    try:
        from accrue.web.asking import Asking  # its HTTP client is an extra, which the library can do without
    except Misconfigured:
        return nobody
    asking = await stack.enter_async_context(Asking(directory, clock))

    async def ask(tenant: str, position: Position) -> bytes | None:
        return await asking.outcomes(partition_of(tenant, config.partitions), position)

    return ask


def _afar(programs: Programs, book: Book, boards: ReadBoards, clock: Clock, ask: Ask) -> AfarLive:
    async def ensure(state: TenantState, board: Board, period: str) -> None:
        if not await boards.has(BoardKey(state.tenant, board.name, period)):
            # Either nobody has a tally there, or the boards were wiped. The worker, asked next, knows.
            raise Elsewhere(f"The board {board.name}/{period} is not there just now.")

    return AfarLive(programs, book, boards, clock, ensure=ensure, ask=ask)


def _fallback(config: Config, programs: Programs, book: Book, clock: Clock) -> Fallback:
    """Reads of the book alone, with boards made from it."""
    boards = MemoryBoards(instance=ids.identity())
    live = AfarLive(programs, book, boards, clock, ensure=BookBoards(book, boards, clock).ensure)

    async def settled_us(tenant: str) -> int:
        held = await book.checkpoint(partition_of(tenant, config.partitions))
        return held.log_time_us if held is not None else 0

    return Fallback(live, KeptAfar(book), Queries(live, boards, clock, settled_us=settled_us))
