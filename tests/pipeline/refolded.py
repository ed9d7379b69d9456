"""Verifying and replaying the book of a `Partition` that has stopped, with real books beside it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from accrue.boards.memory import MemoryBoards
from accrue.book.base import Checkpoint
from accrue.book.snapshot import Snapshot
from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_scratch import SqliteScratch
from accrue.book.sqlite_snapshot import SqliteSnapshot
from accrue.book.sqlite_swap import clear_new, swap
from accrue.core.reader import read
from accrue.process.instead import Instead
from accrue.process.replay.rebuild import Order, Rebuilding, rebuild
from accrue.process.replay.refold import Refold
from accrue.process.replay.report import Report
from accrue.process.replay.scratch import Workshop
from accrue.process.replay.verify import compare_books, verify
from accrue.process.replay.whatif import Effect, effect, try_out
from pipeline.partition import TENANT, Partition


def untold(step: str, done: int, of: int) -> None:
    """Nobody is told how far it is."""


def order_for(text: str, id: str = "replay") -> Order:
    return Order(TENANT, id, text, Instead(read(text), "any"))


async def verified(where: Partition) -> Report:
    """What `accrue verify` says of the book."""
    async with _opened(where) as (snapshot, checkpoint, shop):
        return await verify(snapshot, checkpoint, shop, on_step=untold)


async def tried(where: Partition, text: str) -> Effect:
    """What another program would change."""
    async with _opened(where) as (snapshot, checkpoint, shop):
        programs = [row.text for row in (await snapshot.start(0)).programs if row.tenant == TENANT]
        return await try_out(snapshot, checkpoint, shop, order_for(text), read(programs[-1]), on_step=untold)


async def replayed(where: Partition, order: Order | None, *, swapped: bool = True) -> Report | Effect | None:
    """Rebuild the book, under an order or as it was, and put it in place. Returns what the comparison says."""
    found: list[Report | Effect] = []
    folder = where.file.parent
    async with _opened(where) as (snapshot, checkpoint, shop):
        new = await SqliteBook.open(clear_new(folder))

        async def compare(fold: Refold, comparable: bool) -> None:
            rebuilt = await SqliteSnapshot.open(folder / "book.new.db")
            try:
                if order is not None:
                    old = read([row.text for row in (await snapshot.start(0)).programs if row.tenant == TENANT][-1])
                    found.append(await effect(order, old, snapshot, rebuilt, position=checkpoint.position))
                elif comparable:
                    report = await compare_books(snapshot, checkpoint, rebuilt, fold.worker, shop, on_step=untold)
                    found.append(report)
            finally:
                await rebuilt.close()

        task = Rebuilding(found=snapshot, checkpoint=checkpoint, log=where.log, new=new, shop=shop)
        try:
            await rebuild(task, order, compare=compare, on_step=untold)
        finally:
            await new.close()
    if swapped:
        swap(folder, position=checkpoint.position, epoch=checkpoint.epoch)
    return found[0] if found else None


@asynccontextmanager
async def _opened(where: Partition) -> AsyncIterator[tuple[Snapshot, Checkpoint, Workshop]]:
    snapshot = await where.open_snapshot()
    try:
        checkpoint = await snapshot.checkpoint(0)
        assert checkpoint is not None
        with tempfile.TemporaryDirectory() as folder:
            shop = Workshop(
                scratch=SqliteScratch(Path(folder)),
                boards=MemoryBoards(instance="replay"),
                clock=where.clock,
                memory=where.memory,
                limits=where.limits,
            )
            yield snapshot, checkpoint, shop
    finally:
        await snapshot.close()
