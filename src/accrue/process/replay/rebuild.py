"""A new book from the archive and the log behind it, under the programs as they came or under another one.

1. fold the archive, into the new book, which takes the archive's segments over as they are;
2. compare: with the book there is, or (under another program) who gains and who loses what;
3. fold on, through what the log has and the book had not settled yet;
4. under another program: append the record that says so, and fold it.

Final standings that were given before a replay are taken from the fold as it was lived, before 2 and after 3.

From that append on the replay is decided. Until the new book has taken the old one's place, a start meets that record,
refuses, and says that the replay is to be finished; rebuilding once more, without a program, does that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from msgspec import Struct

from accrue.book.base import Book, Checkpoint
from accrue.book.snapshot import Snapshot
from accrue.core.event import PROGRAM
from accrue.core.program import SEMANTICS
from accrue.core.record import FORMAT, Batch, Record, encode, sequence
from accrue.errors import Corrupt
from accrue.log.base import Log, Position
from accrue.process.instead import NOT_YET, Instead
from accrue.process.replay.archived import ArchivedLog, Kept
from accrue.process.replay.history import History, Stage, look_ahead
from accrue.process.replay.refold import Refold, give_lived_results, refolding
from accrue.process.replay.report import OnStep, Report
from accrue.process.replay.scratch import Workshop
from accrue.process.replay.verify import check_archive
from accrue.process.system import ProgramData


class Order(Struct, frozen=True):
    """Fold a tenant's whole history by this program. `id` is that of the record, which comes in as a value."""

    tenant: str
    id: str
    text: str
    instead: Instead


class Rebuilding(Struct, frozen=True, kw_only=True):
    """What is rebuilt, and from what. `new` is empty and nobody else's; `log` is only read, but for the order."""

    found: Snapshot
    checkpoint: Checkpoint
    log: Log
    new: Book
    shop: Workshop


Compare = Callable[[Refold, bool], Awaitable[None]]
"""Called once the new book has come as far as the old one and is settled; with whether that makes the two comparable,
which it does not when a replay that was begun earlier is being finished."""


async def rebuild(task: Rebuilding, order: Order | None, *, compare: Compare, on_step: OnStep) -> Position:
    """All the steps. Returns the position that the new book has come to.

    Raises `Corrupt` when the archive or the log is not whole. Nothing is changed but the new book, and the log by 4.
    """
    checkpoint, shop = task.checkpoint, task.shop
    history = await whole_archive(task.found, checkpoint, on_step=on_step)
    settled_stages = list(history.stages)
    end = await task.log.end(0)
    if end > checkpoint.position:
        await look_ahead(task.log, history, after=checkpoint.position, end=end)
    comparable = len(history.stages) == len(settled_stages)
    if order is not None:
        add_stage(history, order, end=end)
    archive = partial(_log_of, task)
    log = archive(checkpoint.position)
    new_segment = Kept(log, end=checkpoint.position).new_segment
    folded = partial(on_step, "fold", of=history.events)
    try:
        async with refolding(log, task.new, shop, instead=history.instead, new_segment=new_segment) as fold:
            # 1. and 2.
            await fold.reach(checkpoint.position, folded)
            await give_lived_results(fold, settled_stages, shop, archive, folded)
            await compare(fold, comparable)
            # 3.
            log.go_on(end)
            await fold.reach(end, folded)
            await give_lived_results(fold, history.stages[len(settled_stages) :], shop, archive, folded)
            # 4.
            if order is not None:
                end = await _decide(order, task, fold)
                log.go_on(end)
                await fold.reach(end, folded)
    finally:
        await log.close()
    return end


async def whole_archive(found: Snapshot, checkpoint: Checkpoint, *, on_step: OnStep) -> History:
    """What the archive holds. Raises `Corrupt` when it is not whole."""
    history = await check_archive(found, checkpoint, Report(), gapless=True, on_step=on_step)
    if history.faults:
        raise Corrupt("\n".join(["The archive is not whole, so nothing can be folded from it.", *history.faults]))
    return history


def add_stage(history: History, order: Order, *, end: Position) -> None:
    """What was known up to here ends here: from the beginning on the order is obeyed."""
    history.stages.append(
        Stage(since=history.since, until=NOT_YET, end=end, instead=dict(history.instead), closes=history.closes)
    )
    history.instead[order.tenant] = order.instead


async def _decide(order: Order, task: Rebuilding, fold: Refold) -> Position:
    """Append the record, and let the fold know where it stands."""
    world = fold.worker.world
    now_us = task.shop.clock.now_us()
    data = ProgramData(order.text, order.instead.tzdata, SEMANTICS, "replay")
    body = msgspec.json.encode({"id": order.id, "type": PROGRAM, "data": data})
    record = Record(FORMAT, max(world.log_time_us, now_us), [Batch(order.tenant, body, [now_us], {})])
    position = await task.log.append(0, encode(record))
    world.instead[order.tenant] = msgspec.structs.replace(order.instead, sequence=sequence(position, 0))
    return position


def _log_of(task: Rebuilding, end: Position) -> ArchivedLog:
    """The archive and the log behind it, up to a position."""
    return ArchivedLog(
        task.found.segments(0),
        identity=task.checkpoint.log_identity,
        archived=task.checkpoint.position,
        end=end,
        tail=task.log,
    )
