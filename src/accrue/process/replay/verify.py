"""Is a book what its archive says?

1. the file is sound, as far as the database can tell;
2. the archive is whole: every segment, the chain, no position left out, and it ends at the checkpoint;
3. a fresh fold of it, by the ordinary worker, into a book of its own;
4. every table, every repeat index and the counts are the same in both;
5. every board is in the order that the tallies give.

A fault in 1 or 2 is told, and what can be checked is still checked; without a whole archive there is no 3 to 5.
"""

from __future__ import annotations

from functools import partial

import msgspec
from msgspec import Struct

from accrue.boards.base import Boards, Turn
from accrue.book.base import Checkpoint, Segment
from accrue.book.snapshot import Snapshot
from accrue.errors import Corrupt
from accrue.process import settle
from accrue.process.replay.archived import archive_of
from accrue.process.replay.boards import board_differences, boards_of
from accrue.process.replay.compare import Buckets, Comparison, buckets_of, index_differences, named
from accrue.process.replay.difference import Difference, Value
from accrue.process.replay.history import History, look_through
from accrue.process.replay.refold import give_lived_results, refolding
from accrue.process.replay.report import OnStep, Report
from accrue.process.replay.scratch import Workshop
from accrue.process.worker import Worker
from accrue.process.world import World

FRESH = "fresh"


async def verify(
    found: Snapshot, checkpoint: Checkpoint, shop: Workshop, *, on_step: OnStep, gapless: bool = True
) -> Report:
    """All five steps. `gapless`: the log hands out every position."""
    report = Report(position=checkpoint.position, log_time_us=checkpoint.log_time_us)
    # 1. and 2.
    await check_file(found, report)
    try:
        history = await check_archive(found, checkpoint, report, gapless=gapless, on_step=on_step)
    except Corrupt as error:
        report.faults.append(error.detail)
        return report
    if history.faults:
        return report
    # 3.
    fresh = await _fold_again(found, checkpoint, history, shop, on_step)
    # 4.
    await compare_checkpoints(found, checkpoint, fresh, report, shop)
    expected = await shop.scratch.snapshot(FRESH)
    try:
        await compare_tables(found, expected, report, on_step)
        # 5.
        await check_boards(shop.boards, found, expected, report, on_step)
    finally:
        await expected.close()
    return report


class Folded(Struct, frozen=True):
    """What a fold leaves besides its book: where it came to, and what its repeat indexes remember, by their names."""

    checkpoint: Checkpoint
    remembered: dict[str, Buckets]


def folded(worker: Worker) -> Folded:
    """Of a worker that has settled everything."""
    return Folded(worker.checkpoint, {index.name: buckets_of(index) for index in worker.world.indexes})


async def _fold_again(
    found: Snapshot, checkpoint: Checkpoint, history: History, shop: Workshop, on_step: OnStep
) -> Folded:
    """Step 3, into the book `FRESH`. The worker and all it holds is gone when this returns."""
    log, book = archive_of(found, checkpoint), await shop.scratch.fresh(FRESH)
    on_folded = partial(on_step, "fold", of=history.events)
    try:
        async with refolding(log, book, shop, instead=history.instead) as fold:
            await fold.reach(checkpoint.position, on_folded)
            await give_lived_results(
                fold, history.stages, shop, lambda end: archive_of(found, checkpoint, end=end), on_folded
            )
            return folded(fold.worker)
    finally:
        await log.close()
        await book.close()


async def compare_books(
    found: Snapshot, checkpoint: Checkpoint, expected: Snapshot, worker: Worker, shop: Workshop, *, on_step: OnStep
) -> Report:
    """Step 4 alone: the book of a worker that has settled everything up to the checkpoint is what is expected."""
    report = Report(position=checkpoint.position, log_time_us=checkpoint.log_time_us)
    await compare_checkpoints(found, checkpoint, folded(worker), report, shop)
    await compare_tables(found, expected, report, on_step)
    return report


async def check_file(found: Snapshot, report: Report) -> None:
    """Step 1."""
    try:
        report.faults += [f"The book's file is damaged: {fault}." for fault in await found.damage()]
    except Corrupt as error:
        report.faults.append(error.detail)


