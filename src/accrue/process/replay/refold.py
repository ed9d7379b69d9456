"""A worker that folds from the beginning, up to a position, into a book that begins empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import msgspec

from accrue.boards.base import BoardKey
from accrue.book.archive import Building
from accrue.book.base import Book, ResultRow, Settlement
from accrue.book.snapshot import Row, Shape, Snapshot
from accrue.core.rule import Board
from accrue.core.table import Table
from accrue.errors import Unavailable
from accrue.log.base import Log, Position
from accrue.process.instead import Instead
from accrue.process.publish import Publisher
from accrue.process.replay.archived import ArchivedLog, Unkept
from accrue.process.replay.compare import shown
from accrue.process.replay.history import Stage
from accrue.process.replay.scratch import Workshop
from accrue.process.worker import Worker

RESULTS = "board_results"
LOOK_S = 0.1
"""How often the progress is told."""

OnFolded = Callable[[int], None]
"""How many events have been folded."""


class Refold:
    """A fold that is under way. Made by `refolding`."""

    def __init__(self, worker: Worker, book: Book, running: asyncio.Task[None]) -> None:
        self.worker = worker
        self._book = book
        self._running = running

    @property
    def events(self) -> int:
        """How many were folded so far."""
        return sum(counts.events for counts in self.worker.world.counts.values())

    async def reach(self, position: Position, on_folded: OnFolded) -> None:
        """Return once everything up to the position is folded and settled. Raises what stopped the fold."""
        worker = self.worker
        while worker.position < position:
            if self._running.done():
                self._running.result()
            trouble = worker.status().failing
            if trouble is not None:
                raise Unavailable(f"The fold cannot go on: {trouble}")
            try:
                await worker.applied(position, timeout_s=LOOK_S)
            except Unavailable:  # not yet, or it has stopped: the next round finds out
                on_folded(self.events)
        await worker.settle()
        on_folded(self.events)

    async def give(self, results: list[ResultRow]) -> None:
        """Write final standings that another fold made. Everything must be settled."""
        at = self.worker.checkpoint
        await self._book.settle(Settlement(before=at, after=at, results=results))


@asynccontextmanager
async def refolding(
    log: Log,
    book: Book,
    shop: Workshop,
    *,
    instead: Mapping[str, Instead],
    new_segment: Callable[[int], Building] = Unkept,
) -> AsyncIterator[Refold]:
    """Fold the log's one partition into an empty book while the block runs.

    The tenants of `instead` live by those programs from before their first event.
    """
    worker = Worker(
        log,
        book,
        shop.boards,
        shop.clock,
        partition=0,
        memory=shop.memory,
        limits=shop.limits,
        new_segment=new_segment,
    )
    worker.publisher = Unpublished(worker.world, shop.boards, book)
    await worker.start(owner="replay")
    worker.world.instead.update(instead)
    for tenant, ordered in instead.items():
        worker.world.use(tenant, ordered.program).tzdata = ordered.tzdata
    running = asyncio.create_task(worker.run(), name="replay")
    try:
        yield Refold(worker, book, running)
    finally:
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # told by `reach`, to whoever waited


async def give_lived_results(
    into: Refold,
    stages: Iterable[Stage],
    shop: Workshop,
    open_log: Callable[[Position], ArchivedLog],
    on_folded: OnFolded,
) -> None:
    """The final standings that were given before a replay, each from the fold as it was lived then.

    `open_log` gives everything up to a position, from the beginning.
    """
    replayed = into.worker.world.instead
    for stage in stages:
        if not stage.closes or not stage.end:
            continue
        name = f"stage-{stage.since}"
        book = await shop.scratch.fresh(name)
        log = open_log(stage.end)
        try:
            async with refolding(log, book, shop, instead=stage.instead) as stage_fold:
                await stage_fold.reach(stage.end, on_folded)
        finally:
            await log.close()
            await book.close()
        snapshot = await shop.scratch.snapshot(name)
        try:
            async for results in _results_of(snapshot, stage, replayed):
                await into.give(results)
        finally:
            await snapshot.close()


async def _results_of(
    snapshot: Snapshot, stage: Stage, replayed: Mapping[str, Instead]
) -> AsyncIterator[list[ResultRow]]:
    """The standings of periods that were closed in a stage, of tenants that a replay concerned later."""
    given = {
        (row.tenant, row.period)
        for row in (await snapshot.start(0)).periods
        if stage.since < row.closed < stage.until and row.tenant in replayed
    }
    (shape,) = [shape for shape in await snapshot.shapes() if shape.name == RESULTS]
    async for rows in snapshot.rows(shape):
        results = [_result(shape, row) for row in rows]
        yield [result for result in results if (result.tenant, result.period) in given]


def _result(shape: Shape, row: Row) -> ResultRow:
    values = {name: shown(cell) for name, cell in zip(shape.columns, row, strict=True)}
    return msgspec.convert([values[name] for name in ResultRow._fields], ResultRow)


class Unpublished(Publisher):
    """Takes what changed for the next settlement, and shows it to nobody."""

    async def start(self, *, epoch: int, log: str, position: Position) -> None:
        pass

    async def publish(self, position: Position) -> None:
        self.take()
        self._waiting.clear()

    def _concerned(self, state: object, touched: Iterable[Table]) -> dict[BoardKey, Board]:
        return {}
