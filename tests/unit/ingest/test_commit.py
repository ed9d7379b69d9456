"""Group commit: who is merged with whom, what one is told, and what happens when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import pytest

from accrue.clock import ManualClock
from accrue.core.event import Stamp
from accrue.core.record import Batch, Record, decode
from accrue.errors import AccrueError, Full, Misconfigured, Rejected, TooLarge, Unavailable
from accrue.ingest.commit import Accepted, CommitLimits, GroupCommit
from accrue.log.memory import MemoryLog

START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
ROOM = 64 << 20
WAIT_S_MAX = 10
"""Only so that a submitter that is never answered fails its test instead of hanging it."""


class GatedLog(MemoryLog):
    """A memory log whose appends wait until the test lets them through, and fail when it says so."""

    def __init__(self) -> None:
        super().__init__(identity="gated")
        self.begun = asyncio.Semaphore(0)
        self.gate = asyncio.Semaphore(0)
        self.failures: list[Exception] = []
        self.under_way = 0
        self.overlapped = False

    async def append(self, partition: int, record: bytes) -> int:
        self.under_way += 1
        self.overlapped |= self.under_way > 1
        self.begun.release()
        try:
            await self.gate.acquire()
        finally:
            self.under_way -= 1
        if self.failures:
            raise self.failures.pop(0)
        return await super().append(partition, record)

    def let_through(self, appends: int = 1) -> None:
        for _ in range(appends):
            self.gate.release()


class TwoFacedClock:
    """Wall and monotonic time that a test moves apart."""

    def __init__(self) -> None:
        self.wall_us = START_US
        self.passed_s = 0.0

    def now_us(self) -> int:
        return self.wall_us

    def monotonic_s(self) -> float:
        return self.passed_s


def batch(tenant: str, *ids: str, stamps: dict[int, Stamp] | None = None) -> Batch:
    """Events with these ids. The time of an event is the number of its id."""
    body = b"\n".join(b'{"id":"%s"}' % each.encode() for each in ids)
    return Batch(tenant, body, [int(each) for each in ids], stamps or {})


@asynccontextmanager
async def running(commit: GroupCommit) -> AsyncIterator[asyncio.Task[None]]:
    """`run` in a task, until the block ends."""
    async with asyncio.timeout(WAIT_S_MAX):
        task = asyncio.ensure_future(commit.run())
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def group_commit(log: MemoryLog, *, last_log_time_us: int = 0, limits: CommitLimits | None = None) -> GroupCommit:
    return GroupCommit(
        log,
        ManualClock(START_US),
        partition=0,
        last_log_time_us=last_log_time_us,
        limits=limits or CommitLimits(),
    )


def submitting(commit: GroupCommit, *batches: Batch) -> list[asyncio.Future[Accepted]]:
    """Submissions in this order, each in a task of its own. They are queued at the next turn of the loop."""
    return [asyncio.ensure_future(commit.submit(each)) for each in batches]


async def outcome(waiting: Awaitable[Accepted]) -> Accepted | BaseException:
    [result] = await asyncio.gather(waiting, return_exceptions=True)
    return result


async def records(log: MemoryLog) -> list[Record]:
    return [decode(record) for _, record in await log.read(0, after=0, size_bytes_max=ROOM)]


def bodies(record: Record) -> list[tuple[str, bytes, Sequence[int]]]:
    return [(each.tenant, each.body, each.times_us) for each in record.batches]


async def test_what_arrives_during_an_append_goes_together_as_the_next_record() -> None:
    log = GatedLog()
    commit = group_commit(log)
    async with running(commit):
        first = submitting(commit, batch("a", "1"))
        await log.begun.acquire()
        later = submitting(commit, batch("a", "2"), batch("a", "3", "4"), batch("a", "5"))
        await asyncio.sleep(0)

        log.let_through(2)

        assert await asyncio.gather(*first, *later) == [
            Accepted(1, 0, START_US),
            Accepted(2, 0, START_US),
            Accepted(2, 1, START_US),
            Accepted(2, 3, START_US),
        ]
    one, two = await records(log)
    assert bodies(one) == [("a", b'{"id":"1"}', [1])]
    assert bodies(two) == [("a", b'{"id":"2"}\n{"id":"3"}\n{"id":"4"}\n{"id":"5"}', [2, 3, 4, 5])]


async def test_only_neighbours_of_one_tenant_are_merged_and_the_order_stays() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log)
    async with running(commit):
        waiting = submitting(
            commit, batch("a", "1"), batch("a", "2"), batch("b", "3"), batch("a", "4"), batch("a", "5")
        )

        places = await asyncio.gather(*waiting)

    [record] = await records(log)
    assert [place.first_index for place in places] == [0, 1, 2, 3, 4]
    assert bodies(record) == [
        ("a", b'{"id":"1"}\n{"id":"2"}', [1, 2]),
        ("b", b'{"id":"3"}', [3]),
        ("a", b'{"id":"4"}\n{"id":"5"}', [4, 5]),
    ]


async def test_stamps_move_with_their_events() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log)
    crawler, clamped = Stamp(crawler=True), Stamp(clamped=True)
    async with running(commit):
        await asyncio.gather(
            *submitting(
                commit,
                batch("a", "1", "2", stamps={1: crawler}),
                batch("a", "3"),
                batch("a", "4", "5", stamps={0: clamped, 1: crawler}),
            )
        )

    [record] = await records(log)
    assert [each.stamps for each in record.batches] == [{1: crawler, 3: clamped, 4: crawler}]


async def test_a_record_holds_no_more_events_than_its_limit() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log, limits=CommitLimits(record_events_max=3))
    async with running(commit):
        waiting = submitting(commit, batch("a", "1", "2"), batch("a", "3", "4"), batch("a", "5"), batch("a", "6"))

        places = await asyncio.gather(*waiting)

        assert commit.queue_events == 0

    assert [(place.position, place.first_index) for place in places] == [(1, 0), (2, 0), (2, 2), (3, 0)]
    assert [record.events for record in await records(log)] == [2, 3, 1]


async def test_a_record_holds_no_more_bytes_than_its_limit() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log, limits=CommitLimits(record_size_bytes_max=20))
    async with running(commit):
        places = await asyncio.gather(*submitting(commit, batch("a", "1"), batch("a", "2"), batch("a", "3")))

    assert [place.position for place in places] == [1, 1, 2]


async def test_a_batch_larger_than_records_are_filled_is_a_record_of_its_own() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log, limits=CommitLimits(record_size_bytes_max=20))
    large = batch("a", *map(str, range(5)))
    async with running(commit):
        places = await asyncio.gather(*submitting(commit, batch("a", "7"), large, batch("a", "8")))

    assert [place.position for place in places] == [1, 2, 3]


async def test_a_batch_that_no_record_could_hold_is_refused() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log, limits=CommitLimits(record_events_max=2, batch_size_bytes_max=30))
    async with running(commit):
        with pytest.raises(TooLarge):
            await commit.submit(batch("a", "1", "2", "3"))
        with pytest.raises(TooLarge):
            await commit.submit(batch("a", "1" * 30))
        with pytest.raises(Rejected):
            await commit.submit(batch("a"))

        assert await commit.submit(batch("a", "4")) == Accepted(1, 0, START_US)


async def test_a_record_may_not_hold_more_events_than_a_sequence_number_can_name() -> None:
    with pytest.raises(Misconfigured):
        group_commit(MemoryLog(identity="x"), limits=CommitLimits(record_events_max=(1 << 20) + 1))


@pytest.mark.parametrize("limits", [CommitLimits(queue_events_max=3), CommitLimits(queue_size_bytes_max=30)])
async def test_past_a_full_queue_nothing_of_a_submission_is_taken(limits: CommitLimits) -> None:
    log = GatedLog()
    commit = group_commit(log, limits=limits)
    async with running(commit):
        waiting = submitting(commit, batch("a", "1"))
        await log.begun.acquire()
        waiting += submitting(commit, batch("a", "2"), batch("a", "3"))
        await asyncio.sleep(0)

        with pytest.raises(Unavailable, match="ingest queue is full"):
            await commit.submit(batch("a", "4", "5"))
        assert commit.queue_events == 2
        waiting += submitting(commit, batch("a", "6"))
        log.let_through(2)
        await asyncio.gather(*waiting)

        assert commit.queue_events == 0
    assert [each.times_us for record in await records(log) for each in record.batches] == [[1], [2, 3, 6]]


async def test_a_failed_append_fails_its_own_submissions_and_no_others() -> None:
    log = GatedLog()
    commit = group_commit(log)
    log.failures = [Full("No room.", retry_after_s=10)]
    async with running(commit):
        failing = submitting(commit, batch("a", "1"), batch("b", "2"))
        await log.begun.acquire()
        good = submitting(commit, batch("a", "3"))
        await asyncio.sleep(0)
        log.let_through(2)

        errors = [await outcome(each) for each in failing]

        assert await good[0] == Accepted(1, 0, START_US)
    for error in errors:
        assert isinstance(error, Full)
        assert (error.detail, error.retry_after_s) == ("No room.", 10)
    assert errors[0] is not errors[1]


async def test_on_a_closed_log_every_submission_is_unavailable() -> None:
    log = MemoryLog(identity="x")
    commit = group_commit(log)
    async with running(commit):
        await log.close()

        for waiting in submitting(commit, batch("a", "1"), batch("a", "2")):
            assert isinstance(await outcome(waiting), Unavailable)
        assert isinstance(await outcome(commit.submit(batch("a", "3"))), Unavailable)


async def test_a_submitter_that_gives_up_does_not_disturb_the_others() -> None:
    log = GatedLog()
    commit = group_commit(log)
    async with running(commit):
        early, *waiting = submitting(commit, batch("a", "1"), batch("a", "2"))
        await log.begun.acquire()
        late, last = submitting(commit, batch("a", "3"), batch("a", "4"))
        await asyncio.sleep(0)
        early.cancel()
        late.cancel()
        log.let_through(2)

        assert [place.first_index for place in await asyncio.gather(*waiting, last)] == [1, 1]
    assert [record.events for record in await records(log)] == [2, 2]


async def test_submitters_that_give_up_do_not_hide_a_failure_from_the_others() -> None:
    log = GatedLog()
    log.failures = [Unavailable("A fault.")]
    commit = group_commit(log)
    async with running(commit):
        gone, stays = submitting(commit, batch("a", "1"), batch("a", "2"))
        await log.begun.acquire()
        gone.cancel()
        log.let_through()

        assert isinstance(await outcome(stays), Unavailable)


async def test_appends_of_one_partition_never_overlap() -> None:
    log = GatedLog()
    commit = group_commit(log, limits=CommitLimits(record_events_max=1))
    async with running(commit):
        log.let_through(50)
        await asyncio.gather(*submitting(commit, *(batch("a", str(number)) for number in range(50))))

    assert len(await records(log)) == 50
    assert not log.overlapped


async def test_draining_waits_for_what_is_queued_and_takes_nothing_new() -> None:
    log = GatedLog()
    commit = group_commit(log)
    async with running(commit):
        waiting = submitting(commit, batch("a", "1"))
        await log.begun.acquire()
        waiting += submitting(commit, batch("a", "2"))
        await asyncio.sleep(0)
        drain = asyncio.ensure_future(commit.drain())
        await asyncio.sleep(0)

        with pytest.raises(Unavailable, match="shutting down"):
            await commit.submit(batch("a", "3"))
        log.let_through()
        await log.begun.acquire()
        assert not drain.done()
        log.let_through()
        await drain

        assert await log.end(0) == 2
        await asyncio.gather(*waiting)


async def test_draining_an_idle_commit_returns_at_once() -> None:
    commit = group_commit(MemoryLog(identity="x"))
    await commit.drain()
    async with running(commit):
        await commit.drain()


async def test_whoever_still_waits_when_it_is_cancelled_gets_an_answer() -> None:
    log = GatedLog()
    commit = group_commit(log)
    async with running(commit) as task:
        in_flight = submitting(commit, batch("a", "1"))
        await log.begun.acquire()
        queued = submitting(commit, batch("a", "2"))
        await asyncio.sleep(0)

        task.cancel()

        for waiting in in_flight + queued:
            assert isinstance(await outcome(waiting), Unavailable)
        with pytest.raises(Unavailable):
            await commit.submit(batch("a", "3"))
        await commit.drain()


async def test_an_error_nobody_expected_ends_the_task_and_leaves_nobody_waiting() -> None:
    log = GatedLog()
    log.failures = [ZeroDivisionError("a mistake")]
    log.let_through()
    commit = group_commit(log)
    async with running(commit) as task:
        [waiting] = submitting(commit, batch("a", "1"))

        assert isinstance(await outcome(waiting), AccrueError)
        with pytest.raises(ZeroDivisionError):
            await task


# Log time


async def log_times_us(clock: TwoFacedClock, last_us: int, *moves: tuple[int, float]) -> list[int]:
    """The log time of one record after each move of the wall clock (us) and the monotonic clock (s)."""
    log = MemoryLog(identity="x")
    commit = GroupCommit(log, clock, partition=0, last_log_time_us=last_us, limits=CommitLimits())
    found = []
    async with running(commit):
        for wall_us, passed_s in moves:
            clock.wall_us += wall_us
            clock.passed_s += passed_s
            found.append((await commit.submit(batch("a", "1"))).log_time_us)
    assert [record.log_time_us for record in await records(log)] == found
    return found


async def test_log_time_is_the_time_received() -> None:
    found = await log_times_us(TwoFacedClock(), 0, (0, 0), (5_000_000, 5), (1, 0.000_001))

    assert found == [START_US, START_US + 5_000_000, START_US + 5_000_001]


async def test_log_time_does_not_run_backwards_when_the_clock_does() -> None:
    found = await log_times_us(TwoFacedClock(), START_US + 10, (0, 0), (-HOUR_US, 1), (HOUR_US + 15, 1))

    assert found == [START_US + 10, START_US + 10, START_US + 15]


async def test_a_leap_of_the_clock_moves_log_time_by_the_limit_only() -> None:
    found = await log_times_us(TwoFacedClock(), START_US, (365 * 24 * HOUR_US, 0), (0, 2), (-365 * 24 * HOUR_US, 1))

    assert found == [START_US + HOUR_US, START_US + 2 * HOUR_US + 2_000_000, START_US + 2 * HOUR_US + 2_000_000]


async def test_a_quiet_partition_is_not_held_back() -> None:
    found = await log_times_us(TwoFacedClock(), START_US, (0, 0), (240 * HOUR_US, 240 * 3_600.0))

    assert found == [START_US, START_US + 240 * HOUR_US]


async def test_after_a_long_stop_log_time_catches_up_in_a_few_records() -> None:
    found = await log_times_us(TwoFacedClock(), START_US - 3 * HOUR_US - 7, *[(0, 0.0)] * 5)

    assert found == [START_US - 2 * HOUR_US - 7, START_US - HOUR_US - 7, START_US - 7, START_US, START_US]


async def test_a_new_partition_takes_the_clock_as_it_is() -> None:
    assert await log_times_us(TwoFacedClock(), 0, (0, 0.0)) == [START_US]


# The queue's own accounts


async def test_what_left_the_queue_in_parts_makes_room_in_it() -> None:
    log = GatedLog()
    limits = CommitLimits(record_events_max=1, queue_events_max=3, queue_size_bytes_max=30)
    commit = group_commit(log, limits=limits)
    async with running(commit):
        waiting = submitting(commit, batch("a", "1"), batch("a", "2"), batch("a", "3"))
        await log.begun.acquire()
        assert commit.queue_events == 2

        waiting += submitting(commit, batch("a", "4"))
        log.let_through()
        await log.begun.acquire()
        waiting += submitting(commit, batch("a", "5"))
        log.let_through(4)

        assert [place.position for place in await asyncio.gather(*waiting)] == [1, 2, 3, 4, 5]
