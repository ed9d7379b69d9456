"""What is left in a data directory after a kill, held against what had been promised.

The directory is a copy, so that the next life goes on with the real one. All of it happens through the engine and its
book, as a user would start it again.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from accrue.book.archive import check_chain, unpack
from accrue.book.base import Segment
from accrue.config import DEFAULT_TENANT, Config, ProcessConfig
from accrue.core.record import decode
from accrue.engine import Accrue
from accrue.ingest.checked import EVENTS_PER_REQUEST_MAX
from accrue.process.digest import StateDigest, digest
from accrue.process.repeats import RepeatIndex
from crash.workload import EVENTS_MAX, Requests, faults
from pipeline.partition import TABLES, Partition

NEVER_MIN = 1e9


async def judge(data_dir: Path, requests: Requests, *, begun: set[int], acked: set[int]) -> list[str]:
    """Start the engine on what is left and say what is wrong, one sentence each.

    1. what counts is what was promised; 2. the archive is whole, and folding it from empty gives the same state;
    3. when everything is sent again, everything has counted once.
    """
    config = Config(data_dir=data_dir, process=ProcessConfig(settle_interval_s=3_600, close_grace_min=NEVER_MIN))
    async with Accrue.open(config) as engine:
        worker = engine.parts.worker
        await worker.settle()
        # 1.
        found = _compare(data_dir / "book.db", requests, begun, acked)
        # 2.
        segments = [segment async for segment in engine.parts.book.segments(0)]
        live = _digest(data_dir / "book.db", worker.world.indexes)
        found += await _replayed(data_dir.parent / "replayed", segments, live, position=worker.position)
        # 3.
        if DEFAULT_TENANT in engine.parts.live.tenants():
            for some in _batches(sorted(begun)):
                await engine.send(b"\n".join(requests.body(number) for number in some))
            await engine.parts.live.applied("default", await engine.parts.log.end(0), timeout_s=20)
            await worker.settle()
            again = _compare(data_dir / "book.db", requests, begun, begun)
            found += [f"after sending everything again: {fault}" for fault in again]
        elif acked:
            found.append("the tenant is gone")
    return found


def _batches(numbers: list[int]) -> Iterator[list[int]]:
    size = EVENTS_PER_REQUEST_MAX // EVENTS_MAX
    return (numbers[start : start + size] for start in range(0, len(numbers), size))


def _compare(book: Path, requests: Requests, begun: set[int], acked: set[int]) -> list[str]:
    values: dict[str, dict[str, int]] = defaultdict(dict)
    with closing(sqlite3.connect(book)) as connection:
        for metric, subject, value in connection.execute(
            "SELECT metric, subject, value FROM tallies WHERE period = 'all' AND metric NOT LIKE '%.%'"
        ):
            values[metric][subject] = value
        badges = dict.fromkeys(connection.execute("SELECT level, subject FROM awards WHERE revoked = 0"), 1)
    return faults(requests, values, badges, begun=sorted(begun), acked=acked)


async def _replayed(folder: Path, segments: list[Segment], live: StateDigest, *, position: int) -> list[str]:
    """Fold the archive into an empty book, and compare."""
    check_chain(segments)
    records = [record for segment in segments for record in unpack(segment)]
    positions = [0, *(place for place, _ in records), position + 1]
    gaps = [f"{left}..{right}" for left, right in pairwise(positions) if right != left + 1]
    if gaps:
        return [f"the archive has gaps: {gaps}"]
    decoded = [decode(record) for _, record in records]
    if any(later.log_time_us < earlier.log_time_us for earlier, later in pairwise(decoded)):
        return ["log time runs backwards"]
    counted = sum(record.events for record in decoded)
    if counted != sum(segment.events for segment in segments):
        return ["the archive says another number of events than it holds"]
    async with Partition(folder) as replay:
        await replay.feed([record for _, record in records])
        await replay.caught_up()
        await replay.settle()
        again = _digest(replay.file, replay.worker.world.indexes)
    return [f"a replay from empty differs: {difference}" for difference in live.differences(again)]


def _digest(book: Path, indexes: tuple[RepeatIndex, ...]) -> StateDigest:
    with closing(sqlite3.connect(book)) as connection:
        tables = {
            name: connection.execute(f"SELECT {columns} FROM {name}").fetchall()
            for name, (columns, _) in TABLES.items()
        }
    return digest(tables, indexes)
