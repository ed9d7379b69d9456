"""Who takes which partition: of several processes that look at the same rows, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from accrue.book.owning import Attending, Owned, check_seen, not_owned
from accrue.clock import ManualClock
from accrue.errors import Unavailable
from accrue.process.owner import Owner, Shift
from accrue.testing.loop import SimulatedLoop

LEASE_S = 5.0


class Rows:
    """The rows of a book that may be out of reach. What is not asked here a book does, and its own suite tests it."""

    def __init__(self, partitions: int = 1) -> None:
        self.epochs, self.beats, self.names = [0] * partitions, [0] * partitions, [""] * partitions
        self.workers: dict[str, Attending] = {}
        self.is_away = False
        self.stalls_at_s = -1.0

    async def owners(self) -> list[Owned]:
        await self._reach()
        if 0 <= self.stalls_at_s <= asyncio.get_running_loop().time():
            self.stalls_at_s = -1.0
            await asyncio.sleep(2.3)
            raise Unavailable("The book did not answer in time.")
        return [
            Owned(number, self.names[number], epoch, self.beats[number], "") for number, epoch in enumerate(self.epochs)
        ]

    async def beat(self, partition: int, *, epoch: int) -> None:
        await self._reach()
        if self.epochs[partition] != epoch:
            raise not_owned(partition, epoch)
        self.beats[partition] += 1

    async def attend(self, name: str, *, room: int, is_wary: bool) -> None:
        await self._reach()
        before = self.workers[name].heartbeat if name in self.workers else 0
        self.workers[name] = Attending(name, before + 1, room, is_wary)

    async def attending(self) -> list[Attending]:
        await self._reach()
        return sorted(self.workers.values())

    async def depart(self, name: str) -> None:
        await self._reach()
        self.workers.pop(name, None)

    def release(self, partition: int) -> None:
        self.names[partition] = ""

    def counts(self) -> dict[str, int]:
        return {name: self.names.count(name) for name in sorted(set(self.names))}

    async def take(self, partition: int, name: str, seen: tuple[int, int]) -> int:
        await self._reach()
        check_seen(partition, (self.epochs[partition], self.beats[partition]), seen)
        self.epochs[partition] += 1
        self.names[partition] = name
        return self.epochs[partition]

    async def _reach(self) -> None:
        if self.is_away:
            await asyncio.sleep(2)
            raise Unavailable("The book is away.")


class LoopClock(ManualClock):
    """The simulated loop's."""

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


