r"""The way to a log that may go out of reach: straight there, or round by the spool, never past what waits in it.

    append --+--> log                           while it answers and nothing of the partition waits
             \--> spool --> run --> log         in order, a partition at a time

A partition's state is its `_Lane`. It is closed by the first append that the log did not answer, and from then on
nobody waits for the log: what comes queues in the spool, and only `run` asks, at growing intervals. Once the log
answers again `run` forwards, and for each append that still comes two records leave, so the spool empties however busy
it is; when nothing waits the way is straight again.

What waits leaves many records at once, as one append (joining.py). Such an append may fail where a smaller one would
not: on a line too slow for it, or because the log refuses one of the records. So after one that was not answered half
as many are tried, down to one; and what was refused together is sent one by one, and only what is refused alone is
parked.

Order is kept for each partition: a record goes straight only when everything before it is in the log. A record may get
there twice, when the outcome of an attempt was not known or the process died between forwarding it and noting that:
the fold drops repeats by their ids. That holds inside the repeat window only, so what would come too late for it is
parked instead (parked.py).

What is not spooled. `Full`: the log answers, and says that its disk is full; accepting on would fill another one and
hide it. (What waits already stays and is tried again.) `TooLarge`: it would never get in, and everything would queue
behind it. `Corrupt`: a person has to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import structlog
from msgspec import Struct

from accrue import crashpoints
from accrue.clock import Clock
from accrue.core.record import stamped_us
from accrue.errors import AccrueError, Corrupt, Full, Rejected, Unavailable
from accrue.ingest.joining import JoinLimits, joined
from accrue.ingest.spool import CHUNK_RECORDS_MAX, Spool, ToPark
from accrue.log.base import Position

Result = TypeVar("Result")

LEAVING_PER_APPEND = 2
"""So many records of a partition are forwarded for each one that comes, before that one is answered."""

AHEAD_RECORDS_MAX = 64
"""So many may have been forwarded beforehand, and then what comes need not wait for others to leave. Few, for the spool
to empty within a few more appends of the log once only that is in it which came meanwhile."""

JOINED_EVENTS_MAX = 20_000
"""In one record of the log, as in the group commit's."""

CLOCKS_APART_US_MAX = 30 * 60 * 1_000_000
"""Log time is that of the gateway whose clock is ahead. An age taken from another's clock falls short by up to this."""

TOO_OLD = "older than the repeat window when the log was back: nobody could say whether it is a repeat"

logger = structlog.get_logger("accrue.ingest")


class Appending(Protocol):
    """What this needs of a log; see `Log`."""

    @property
    def identity(self) -> str:
        """Which log it is."""
        ...

    @property
    def record_size_bytes_max(self) -> int:
        """The record size to stay under."""
        ...

    async def append(self, partition: int, record: bytes) -> Position:
        """Store a record. Cancelled, it ends soon, and then nobody knows whether the record is there."""
        ...

    async def end(self, partition: int) -> Position:
        """The last position: any answer says that the log is within reach."""
        ...


class SpoolTimes(Struct, frozen=True, kw_only=True):
    """How long to wait, and for what.

    A log whose append takes longer than `log_wait_s_max` is out of reach. Then it is asked again after `probe_s`, and
    after twice as long each time, up to `probe_s_max`.
    A record is parked when it is older than `age_us_max`; see the function of that name.
    """

    age_us_max: int
    log_wait_s_max: float = 5.0
    probe_s: float = 0.1
    probe_s_max: float = 2.0


