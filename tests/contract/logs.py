"""The logs under test, one a row, and what more than one suite does with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from accrue.errors import Full
from accrue.log.base import Log
from accrue.log.kafka import KafkaLog
from accrue.log.memory import MemoryLog
from accrue.log.postgres import PostgresLog
from accrue.log.rabbitmq import RabbitmqLog
from accrue.log.sqlite import SqliteLog

PARTITIONS = 4
ROOM = 1 << 20
WAIT_S_MAX = 10
"""Only so that a reader that is never woken fails its test instead of hanging it."""

IDENTITY = "first"


class Backend(NamedTuple):
    """`open(place, identity, size_bytes_max)` opens the log of a place; `place` is the fixture that gives one.

    What not every log can do: `outlives` (the process: it can be opened again), `shared` (by several processes at a
    time), `trims` (at once, and not only in the end), `dense` (no gaps: n records have the positions 1 to n),
    `fills` (a read returns all that fit, and not only those that have arrived), `bounded` (by `size_bytes_max`),
    `framed` (its server takes messages of a certain size only) and `copied` (its place is a folder that can be copied).
    """

    name: str
    open: Callable[[str, str, int | None], Awaitable[Log]]
    place: str
    durability: str
    outlives: bool = True
    shared: bool = False
    trims: bool = True
    dense: bool = True
    fills: bool = True
    bounded: bool = False
    framed: bool = False
    copied: bool = False


async def open_memory(place: str, identity: str, size_bytes_max: int | None) -> Log:
    return MemoryLog(identity=identity, size_bytes_max=size_bytes_max or 1 << 30)


async def open_sqlite(place: str, identity: str, size_bytes_max: int | None) -> Log:
    log = SqliteLog(Path(place) / "log.db", create_identity=identity, size_bytes_max=size_bytes_max)
    await log.open()
    return log


async def open_sqlite_without_tail(place: str, identity: str, size_bytes_max: int | None) -> Log:
    """Every read is a read of the file."""
    path = Path(place) / "log.db"
    log = SqliteLog(path, create_identity=identity, size_bytes_max=size_bytes_max, tail_size_bytes_max=0)
    await log.open()
    return log


async def open_postgres(place: str, identity: str, size_bytes_max: int | None) -> Log:
    return await PostgresLog.open(place, partitions=PARTITIONS, create_identity=identity)


async def open_rabbitmq(place: str, identity: str, size_bytes_max: int | None) -> Log:
    return await RabbitmqLog.open(place, partitions=PARTITIONS, create_identity=identity)


async def open_kafka(place: str, identity: str, size_bytes_max: int | None) -> Log:
    return await KafkaLog.open(place, partitions=PARTITIONS, create_identity=identity)


BACKENDS = [
    Backend("memory", open_memory, "tmp_path", "memory", outlives=False, bounded=True),
    Backend("sqlite", open_sqlite, "tmp_path", "disk", bounded=True, copied=True),
    Backend("sqlite-file-only", open_sqlite_without_tail, "tmp_path", "disk", bounded=True, copied=True),
    Backend("postgres", open_postgres, "postgres_url", "disk", shared=True),
    Backend(
        "rabbitmq",
        open_rabbitmq,
        "rabbitmq_url",
        "confirmed",
        shared=True,
        trims=False,
        dense=False,
        fills=False,
        framed=True,
    ),
    Backend("kafka", open_kafka, "kafka_url", "confirmed", shared=True, fills=False, framed=True),
]


def each_that(can: str) -> pytest.MarkDecorator:
    """Run the test for the backends that can do that, and for no other."""
    return pytest.mark.parametrize("backend", [row for row in BACKENDS if getattr(row, can)], ids=lambda row: row.name)


async def read_all(log: Log, partition: int = 0, *, after: int = 0) -> list[tuple[int, bytes]]:
    """Everything after a position, in as many reads as it takes."""
    found: list[tuple[int, bytes]] = []
    while after < await log.end(partition):
        found += await log.read(partition, after=after, size_bytes_max=ROOM)
        after = found[-1][0]
    return found


async def follow(log: Log, *, until: int, partition: int = 0) -> list[tuple[int, bytes]]:
    """Read from the start until that position was read, waiting for what is not there yet."""
    found: list[tuple[int, bytes]] = []
    while not found or found[-1][0] < until:
        found += await log.read(partition, after=found[-1][0] if found else 0, size_bytes_max=ROOM)
    return found


async def fill(log: Log) -> int:
    """Append until the log refuses as `Full`. Returns how many it took."""
    for taken in range(1_000):
        try:
            await log.append(0, b"x" * 10_000)
        except Full:
            return taken
    raise AssertionError("The log never was full.")
