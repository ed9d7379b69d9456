"""The log is never trimmed before the archive has it, on disk, as another process sees it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings

from accrue.errors import Fenced, Unavailable
from accrue.log.base import Position
from accrue.log.memory import MemoryLog
from pipeline.partition import Partition, event, record
from pipeline.test_function_of_the_log import (
    HOUR_US,
    START_US,
    Log,
    every,
    partition,
    plans,
    some_examples,
    streams,
)


class WatchedLog(MemoryLog):
    """Looks into the book's file at every trim."""

    def __init__(self, book: Path) -> None:
        super().__init__(identity="log")
        self.trims: list[tuple[Position, Position]] = []
        self._book = book

    async def trim(self, partition: int, *, up_to: Position) -> None:
        with closing(sqlite3.connect(f"{self._book.as_uri()}?mode=ro", uri=True)) as book:
            (archived,) = book.execute("SELECT max(last_position) FROM archive_segments").fetchone()
        self.trims.append((up_to, archived or 0))
        await super().trim(partition, up_to=up_to)


async def lived(where: Partition, log: Log, plan: Sequence[str]) -> None:
    """Settle, fail to settle, crash and start again, as the plan says."""
    for at, each in enumerate(log.records):
        await where.feed([each])
        await where.caught_up()
        if plan[at] == "settle":
            await settled(where)
        elif plan[at] in ("restart", "crash"):
            await where.restart()
    where.book.faults.clear()
    await where.feed([record([event("posted", "last")], times_us=[START_US], log_time_us=START_US + 9_000 * HOUR_US)])
    await where.caught_up()
    await where.worker.settle()


async def settled(where: Partition) -> None:
    """Settle, or fail to; a worker that does not know what became of it starts again."""
    try:
        await where.worker.settle()
    except (Unavailable, Fenced):
        await where.restart()
        await where.caught_up()


@given(streams(), plans)
@settings(some_examples, max_examples=6)
async def test_only_what_is_archived_is_trimmed(stream: list[tuple[dict[str, object], int]], plan: list[str]) -> None:
    log = Log(stream, every(3), hours=1)
    async with partition(faults=["before", "", "after", ""]) as where:
        watched = where.log = WatchedLog(where.file)
        await where.restart()
        await lived(where, log, plan)
        assert watched.trims[-1] == (len(log.records) + 1, len(log.records) + 1)
        assert all(trimmed <= archived for trimmed, archived in watched.trims)