def age_us_max(repeat_window_us: int) -> int:
    """How old a record may be for the fold to know its repeats still: the window, less what clocks may differ by."""
    return repeat_window_us - min(CLOCKS_APART_US_MAX, repeat_window_us // 2)


class SpoolStatus(Struct, frozen=True, kw_only=True):
    """How the spool is doing. `waiting` records are in it to be forwarded, or were just now; `parked_records` are given
    up: see parked.py. `forwarded` counts since the start.

    `trouble` says why the log is out of reach, for `out_of_reach_s` by now, and is None while it is not.
    """

    waiting: int
    size_bytes: int
    parked_records: int
    parked_events: int
    forwarded: int
    trouble: str | None
    out_of_reach_s: float


class SpooledLog:
    """A log with a spool in front of it. One task runs `run`; without it nothing leaves the spool."""

    def __init__(self, log: Appending, spool: Spool, clock: Clock, *, times: SpoolTimes) -> None:
        self._log = log
        self._spool = spool
        self._clock = clock
        self._times = times
        now_s = clock.monotonic_s()
        self._lanes = {partition: _Lane(waiting, times, now_s) for partition, waiting in spool.fill.waiting.items()}
        self._news = asyncio.Event()

    async def append(self, partition: int, record: bytes) -> Position | None:
        """Make a record durable, and return its position, or None when it is in the spool and has none yet.

        Calls for one partition must not overlap. Raises what the log raises when it answers (`Full`, `TooLarge`,
        `Corrupt`), and what the spool raises when it takes nothing: `Unavailable` past its bounds, `Full` when its
        disk is full.
        """
        lane = self._lane(partition)
        # 1. Straight to the log, when it answers and nothing waits before this.
        if lane.trouble is None and not lane.waiting:
            try:
                return await self._bounded(self._log.append(partition, record))
            except (Full, Rejected, Corrupt):
                raise
            except AccrueError as error:
                self._close(partition, lane, error)
        # 2. Into the spool.
        lane.waiting += 1
        lane.came += 1
        lane.coming = True
        try:
            await self._spool.add(partition, record)
        except AccrueError:
            if self._spool.is_sure:  # else it may be in the file, and `run` will look
                lane.waiting -= 1
            raise
        finally:
            lane.coming = False
            self._news.set()
        # 3. No faster than it empties.
        await self._paced(lane)
        return None

    async def run(self) -> None:
        """Forward what waits, until cancelled. Raises `Corrupt` when the log is another one, or damaged."""
        while True:
            self._news.clear()
            now_s = self._clock.monotonic_s()
            wanted = [lane for lane in self._lanes.values() if lane.wants]
            due = [partition for partition, lane in self._lanes.items() if lane.wants and lane.not_before_s <= now_s]
            if due:
                for outcome in await asyncio.gather(*map(self._forward, due), return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        raise outcome
                continue
            wait_s = min((lane.not_before_s - now_s for lane in wanted), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()

    def status(self) -> SpoolStatus:
        """How it is now."""
        fill, lanes = self._spool.fill, list(self._lanes.values())
        out = [lane for lane in lanes if lane.trouble is not None]
        now_s = self._clock.monotonic_s()
        return SpoolStatus(
            waiting=sum(fill.waiting.values()),
            size_bytes=fill.size_bytes,
            parked_records=fill.parked_records,
            parked_events=fill.parked_events,
            forwarded=sum(lane.forwarded for lane in lanes),
            trouble=out[0].trouble if out else None,
            out_of_reach_s=max((now_s - lane.out_since_s for lane in out), default=0.0),
        )

    # --- one partition --------------------------------------------------------------------------------------------

    async def _forward(self, partition: int) -> None:
        """A part of what waits: 1. read; 2. append it, in order; 3. let go of it. When nothing waits and the log was
        out of reach, only ask."""
        lane = self._lanes[partition]
        try:
            self._check_log()
            # 1.
            came = lane.came
            found = await self._spool.after(partition, lane.up_to)
            if not found and lane.came == came and not lane.coming:
                lane.nothing_waits()
            crashpoints.point("forward 1: read, before the first append")
            # 2.
            if not found and lane.trouble is not None:
                await self._bounded(self._log.end(partition))
                self._open(partition, lane)
            numbers, waiting = [each.number for each in found], [each.record for each in found]
            while numbers:
                count = await self._forward_some(partition, lane, numbers, waiting)
                del numbers[:count], waiting[:count]
            crashpoints.point("forward 2: appended, nothing removed")
        except Corrupt:
            raise
        except AccrueError as error:  # of the log, or of the spool when it cannot be read
            self._close(partition, lane, error)
        # 3.
        if lane.up_to > lane.removed:
            up_to, park = lane.up_to, lane.park
            try:
                await self._spool.remove(partition, up_to=up_to, park=park, now_us=self._clock.now_us())
            except Unavailable as error:  # it stays, and is not forwarded again while this process lives
                logger.warning("what was forwarded cannot be removed from the spool", reason=error.detail)
                lane.rest(self._clock.monotonic_s())
                return
            lane.removed, lane.park = up_to, []

    async def _forward_some(self, partition: int, lane: _Lane, numbers: Sequence[int], found: Sequence[bytes]) -> int:
        """Append the first records of `found` as one, or see that the first is parked. Returns how many are dealt with:
        none when they were refused together. Raises what the append raises besides."""
        oldest_us = self._clock.now_us() - self._times.age_us_max
        if stamped_us(found[0]) < oldest_us:
            lane.passed(numbers[0], park=TOO_OLD)
            return 1
        limits = JoinLimits(
            records_max=lane.records_max(numbers[0]),
            events_max=JOINED_EVENTS_MAX,
            size_bytes_max=self._log.record_size_bytes_max,
            oldest_us=oldest_us,
        )
        some = joined(found, limits)
        last = numbers[some.count - 1]
        refused: str | None = None
        try:
            await self._bounded(self._log.append(partition, some.record))
        except Rejected as error:  # it was never offered to the log before, or the log's limits have changed
            refused = f"the log refuses it: {error.detail}"
        except AccrueError:
            lane.joining_max = max(some.count // 2, 1)
            raise
        self._open(partition, lane)
        if refused is not None and some.count > 1:
            lane.alone_up_to = last
            return 0
        lane.passed(last, count=some.count, park=refused)
        return some.count

    async def _bounded(self, asked: Awaitable[Result]) -> Result:
        """What the log says, or `Unavailable` when it says nothing for too long."""
        try:
            async with asyncio.timeout(self._times.log_wait_s_max):
                return await asked
        except TimeoutError as error:
            raise Unavailable(f"The log did not answer within {self._times.log_wait_s_max:g} s.") from error

    async def _paced(self, lane: _Lane) -> None:
        """Return when enough has left, nothing waits, or the log does not answer."""
        lane.owed += LEAVING_PER_APPEND
        with suppress(TimeoutError):
            async with asyncio.timeout(self._times.log_wait_s_max):
                while lane.trouble is None and lane.waiting and lane.owed > 0:
                    await lane.moved.wait()

    def _close(self, partition: int, lane: _Lane, error: AccrueError) -> None:
        """From here on only `run` asks the log."""
        now_s = self._clock.monotonic_s()
        if lane.trouble is None:
            lane.out_since_s = now_s
            logger.warning("the log is out of reach; events are spooled", partition=partition, reason=error.detail)
        lane.trouble = error.detail
        lane.rest(now_s)
        lane.tell()

    def _open(self, partition: int, lane: _Lane) -> None:
        if lane.trouble is not None:
            logger.info("the log answers; what was spooled is forwarded", partition=partition, waiting=lane.waiting)
            lane.owed = 0
        lane.trouble = None
        lane.pause_s = self._times.probe_s

    def _lane(self, partition: int) -> _Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane(0, self._times, self._clock.monotonic_s())
        return lane

    def _check_log(self) -> None:
        if self._log.identity != self._spool.log_identity:
            raise Corrupt(
                f"The log is another one ({self._log.identity}) than the spool is for ({self._spool.log_identity}). "
                "Nothing was forwarded. Put the log back that this deployment had."
            )


class _Lane:
    """How it stands with one partition."""

    def __init__(self, waiting: int, times: SpoolTimes, now_s: float) -> None:
        self._times = times
        self.waiting = waiting  # at most so many are in the spool, or on their way there, and not in the log
        self.came = 0
        self.coming = False  # whether an append is on its way into the spool
        self.forwarded = 0
        self.owed = 0  # so many are still to leave for what came since the log answers; less than 0: left beforehand
        self.joining_max = CHUNK_RECORDS_MAX  # so many go as one append at most
        self.alone_up_to = 0  # up to this number each goes alone, because they were refused together
        self.up_to = 0  # the number of the last record that is forwarded, or to be parked
        self.removed = 0  # up to where the file has let go of them
        self.park: list[ToPark] = []  # of those not removed yet
        self.trouble = "The log was not asked yet." if waiting else None
        self.out_since_s = now_s
        self.pause_s = times.probe_s
        self.not_before_s = now_s
        self.moved = asyncio.Event()

    @property
    def wants(self) -> bool:
        """Whether there is something to do."""
        return self.waiting > 0 or self.trouble is not None or self.up_to > self.removed

    def records_max(self, number: int) -> int:
        """How many may go together, that one first."""
        return 1 if number <= self.alone_up_to else self.joining_max

    def passed(self, number: int, *, count: int = 1, park: str | None = None) -> None:
        """So many records, that one the last of them, are in the log; or one is to be parked, for that reason."""
        if park is not None:
            self.park.append(ToPark(number, park))
        else:
            self.joining_max = min(2 * self.joining_max, CHUNK_RECORDS_MAX)
        self.up_to = number
        self.forwarded += count
        self.owed = max(self.owed - count, -AHEAD_RECORDS_MAX)
        self.waiting = max(self.waiting - count, 0)
        self.tell()

    def nothing_waits(self) -> None:
        """The file was looked at, and has nothing that is not in the log."""
        self.waiting = 0
        self.tell()

    def rest(self, now_s: float) -> None:
        """Do nothing for a while, and for longer the next time."""
        self.not_before_s = now_s + self.pause_s
        self.pause_s = min(2 * self.pause_s, self._times.probe_s_max)

    def tell(self) -> None:
        """Wake who waits for something to leave."""
        self.moved.set()
        self.moved = asyncio.Event()
