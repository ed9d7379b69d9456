"""A log that answers as it is told to, records to give it, and a loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from accrue.core.record import FORMAT, Batch, Record, encode
from accrue.errors import Corrupt, Full, TooLarge, Unavailable
from accrue.ingest.spool import Spool, SpoolLimits
from accrue.ingest.spooled_log import SpooledLog, SpoolTimes
from accrue.testing.loop import LoopClock, SimulatedLoop

Result = TypeVar("Result")

LOG = "the log"
HOUR_US = 3_600_000_000
TIMES = SpoolTimes(age_us_max=24 * HOUR_US)


class UnsteadyLog:
    """Keeps what it is given in lists. `answer` says of each append what becomes of it:

    good, refused (not stored), stored (and then no answer), late (stored later), hangs, full, too large, corrupt
    """

    def __init__(self, answer: Callable[[], str] = lambda: "good", *, takes_s: float = 0.001) -> None:
        self.identity = LOG
        self.answer = answer
        self.takes_s = takes_s
        self.records: defaultdict[int, list[bytes]] = defaultdict(list)
        self.asked = 0
        self._late: list[tuple[int, bytes]] = []
        self._too_large: set[bytes] = set()
        self._busy: set[int] = set()

    async def append(self, partition: int, record: bytes) -> int:
        assert partition not in self._busy, "two appends at once"
        self._busy.add(partition)
        try:
            return await self._append(partition, record)
        finally:
            self._busy.remove(partition)

    async def _append(self, partition: int, record: bytes) -> int:
        self.asked += 1
        answer = "too large" if record in self._too_large else self.answer()
        await asyncio.sleep(self.takes_s)
        match answer:
            case "refused":
                raise Unavailable("No connection.")
            case "late":
                self._late.append((partition, record))
                raise Unavailable("The connection is lost.")
            case "hangs":
                await asyncio.Event().wait()
            case "full":
                raise Full("The log's disk is full.")
            case "too large":  # from then on
                self._too_large.add(record)
                raise TooLarge("More than the log takes.")
            case "corrupt":
                raise Corrupt("The log is damaged.")
        self.records[partition].append(record)
        if answer == "stored":
            raise Unavailable("The connection is lost.")
        if answer == "stored, hangs":
            await asyncio.Event().wait()
        return len(self.records[partition])

    async def end(self, partition: int) -> int:
        self.asked += 1
        if self.answer() != "good":
            raise Unavailable("No connection.")
        return len(self.records[partition])

    def let_late_ones_in(self) -> None:
        for partition, record in self._late:
            self.records[partition].append(record)
        self._late.clear()


def record(number: int, *, time_us: int, events: int = 1, size_bytes: int = 0) -> bytes:
    """A record that its number tells apart."""
    body = b"\n".join(b'{"id":"%d-%d","more":"%b"}' % (number, each, b"x" * size_bytes) for each in range(events))
    return encode(Record(FORMAT, time_us, [Batch("a", body, [time_us] * events, {})]))


def simulated(work: Callable[[SimulatedLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Run it where time passes at once, and threads do their work inside the loop."""
    loop = SimulatedLoop(lambda: 0.000_5)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop))


@asynccontextmanager
async def spooled(
    log: UnsteadyLog, path: Path, clock: LoopClock, *, times: SpoolTimes = TIMES, limits: SpoolLimits | None = None
) -> AsyncIterator[SpooledLog]:
    """A gateway's way to the log, forwarding while the block runs."""
    spool = await Spool.open(path, log_identity=LOG, limits=limits)
    way = SpooledLog(log, spool, clock, times=times)
    running = asyncio.ensure_future(way.run())
    try:
        yield way
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await spool.close()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Let time pass until it is so."""
    async with asyncio.timeout(3_600):
        while not condition():  # noqa: ASYNC110 - any condition; no time passes
            await asyncio.sleep(0.001)
