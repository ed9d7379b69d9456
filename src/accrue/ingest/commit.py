"""Group commit: while one append is under way, arrivals queue; when it ends, all of them go as the next record.

    submit --\
    submit ---+--> queue --> run: take all, merge, stamp the log time, append --> every submitter gets its place
    submit --/                        (one append at a time, no artificial delay)

One sync of the disk then serves everyone who came during the one before it, so the busier it gets the cheaper one
event becomes. `run` is the only caller of `append` for its partition.

Log time is `max(previous, now)`, so it never runs backwards, not even when the wall clock does. That makes a leap
forwards costly: a clock that for a moment says next year would expire the whole repeat window, and log time could
not come back. So one record moves it by what the monotonic clock saw pass since the record before, plus a limit.
A quiet partition is not held back by that, a single wrong reading does little, and after a long stop log time
catches up in a few records. A clock that stays wrong wins in the end: this is a brake, not a judge.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from accrue import crashpoints
from accrue.clock import Clock
from accrue.core.record import EVENTS_PER_RECORD_MAX, FORMAT, Batch, Record, encode, joined
from accrue.errors import AccrueError, Misconfigured, Rejected, TooLarge, Unavailable
from accrue.log.base import Position


class CommitLimits(Struct, frozen=True, kw_only=True):
    """What one record holds at most, what may wait for the next ones, and how far log time may leap.

    A submission of up to `batch_size_bytes_max` is taken as a record of its own when it is larger than records are
    filled: the log may still find room for it. The queue does not count what is being appended. Sizes are those of the
    events' JSON.
    """

    record_events_max: int = 20_000
    record_size_bytes_max: int = 8 << 20
    batch_size_bytes_max: int = 8 << 20
    queue_events_max: int = 100_000
    queue_size_bytes_max: int = 64 << 20
    log_time_leap_us_max: int = 3_600_000_000


class Appending(Protocol):
    """What records are appended to: a log, or the way to one that may go out of reach (spooled_log.py)."""

    async def append(self, partition: int, record: bytes) -> Position | None:
        """See `Log.append`. None: it is durable, but in the spool, and has no position yet."""
        ...


class Accepted(Struct, frozen=True):
    """Where a submission stands: event i has the sequence `core.record.sequence(position, first_index + i)`.

    `position` is None when it is spooled: durable, but not in the log yet.
    """

    position: Position | None
    first_index: int
    log_time_us: int


Waiting = tuple[Batch, "asyncio.Future[Accepted]"]


class GroupCommit:
    """The way into one partition of the log. `last_log_time_us` is 0 when the partition is new.

    Create it inside the event loop it is used in; one task runs `run` until it is cancelled, after `drain`.
    """

    def __init__(
        self,
        log: Appending,
        clock: Clock,
        *,
        partition: int,
        last_log_time_us: int,
        limits: CommitLimits,
    ) -> None:
        if limits.record_events_max > EVENTS_PER_RECORD_MAX:
            raise Misconfigured(f"record_events_max may be {EVENTS_PER_RECORD_MAX} at most.")
        self._log = log
        self._clock = clock
        self._partition = partition
        self._limits = limits
        self._log_time_us = last_log_time_us
        self._log_time_set_s = clock.monotonic_s()
        self._loop = asyncio.get_running_loop()
        self._queue: list[Waiting] = []
        self._queue_events = 0
        self._queue_size_bytes = 0
        self._accepting = True
        self._arrival = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queue_events(self) -> int:
        """Events that wait for the next append."""
        return self._queue_events

    async def submit(self, batch: Batch) -> Accepted:
        """Return once the batch is durable. Its events stay together and in order, in one record.

        Raises `Unavailable` when the ingest queue is full or closed, `TooLarge` when the batch alone is more than
        a record holds and `Rejected` when it is empty: nothing of it is taken then. Otherwise what the append
        raised: nothing of it is in the log, unless the error says that this is not known. A caller that is
        cancelled only gives up waiting.
        """
        events = self._queue_events + len(batch.times_us)
        size_bytes = self._queue_size_bytes + len(batch.body)
        limits = self._limits
        if events > limits.queue_events_max or size_bytes > limits.queue_size_bytes_max or not self._accepting:
            raise self._refusal()
        if not batch.times_us:
            raise Rejected("A batch holds at least one event.")
        if len(batch.times_us) > limits.record_events_max or len(batch.body) > limits.batch_size_bytes_max:
            raise TooLarge(
                f"A batch holds at most {limits.record_events_max} events and "
                f"{limits.batch_size_bytes_max} bytes; send it in parts."
            )
        self._queue_events = events
        self._queue_size_bytes = size_bytes
        accepted: asyncio.Future[Accepted] = self._loop.create_future()
        if not self._queue:
            self._arrival.set()
            self._idle.clear()
        self._queue.append((batch, accepted))
        return await accepted

    async def run(self) -> None:
        """Append what arrives, record by record, until cancelled. Then whoever still waits gets `Unavailable`.

        A failed append fails the submissions of its record and nothing else. (On a log that has closed every
        append fails, so every submission does.)
        """
        taken: list[Waiting] = []
        try:
            while True:
                if not self._queue:
                    self._idle.set()
                    self._arrival.clear()
                    await self._arrival.wait()
                taken = self._take()
                await self._commit(taken)
        finally:
            self._accepting = False
            fail(taken, Unavailable("Accepting has ended while this was being stored: send it again."))
            fail(self._queue, Unavailable("Accepting has ended before this was stored: send it again."))
            self._queue.clear()
            self._queue_events = self._queue_size_bytes = 0
            self._idle.set()

    async def drain(self) -> None:
        """Take nothing new, and return once everything submitted so far is durable or has failed."""
        self._accepting = False
        await self._idle.wait()

    def _refusal(self) -> Unavailable:
        if not self._accepting:
            return Unavailable("The ingest queue is closed: the server is shutting down.")
        return Unavailable(f"The ingest queue is full ({self._queue_events} events wait for the log).")

    def _take(self) -> list[Waiting]:
        """The next record's submissions: all that wait, or the first of them that fit."""
        limits = self._limits
        if self._queue_events <= limits.record_events_max and self._queue_size_bytes <= limits.record_size_bytes_max:
            taken, self._queue = self._queue, []
            self._queue_events = self._queue_size_bytes = 0
            return taken
        events = size_bytes = count = 0
        for batch, _ in self._queue:
            if count and (
                events + len(batch.times_us) > limits.record_events_max
                or size_bytes + len(batch.body) > limits.record_size_bytes_max
            ):
                break
            events += len(batch.times_us)
            size_bytes += len(batch.body)
            count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._queue_events -= events
        self._queue_size_bytes -= size_bytes
        return taken

    async def _commit(self, taken: Sequence[Waiting]) -> None:
        """1. Merge and stamp. 2. Append. 3. Tell everyone their place, or what went wrong."""
        log_time_us = self._next_log_time_us()
        record = encode(Record(FORMAT, log_time_us, merged([batch for batch, _ in taken])))
        crashpoints.point("accept 1: merged, before the append")
        try:
            position = await self._log.append(self._partition, record)
        except AccrueError as error:
            fail(taken, error)
            return
        crashpoints.point("accept 2: appended, before anybody is told")
        index = 0
        for batch, accepted in taken:
            if not accepted.done():
                accepted.set_result(Accepted(position, index, log_time_us))
            index += len(batch.times_us)
        crashpoints.point("accept 3: everybody told")

    def _next_log_time_us(self) -> int:
        before_us, before_s = self._log_time_us, self._log_time_set_s
        now_us, self._log_time_set_s = self._clock.now_us(), self._clock.monotonic_s()
        if before_us > 0:
            passed_us = round((self._log_time_set_s - before_s) * 1_000_000)
            now_us = min(now_us, before_us + passed_us + self._limits.log_time_leap_us_max)
        self._log_time_us = max(before_us, now_us)
        return self._log_time_us


def merged(batches: Sequence[Batch]) -> list[Batch]:
    """The same events in the same order, with neighbours of one tenant made one batch."""
    result: list[Batch] = []
    start = 0
    for end in range(1, len(batches) + 1):
        if end == len(batches) or batches[end].tenant != batches[start].tenant:
            result.append(joined(batches[start:end]))
            start = end
    return result


def fail(waiting: Sequence[Waiting], error: AccrueError) -> None:
    """Give everyone the error, each a copy: raising one object in many tasks would mix up their tracebacks."""
    for _, accepted in waiting:
        if not accepted.done():
            mine = copy.copy(error)
            mine.__cause__ = error
            accepted.set_exception(mine)
