"""The processes of `accrue bench restart`: python -m accrue.cli.bench.restart_process fill|start JOB

    fill    takes events, settles none, says when all are acked, and waits to be killed
    start   starts as the server does, says when everything can be queried, then checks every total

Each ends when its standard input does, so neither outlives the bench.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.resources import as_file
from pathlib import Path

import msgspec
from msgspec import Struct

from accrue.backends import PARTITION
from accrue.book.sqlite import SqliteBook
from accrue.cli.bench import naive, workload
from accrue.cli.bench.drive import engine, engine_settings, pour, program_file, queryable, run
from accrue.cli.bench.restart import Checked, Filled, Job, Queryable
from accrue.clock import SystemClock
from accrue.collector import calm
from accrue.engine import Accrue

PROGRAM = "community"
BATCH = 1_000
NEVER_S = 86_400.0
PLENTY = 1 << 40
"""Rows and bytes that wait for a settlement before one is made for that reason."""


async def fill(job: Job) -> None:
    """Take every event, and wait for the end."""
    found = engine_settings(Path(job.data_dir), NEVER_S)
    process = msgspec.structs.replace(found.process, settle_dirty_rows=PLENTY, settle_archive_bytes=PLENTY)
    with as_file(program_file(PROGRAM)) as program:
        async with Accrue.open(msgspec.structs.replace(found, process=process), program=program) as accrue:
            with calm():
                _say(Filled(await pour(accrue, workload.bodies(_stream(job), batch=BATCH))))
                await asyncio.to_thread(sys.stdin.read)


async def start(job: Job) -> None:
    """Start on what is left, at the settings by default."""
    clock = SystemClock()
    settled_before = await _settled(Path(job.data_dir) / "book.db")
    began = clock.monotonic_s()
    with calm():
        async with engine(Path(job.data_dir), PROGRAM, settle_interval_s=60) as accrue:
            await queryable(accrue, await accrue.parts.log.end(PARTITION))
            seconds = clock.monotonic_s() - began
            _say(Queryable(seconds, accrue.parts.live.statuses()[0].settlements, settled_before))
            expected = naive.community_totals(_stream(job))
            _say(Checked(await naive.check(accrue, expected, events=job.events)))


def _stream(job: Job) -> workload.Stream:
    return workload.community(events=job.events, subjects=job.subjects, end_us=job.end_us)


async def _settled(path: Path) -> int:
    book = await SqliteBook.open(path)
    try:
        held = await book.checkpoint(PARTITION)
        return held.position if held else 0
    finally:
        await book.close()


def _say(what: Struct) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run({"fill": fill, "start": start}[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Job)))
