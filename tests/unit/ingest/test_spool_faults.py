"""Random faults of the log, of the disk and of the process, against plain lists: nothing lost, order kept, nothing
invented, and nothing changed by joining. A seed gives the same course on every machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from accrue.core.record import decode, encode
from accrue.errors import AccrueError, Full, TooLarge, Unavailable
from accrue.ingest.joining import SAME_US
from accrue.ingest.parked import parked, parked_record
from accrue.ingest.spool import Spool, SpoolLimits
from accrue.ingest.spooled_log import TOO_OLD, SpooledLog, SpoolTimes
from accrue.testing.loop import LoopClock, SimulatedLoop
from unit.ingest.unsteady import LOG, UnsteadyLog, parts, record, simulated, until

SEEDS = 40
PARTITIONS = 3
STEPS = 250
TIMES = SpoolTimes(age_us_max=600 * 1_000_000, log_wait_s_max=1.0, probe_s=0.01, probe_s_max=0.5)
LIMITS = SpoolLimits(records_max=120, size_bytes_max=1 << 20)
LOG_RECORD_SIZE_BYTES_MAX = 20_000
"""Two of the large records, or many small ones."""
BAD = ("refused", "stored", "late", "hangs", "stored, hangs")


class Course:
    """One run: three producers, a log and a disk that fail, and a process that dies now and then."""

    def __init__(self, seed: int, path: Path, loop: SimulatedLoop) -> None:
        self.random = Random(seed)
        self.path = path
        self.loop = loop
        self.clock = LoopClock(loop)
        self.log = UnsteadyLog(self._answer, record_size_bytes_max=LOG_RECORD_SIZE_BYTES_MAX)
        self.badness = 0.0
        self.disk_fails = 0.0
        self.given: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.accepted: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.refused: set[bytes] = set()
        self.seen: Counter[str] = Counter()
        self.number = 0

    async def run(self) -> None:
        """Lives one after the other until all is sent, then one in which nothing fails."""
        while self.number < STEPS:
            await self._live(self._until_killed)
        self.badness = self.disk_fails = 0.0
        await self._live(self._until_empty)

    def _answer(self) -> str:
        if self.random.random() < 0.3:
            self.log.let_late_ones_in()
        if self.random.random() < self.badness:
            return self.random.choice(BAD)
        if self.random.random() < 0.05 and self.badness:
            return self.random.choice(("full", "too large"))
        return "good"

    async def _live(self, course) -> None:  # type: ignore[no-untyped-def]
        spool = await Spool.open(self.path, log_identity=LOG, limits=LIMITS)
        self._let_fail(spool)
        way = SpooledLog(self.log, spool, self.clock, times=TIMES)
        tasks = [asyncio.ensure_future(way.run())]
        try:
            await course(way, tasks)
            assert not tasks[0].done(), tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.random.random() < 0.5:
                self.loop.drop_calls()
            await spool.close()
            self.seen["lives"] += 1

    def _let_fail(self, spool: Spool) -> None:
        """The disk fails before a call does something, or after it has."""
        run = spool._thread.run

        async def failing(work):  # type: ignore[no-untyped-def]
            fails = self.random.random() < self.disk_fails
            if fails and self.random.random() < 0.5:
                self.seen["disk full"] += 1
                raise Full("No room left.")
            result = await run(work)
            if fails:
                self.seen["disk unsure"] += 1
                raise Unavailable("The disk failed.")
            return result

        spool._thread.run = failing  # type: ignore[method-assign]

    async def _until_killed(self, way: SpooledLog, tasks: list[asyncio.Future[None]]) -> None:
        tasks += [asyncio.ensure_future(self._produce(way, partition)) for partition in range(PARTITIONS)]
        for _ in range(self.random.randrange(1, 6)):
            self.badness = self.random.choice((0.0, 0.0, 0.1, 0.5, 1.0, 1.0))
            self.disk_fails = self.random.choice((0.0, 0.0, 0.0, 0.1))
            for _ in range(self.random.randrange(1, 25)):
                await asyncio.sleep(self.random.choice((0, 0.001, 0.01, 0.1)))
            if self.random.random() < 0.1:
                self.loop.skip(self.random.choice((100, 700)))
                self.seen["skips"] += 1

    async def _until_empty(self, way: SpooledLog, tasks: list[asyncio.Future[None]]) -> None:
        await until(lambda: tasks[0].done() or (not way.status().waiting and way.status().trouble is None))

    async def _produce(self, way: SpooledLog, partition: int) -> None:
        """Appends one after the other, each a new one; what came of it is noted when it is known."""
        while True:
            self.number += 1
            each = record(self.number, time_us=self.clock.now_us(), size_bytes=self.random.choice((0, 0, 9_000)))
            self.given[partition].append(each)
            try:
                position = await way.append(partition, each)
            except (Full, TooLarge) as error:
                self.seen[type(error).__name__] += 1
                if "log" in error.detail:
                    self.refused.add(each)
            except AccrueError as error:
                self.seen[type(error).__name__] += 1
                await asyncio.sleep(0.1)
            else:
                self.accepted[partition].append(each)
                self.seen["spooled" if position is None else "straight"] += 1
            await asyncio.sleep(self.random.choice((0, 0, 0.001, 0.02)))

    async def check(self) -> None:
        """The lists against the log and what was parked."""
        rows = await parked(self.path)
        self.seen["parked"] += len(rows)
        for partition in range(PARTITIONS):
            kept = [encode(await parked_record(self.path, row.number)) for row in rows if row.partition == partition]
            self._check_log_time(partition)
            stored = self.log.records[partition]
            first = list(dict.fromkeys(stored))
            accepted = self.accepted[partition]
            self.seen["twice"] += len(stored) - len(first)
            # nothing lost
            assert set(accepted) <= set(first) | set(kept)
            # order kept: by the first time each is there, which is the one that counts
            forwarded = [each for each in accepted if each not in set(kept)]  # of the others an attempt may come late
            known = set(forwarded)
            assert [each for each in first if each in known] == forwarded
            # nothing invented, and what was refused for good is nowhere
            assert set(first) | set(kept) <= set(self.given[partition])
            assert not self.refused & (set(first) | set(kept))
            # what was refused did not take its neighbours with it
            late = {encode(await parked_record(self.path, row.number)) for row in rows if row.reason == TOO_OLD}
            assert set(kept) - late <= self.log.too_large

    def _check_log_time(self, partition: int) -> None:
        """Of a joined record: that of its last one, in the same minute as all of them."""
        for data in self.log.stored[partition]:
            times_us = [decode(each).log_time_us for each in parts(data)]
            assert decode(data).log_time_us == max(times_us)
            assert len({time_us // SAME_US for time_us in times_us}) == 1
            self.seen["joined"] += len(times_us) > 1
            self.seen["in joined"] += len(times_us) if len(times_us) > 1 else 0


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_fails_nothing_accepted_is_lost_and_the_order_stays(
    seed: int, tmp_path: Path, seen: Counter[str]
) -> None:
    async def work(loop: SimulatedLoop) -> None:
        course = Course(seed, tmp_path / "spool.db", loop)
        await course.run()
        course.log.let_late_ones_in()
        await course.check()
        seen.update(course.seen)

    with capture_logs():
        simulated(work)


def test_the_faults_were_of_every_kind(seen: Counter[str]) -> None:
    kinds = ("straight", "spooled", "joined", "twice", "parked", "Full", "TooLarge", "Unavailable")
    kinds += ("disk full", "disk unsure")
    assert all(seen[kind] > 10 for kind in kinds), seen
    assert seen["lives"] > 2 * SEEDS