def _simulated(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(scenario())


class Process:
    """A worker, which catches up for `starts_s` and settles for `settles_s`. `fails` is why it cannot work on anything;
    `moved_s` when it gave partitions up."""

    def __init__(
        self,
        rows: Rows,
        name: str,
        *,
        log: asyncio.Event | None = None,
        room: int = 0,
        fails: Exception | None = None,
        lease_s: float = LEASE_S,
        starts_s: float = 0.0,
        settles_s: float = 0.0,
    ) -> None:
        self.fails = fails
        self.moved_s: list[float] = []

        async def work(shift: Shift) -> None:
            if log is not None and not log.is_set():
                raise Unavailable("The log is away.")
            shift.claimed(await rows.take(shift.partition, name, shift.seen))
            if self.fails is not None:
                raise self.fails
            await asyncio.sleep(starts_s)
            shift.works = True
            await shift.leaving.wait()
            await asyncio.sleep(settles_s)
            self.moved_s.append(asyncio.get_running_loop().time())
            rows.release(shift.partition)

        self.owner = Owner(
            rows,
            LoopClock(),
            work,
            name=name,
            partitions=len(rows.epochs),
            lease_s=lease_s,
            partitions_max=room,
        )
        self._running = asyncio.create_task(self.owner.run())

    def cancel(self) -> None:
        self._running.cancel()

    async def leave(self) -> None:
        await self.owner.leave()
        self._running.cancel()


def test_a_worker_that_is_silent_for_a_lease_is_replaced() -> None:
    async def scenario() -> None:
        rows = Rows()
        first = Process(rows, "first")
        await asyncio.sleep(1)
        second = Process(rows, "second")
        await asyncio.sleep(10 * LEASE_S)
        assert (rows.names, rows.epochs) == (["first"], [1])
        first.cancel()
        await asyncio.sleep(LEASE_S + 2)
        assert (rows.names, rows.epochs) == (["second"], [2])
        second.cancel()

    _simulated(scenario)


def test_nobody_is_taken_for_dead_because_the_book_was_away() -> None:
    async def scenario() -> None:
        rows = Rows()
        first = Process(rows, "first")
        await asyncio.sleep(1)
        others = []
        for number in range(5):  # each looks at another moment
            others.append(Process(rows, f"other {number}"))
            await asyncio.sleep(0.19)
        for away_s in (1.0, 3.3, 4.9, LEASE_S, 2.4 * LEASE_S, 20 * LEASE_S):
            await asyncio.sleep(2 * LEASE_S + 0.37)
            rows.is_away = True
            await asyncio.sleep(away_s)
            rows.is_away = False
        await asyncio.sleep(2 * LEASE_S)
        assert (rows.names, rows.epochs) == (["first"], [1])
        for task in (first, *others):
            task.cancel()

    _simulated(scenario)


def test_a_partition_is_taken_as_soon_as_the_log_is_back() -> None:
    async def scenario() -> None:
        rows, log = Rows(), asyncio.Event()
        only = Process(rows, "only", log=log)
        await asyncio.sleep(10 * LEASE_S + 0.5)
        assert rows.epochs == [0]
        log.set()
        await asyncio.sleep(2.5)
        assert (rows.names, rows.epochs) == (["only"], [1])
        only.cancel()

    _simulated(scenario)


def test_a_worker_that_joins_later_gets_its_share_one_partition_after_the_other() -> None:
    async def scenario() -> None:
        rows = Rows(8)
        first = Process(rows, "first", settles_s=2.5)
        await asyncio.sleep(2 * LEASE_S)
        assert rows.counts() == {"first": 8}
        second = Process(rows, "second")
        await asyncio.sleep(5 * LEASE_S)
        assert rows.counts() == {"first": 4, "second": 4}
        assert all(after - before >= 2.5 for before, after in zip(first.moved_s, first.moved_s[1:], strict=False))
        third = Process(rows, "third")
        await asyncio.sleep(4 * LEASE_S)
        assert sorted(rows.counts().values()) == [2, 3, 3]
        epochs = list(rows.epochs)
        await asyncio.sleep(20 * LEASE_S)
        assert rows.epochs == epochs  # nothing moves any more
        for each in (first, second, third):
            each.cancel()

    _simulated(scenario)


def test_what_a_dead_worker_had_is_shared_by_those_that_are_left() -> None:
    async def scenario() -> None:
        rows = Rows(12)
        processes = [Process(rows, name) for name in ("a", "b", "c")]
        await asyncio.sleep(8 * LEASE_S)
        assert rows.counts() == {"a": 4, "b": 4, "c": 4}
        processes[0].cancel()
        await asyncio.sleep(LEASE_S + 2.5)
        assert rows.counts() == {"b": 6, "c": 6}
        await asyncio.sleep(30 * LEASE_S)
        assert list(rows.workers) == ["b", "c"]
        for each in processes:
            each.cancel()

    _simulated(scenario)


def test_what_a_worker_leaves_on_purpose_is_taken_at_once() -> None:
    async def scenario() -> None:
        rows = Rows(6)
        first, second = Process(rows, "first"), Process(rows, "second")
        await asyncio.sleep(4 * LEASE_S)
        assert rows.counts() == {"first": 3, "second": 3}
        await first.leave()
        await asyncio.sleep(LEASE_S / 5 + 0.1)
        assert rows.counts() == {"second": 6}
        assert list(rows.workers) == ["second"]
        second.cancel()

    _simulated(scenario)


def test_one_that_was_killed_and_starts_again_does_not_hold_up_what_it_had() -> None:
    for back_after_s in (0.1, 0.5 * LEASE_S, 0.9 * LEASE_S):

        async def scenario(back_after_s: float = back_after_s) -> None:
            rows = Rows(12)
            processes = [Process(rows, name) for name in ("a", "b", "c")]
            await asyncio.sleep(10 * LEASE_S)
            processes[0].cancel()
            await asyncio.sleep(back_after_s)
            processes.append(Process(rows, "a again"))
            await asyncio.sleep(LEASE_S + 2 * LEASE_S / 5 - back_after_s)
            assert "a" not in rows.counts()
            await asyncio.sleep(8 * LEASE_S)
            assert rows.counts() == {"a again": 4, "b": 4, "c": 4}
            for each in processes:
                each.cancel()

        _simulated(scenario)


def test_nothing_moves_because_the_book_was_away_though_a_dead_worker_is_on_the_list() -> None:
    async def scenario() -> None:
        rows = Rows(9)
        processes = [Process(rows, name) for name in ("a", "b", "c", "d")]
        await asyncio.sleep(10 * LEASE_S)
        processes.pop().cancel()
        await asyncio.sleep(3 * LEASE_S)
        before = list(rows.names), list(rows.epochs)
        for _ in range(5):
            rows.is_away = True
            await asyncio.sleep(3.1)
            rows.is_away = False
            await asyncio.sleep(LEASE_S)
        assert (rows.names, rows.epochs) == before
        for each in processes:
            each.cancel()

    _simulated(scenario)


def test_many_workers_give_a_new_one_no_more_than_its_share() -> None:
    async def scenario() -> None:
        rows = Rows(40)
        processes = [Process(rows, f"w{number}") for number in range(10)]
        await asyncio.sleep(20 * LEASE_S)
        assert set(rows.counts().values()) == {4}
        epochs = sum(rows.epochs)
        processes.append(Process(rows, "new"))
        await asyncio.sleep(20 * LEASE_S)
        assert rows.counts()["new"] == 3
        assert sum(rows.epochs) - epochs == 3
        for each in processes:
            each.cancel()

    _simulated(scenario)


def test_a_worker_that_takes_long_to_start_is_given_the_next_one_only_after_that() -> None:
    async def scenario() -> None:
        rows = Rows(8)
        first = Process(rows, "first")
        await asyncio.sleep(2 * LEASE_S)
        second = Process(rows, "second", starts_s=2 * LEASE_S)
        await asyncio.sleep(15 * LEASE_S)
        assert rows.counts() == {"first": 4, "second": 4}
        gaps = [after - before for before, after in zip(first.moved_s, first.moved_s[1:], strict=False)]
        assert min(gaps) > LEASE_S
        first.cancel()
        second.cancel()

    _simulated(scenario)


def test_a_book_that_is_slow_once_costs_nobody_a_partition() -> None:
    lease_s = 3.0  # with which one look less between two beats is too much
    for phase in range(10):

        async def scenario(phase: int = phase) -> None:
            rows, began_s = Rows(1), asyncio.get_running_loop().time()
            first = Process(rows, "first", lease_s=lease_s)
            await asyncio.sleep(0.05 * phase)
            second = Process(rows, "second", lease_s=lease_s)
            await asyncio.sleep(3 * lease_s)
            rows.stalls_at_s = began_s + 3.2 * lease_s - 0.02  # the first one looks next
            await asyncio.sleep(4 * lease_s)
            assert (rows.names, rows.epochs) == (["first"], [1])
            first.cancel()
            second.cancel()

        _simulated(scenario)


def test_nobody_is_given_more_than_it_has_room_for_but_what_nobody_takes() -> None:
    async def scenario() -> None:
        rows = Rows(8)
        small, large = Process(rows, "small", room=1), Process(rows, "large")
        await asyncio.sleep(8 * LEASE_S)
        assert rows.counts() == {"large": 7, "small": 1}
        large.cancel()
        await asyncio.sleep(3 * LEASE_S)
        assert rows.counts() == {"small": 8}
        large = Process(rows, "large again")
        await asyncio.sleep(20 * LEASE_S)
        assert rows.counts() == {"large again": 7, "small": 1}
        small.cancel()
        large.cancel()

    _simulated(scenario)


@pytest.mark.parametrize("error", [Unavailable("Its line to the log is cut."), ValueError("a defect")])
def test_a_worker_that_cannot_work_is_not_given_one_partition_after_the_other(error: Exception) -> None:
    async def scenario() -> None:
        rows = Rows(8)
        good = Process(rows, "good")
        await asyncio.sleep(2 * LEASE_S)
        bad = Process(rows, "bad", fails=error)
        await asyncio.sleep(50)  # less than what it is wary for
        assert len(good.moved_s) == 1
        assert rows.counts() == {"good": 8}
        bad.fails = None
        await asyncio.sleep(100)
        assert rows.counts() == {"bad": 4, "good": 4}
        good.cancel()
        bad.cancel()

    _simulated(scenario)
