"""The spool before a real log: PostgreSQL paused, and killed under load, and what is in the log in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from accrue.clock import SystemClock
from accrue.core.record import FORMAT, Batch, Record, decode, encode
from accrue.ingest.spool import Spool
from accrue.ingest.spooled_log import SpooledLog, SpoolTimes
from accrue.log.postgres import PostgresLog
from servers.postgres import PostgresServer

TIMES = SpoolTimes(age_us_max=3_600_000_000, log_wait_s_max=1.0)
WAIT_S_MAX = 120
"""Only so that a spool that never empties fails its test."""


class Sender:
    """Appends numbered records and keeps what it was told of each."""

    def __init__(self, way: SpooledLog) -> None:
        self._way = way
        self._clock = SystemClock()
        self.told: list[int | None] = []

    async def send(self, count: int) -> None:
        for _ in range(count):
            number = len(self.told)
            batch = Batch("a", b'{"id":"%d"}' % number, [number], {})
            self.told.append(await self._way.append(0, encode(Record(FORMAT, self._clock.now_us(), [batch]))))


async def numbers(log: PostgresLog) -> list[int]:
    found: list[int] = []
    after, end = 0, await log.end(0)
    while after < end:
        rows = await log.read(0, after=after, size_bytes_max=1 << 20)
        found += [number for _, data in rows for batch in decode(data).batches for number in batch.times_us]
        after = rows[-1][0]
    return found


async def test_a_server_that_is_paused_and_killed_has_everything_in_order_in_the_end(
    own_server: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    server = own_server(PostgresServer)
    log = await PostgresLog.open(server.url, partitions=1, create_identity="this one")
    spool = await Spool.open(tmp_path / "spool.db", log_identity=log.identity)
    way = SpooledLog(log, spool, SystemClock(), times=TIMES)
    running = asyncio.ensure_future(way.run())
    sender = Sender(way)

    async def empty() -> None:
        while way.status().waiting:  # noqa: ASYNC110 - it says how it is, and tells nobody
            await asyncio.sleep(0.01)

    async with asyncio.timeout(WAIT_S_MAX):
        await sender.send(20)
        assert None not in sender.told

        server.pause()
        await sender.send(50)
        assert set(sender.told[20:]) == {None}
        server.resume()
        await empty()
        assert await log.end(0) < 20 + 50 / 2  # what waited went together
        await sender.send(10)
        assert None not in sender.told[70:]

        busy = asyncio.ensure_future(sender.send(600))
        while len(sender.told) < 200:  # noqa: ASYNC110 - it counts, and tells nobody
            await asyncio.sleep(0.001)
        server.kill()
        await busy
        assert sender.told[-1] is None
        await asyncio.to_thread(server.start)
        await empty()
        await sender.send(1)
        assert sender.told[-1] is not None
        found = await numbers(log)

    assert list(dict.fromkeys(found)) == list(range(len(sender.told)))
    assert way.status().parked_records == 0
    running.cancel()
    await spool.close()
    await log.close()
