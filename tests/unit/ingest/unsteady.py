"""A log that answers as it is told to, records to give it, and a loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import chain, groupby, repeat
from pathlib import Path
from typing import Any, TypeVar

from accrue.core.event import Stamp
from accrue.core.record import FORMAT, Batch, Record, decode, encode
from accrue.errors import Corrupt, Full, TooLarge, Unavailable
from accrue.ingest.spool import Spool, SpoolLimits
from accrue.ingest.spooled_log import SpooledLog, SpoolTimes
from accrue.testing.loop import LoopClock, SimulatedLoop

Result = TypeVar("Result")

LOG = "the log"
HOUR_US = 3_600_000_000
TIMES = SpoolTimes(age_us_max=24 * HOUR_US)


def answers(*first: str, then: str = "good") -> Callable[[], str]:
    """One after the other, and then always the same."""
    following: Iterator[str] = chain(first, repeat(then))
    return lambda: next(following)


class UnsteadyLog:
    """Keeps what it is given in lists. `answer` says of each append what becomes of it:

    good, refused (not stored), stored (and then no answer), late (stored later), hangs, full, too large, corrupt

    `too_large` has records that it refuses for good, alone and with others. Past `size_bytes_max` it hangs.
    """

    def __init__(
        self,
        answer: Callable[[], str] = lambda: "good",
        *,
        takes_s: float = 0.001,
        record_size_bytes_max: int = 1 << 20,
        size_bytes_max: int = 1 << 30,
    ) -> None:
        self.identity = LOG
        self.answer = answer
        self.takes_s = takes_s
        self.record_size_bytes_max = record_size_bytes_max
        self.size_bytes_max = size_bytes_max
        self.stored: defaultdict[int, list[bytes]] = defaultdict(list)
        self.asked = 0
        self.too_large: set[bytes] = set()
        self._late: list[tuple[int, bytes]] = []
        self._busy: set[int] = set()

    @property
    def records(self) -> defaultdict[int, list[bytes]]:
        """What is stored, with joined records taken apart again."""
        apart = {number: [each for one in some for each in parts(one)] for number, some in self.stored.items()}
        return defaultdict(list, apart)

    async def append(self, partition: int, record: bytes) -> int:
        assert partition not in self._busy, "two appends at once"
        self._busy.add(partition)
        try:
            return await self._append(partition, record)
        finally:
            self._busy.remove(partition)

    async def _append(self, partition: int, record: bytes) -> int:
        self.asked += 1
        together = parts(record)
        assert len(together) == 1 or len(record) <= self.record_size_bytes_max
        answer = "too large" if self.too_large.intersection(together) else self.answer()
        if len(record) > self.size_bytes_max:
            answer = "hangs"
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
            case "too large":  # from then on; of a joined record it is one that is
                if not self.too_large.intersection(together):
                    self.too_large.add(together[len(together) // 2])
                raise TooLarge("More than the log takes.")
            case "corrupt":
                raise Corrupt("The log is damaged.")
        self.stored[partition].append(record)
        if answer == "stored":
            raise Unavailable("The connection is lost.")
        if answer == "stored, hangs":
            await asyncio.Event().wait()
        return len(self.stored[partition])

    async def end(self, partition: int) -> int:
        self.asked += 1
        if self.answer() != "good":
            raise Unavailable("No connection.")
        return len(self.stored[partition])

    def let_late_ones_in(self) -> None:
        for partition, record in self._late:
            self.stored[partition].append(record)
        self._late.clear()


def record(number: int, *, time_us: int, events: int = 1, size_bytes: int = 0) -> bytes:
    """A record that its number tells apart: every fifth is of another tenant, every second has a stamp."""
    body = b"\n".join(b'{"id":"%d-%d","more":"%b"}' % (number, each, b"x" * size_bytes) for each in range(events))
    stamps = {events - 1: Stamp(clamped=True)} if number % 2 else {}
    return encode(Record(FORMAT, time_us, [Batch("ab"[number % 5 == 4], body, [time_us] * events, stamps)]))


def parts(data: bytes) -> list[bytes]:
    """The records that were joined to this one, by the numbers in their events' ids: byte for byte what they were, if
    all is still there. What `record` did not make stays as it is."""
    try:
        joined = decode(data)
    except Corrupt:
        return [data]
    found: list[bytes] = []
    for tenant, body, times_us, stamps in ((b.tenant, b.body, b.times_us, b.stamps) for b in joined.batches):
        lines = body.split(b"\n")
        numbers = [line.partition(b"-")[0] for line in lines]
        for _, some in groupby(range(len(lines)), numbers.__getitem__):
            at = list(some)
            own = {index - at[0]: stamps[index] for index in at if index in stamps}
            batch = Batch(tenant, b"\n".join(lines[each] for each in at), [times_us[each] for each in at], own)
            found.append(encode(Record(FORMAT, times_us[at[0]], [batch])))
    return found


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