async def check_archive(
    found: Snapshot, checkpoint: Checkpoint, report: Report, *, gapless: bool, on_step: OnStep
) -> History:
    """Step 2. What the archive holds; the report has what is wrong with it. Raises `Corrupt` when the checkpoint cannot
    be read."""

    def on_segment(segment: Segment) -> None:
        on_step("archive", segment.last, checkpoint.position)

    history = History()
    try:
        await look_through(found.segments(0), history, gapless=gapless, on_segment=on_segment)
    except Corrupt as error:
        history.faults.append(error.detail)
    report.segments, report.events, report.archived = history.segments, history.events, history.last
    if not history.faults:
        archive = settle.read_facts(checkpoint).archive
        if history.last > checkpoint.position:
            history.faults.append(
                f"The archive goes on to position {history.last}, past the book's position {checkpoint.position}."
            )
        elif history.last < checkpoint.position:
            history.faults.append(
                f"The archive ends at position {history.last}, and the book at {checkpoint.position}: "
                "segments at its end are missing."
            )
        elif history.segments and archive != history.digest.hex():
            history.faults.append(
                f"The checkpoint says that the archive's chain ends with {archive[:16]}..., "
                f"and it ends with {history.digest.hex()[:16]}...."
            )
    report.faults += history.faults
    return history


async def compare_tables(found: Snapshot, expected: Snapshot, report: Report, on_step: OnStep) -> None:
    """Step 4, the tables."""
    shapes = await expected.shapes()
    for at, shape in enumerate(shapes, start=1):
        comparison = Comparison(shape, found, expected)
        try:
            async for pair in comparison.pairs():
                difference = named(shape, pair)
                if difference is not None:
                    report.add(difference)
        except Corrupt as error:
            report.faults.append(f"The table {shape.name} cannot be read to its end: {error.detail}")
        report.compared[shape.name] = comparison.rows
        on_step("tables", at, len(shapes))


async def compare_checkpoints(
    found: Snapshot, checkpoint: Checkpoint, fresh: Folded, report: Report, shop: Workshop
) -> None:
    """Step 4, the repeat indexes, and what the checkpoint counts."""
    held = World(shop.memory)
    indexes = {index.name: index for index in held.indexes}
    try:
        async for run in (await found.start(0)).repeats:
            if run.index in indexes:
                expires_us = indexes[run.index].load(run)
                if run.expires_us != expires_us:  # too early, and the book forgets ids that would count again
                    key: dict[str, Value] = {"index": run.index, "bucket": run.bucket, "run": run.run}
                    found_us: dict[str, Value] = {"expires_us": run.expires_us}
                    report.add(Difference("repeats", key, {"expires_us": expires_us}, found_us))
            else:
                report.faults.append(f"The book has runs of a repeat index {run.index!r}, and there is no such index.")
    except (Corrupt, msgspec.MsgspecError) as error:
        report.faults.append(f"The repeat indexes cannot be read: {error}")
        return
    held.advance(checkpoint.log_time_us)
    for index in held.indexes:
        for difference in index_differences(index.name, buckets_of(index), fresh.remembered[index.name]):
            report.add(difference)
    report.compared["repeats"] = sum(index.entries for index in held.indexes)
    for difference in _checkpoint_differences(checkpoint, fresh.checkpoint):
        report.add(difference)


async def check_boards(boards: Boards, found: Snapshot, expected: Snapshot, report: Report, on_step: OnStep) -> None:
    """Step 5."""
    there = boards_of(await expected.start(0))
    for at, where in enumerate(there, start=1):
        async for difference in board_differences(boards, found, expected, where, Turn(0, at, 0)):
            report.add(difference)
        report.boards = at
        on_step("boards", at, len(there))


def _checkpoint_differences(found: Checkpoint, fresh: Checkpoint) -> list[Difference]:
    """What a checkpoint says of the time, and what it counts."""
    differences = []
    if found.log_time_us != fresh.log_time_us:
        said: list[dict[str, Value] | None] = [{"log_time_us": at.log_time_us} for at in (fresh, found)]
        differences.append(Difference("checkpoint", {}, *said))
    mine, theirs = settle.read_facts(found).counts, settle.read_facts(fresh).counts
    for tenant in sorted(mine.keys() | theirs.keys()):
        if mine.get(tenant) != theirs.get(tenant):
            counted: list[dict[str, Value] | None] = [
                msgspec.structs.asdict(side[tenant]) if tenant in side else None for side in (theirs, mine)
            ]
            differences.append(Difference("counts", {"tenant": tenant}, *counted))
    return differences
