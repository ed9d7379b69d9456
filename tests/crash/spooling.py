"""A process to kill: python -m crash.spooling FOLDER RECORDS. It appends numbered records to a log that is out of
reach at first, and says of each that it was begun, and what came of it.

The log is the embedded one behind a wall that lets nothing through until half of the records are spooled.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from accrue.clock import SystemClock
from accrue.core.record import FORMAT, Batch, Record, decode, encode
from accrue.errors import Unavailable
from accrue.ingest.spool import Spool
from accrue.ingest.spooled_log import SpooledLog, SpoolTimes
from accrue.log.sqlite import SqliteLog

LOG = "the log"
ROOM = 64 << 20
TIMES = SpoolTimes(age_us_max=3_600_000_000, probe_s=0.001, probe_s_max=0.002)


class Walled:
    """A log out of reach while `wall` stands."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self.identity = LOG
        self.record_size_bytes_max = log.record_size_bytes_max
        self.wall = True

    async def append(self, partition: int, record: bytes) -> int:
        if self.wall:
            raise Unavailable("There is a wall.")
        return await self._log.append(partition, record)

    async def end(self, partition: int) -> int:
        if self.wall:
            raise Unavailable("There is a wall.")
        return await self._log.end(partition)


async def open_log(folder: Path) -> SqliteLog:
    log = SqliteLog(folder / "log.db", create_identity=LOG)
    await log.open()
    return log


async def numbers(log: SqliteLog) -> list[int]:
    """What is in the log, by number."""
    if not await log.end(0):
        return []
    found: list[int] = []
    after = 0
    while after < await log.end(0):
        rows = await log.read(0, after=after, size_bytes_max=ROOM)
        found += [number for _, data in rows for batch in decode(data).batches for number in batch.times_us]
        after = rows[-1][0]
    return found


async def main(folder: Path, first: int, count: int) -> None:
    log = Walled(await open_log(folder))
    clock = SystemClock()
    way = SpooledLog(log, await Spool.open(folder / "spool.db", log_identity=LOG), clock, times=TIMES)
    running = asyncio.ensure_future(way.run())
    for number in range(first, first + count):
        log.wall = number < first + count // 2
        os.write(1, b"begun %d\n" % number)
        body = b'{"id":"%d"}' % number
        await way.append(0, encode(Record(FORMAT, clock.now_us(), [Batch("a", body, [number], {})])))
        os.write(1, b"acked %d\n" % number)
        assert not running.done()
    while way.status().waiting:  # noqa: ASYNC110 - it says how it is, and tells nobody
        await asyncio.sleep(0.001)
    os.write(1, b"empty\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
