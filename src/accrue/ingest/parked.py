"""What a spool has parked: records that were accepted and not counted, with the reason; looked at beside the gateway.

Parked is what came to be older than the repeat window before the log was back, because nobody could say any more
whether it is a repeat, and what the log refuses. Such a record may be in the log all the same, when the outcome of an
attempt was not known. Nothing removes it but a person who has seen to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from accrue.connect.own_file import check_header, read_header
from accrue.connect.sqlite import SqliteThread
from accrue.core import record as records
from accrue.core.record import Record
from accrue.errors import NotFound
from accrue.ingest.spool import KIND

PAGE_RECORDS_MAX = 1_000

# parked(number, partition, log_time_us, parked_us, events, reason, record): see spool.py
PAGE = """
SELECT number, partition, log_time_us, parked_us, events, length(record), reason FROM parked
WHERE number > ? ORDER BY number LIMIT ?
"""
ONE = "SELECT record FROM parked WHERE number = ?"
DISCARD = "DELETE FROM parked WHERE number = ?"


class Parked(Struct, frozen=True):
    """A parked record: accepted at `log_time_us`, given up at `parked_us`. `events` is how many are in it."""

    number: int
    partition: int
    log_time_us: int
    parked_us: int
    events: int
    size_bytes: int
    reason: str


async def parked(path: Path, *, after: int = 0, limit: int = PAGE_RECORDS_MAX) -> list[Parked]:
    """The parked records of a spool file by number, those after a number; none when there is no file.

    Also beside the gateway that has it. Raises `Corrupt` for what is no spool.
    """
    if not path.exists():
        return []
    thread = await _opened(path, read_only=True)
    try:
        rows = await thread.run(lambda c: c.execute(PAGE, (after, min(limit, PAGE_RECORDS_MAX))).fetchall())
    finally:
        await thread.close()
    return [Parked(*row) for row in rows]


async def parked_record(path: Path, number: int) -> Record:
    """The events of a parked record. Raises `NotFound` and `Corrupt`."""
    thread = await _opened(path, read_only=True)
    try:
        found = await thread.run(lambda c: c.execute(ONE, (number,)).fetchone())
    finally:
        await thread.close()
    if found is None:
        raise NotFound(f"There is no parked record {number} in {path}.")
    return records.decode(found[0])


async def discard(path: Path, numbers: Sequence[int]) -> int:
    """Give parked records up for good, and return how many there were. Also beside the gateway, which counts them
    in its bounds until it starts again."""
    thread = await _opened(path, read_only=False)

    def delete(connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN IMMEDIATE")
        gone = sum(connection.execute(DISCARD, (number,)).rowcount for number in numbers)
        connection.execute("COMMIT")
        return gone

    try:
        return await thread.run(delete)
    finally:
        await thread.close()


async def _opened(path: Path, *, read_only: bool) -> SqliteThread:
    check_header(path, read_header(path), KIND)
    thread = SqliteThread(path, read_only=read_only)
    try:
        await thread.open()
    except BaseException:
        await thread.close()
        raise
    return thread
