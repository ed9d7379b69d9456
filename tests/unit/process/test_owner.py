"""Who takes which partition: of several processes that look at the same rows, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from accrue.book.owning import Owned, not_owned
from accrue.clock import ManualClock
from accrue.errors import Unavailable
from accrue.process.owner import Owner, Shift
from accrue.testing.loop import SimulatedLoop

LEASE_S = 5.0


class Rows:
    """The rows of a book that may be out of reach. What is not asked here a book does, and its own suite tests it."""

    def __init__(self) -> None:
        self.epochs, self.beats, self.names = [0], [0], [""]
        self.is_away = False

    async def owners(self) -> list[Owned]:
        await self._reach()
        return [
            Owned(number, self.names[number], epoch, self.beats[number], "") for number, epoch in enumerate(self.epochs)
        ]

    async def beat(self, partition: int, *, epoch: int) -> None:
        await self._reach()
        if self.epochs[partition] != epoch:
            raise not_owned(partition, epoch)
        self.beats[partition] += 1

    async def take(self, partition: int, name: str) -> int:
        await self._reach()
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


def _process(rows: Rows, name: str, *, log: asyncio.Event | None = None) -> asyncio.Task[None]:
    async def work(shift: Shift) -> None:
        if log is not None and not log.is_set():
            raise Unavailable("The log is away.")
        shift.claimed(await rows.take(shift.partition, name))
        await shift.leaving.wait()

    owner = Owner(rows, LoopClock(), work, partitions=1, lease_s=LEASE_S, partitions_max=0)  # type: ignore[arg-type]
    return asyncio.create_task(owner.run())


def test_a_worker_that_is_silent_for_a_lease_is_replaced() -> None:
    async def scenario() -> None:
        rows = Rows()
        first = _process(rows, "first")
        await asyncio.sleep(1)
        second = _process(rows, "second")
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
        first = _process(rows, "first")
        await asyncio.sleep(1)
        others = []
        for number in range(5):  # each looks at another moment
            others.append(_process(rows, f"other {number}"))
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
        only = _process(rows, "only", log=log)
        await asyncio.sleep(10 * LEASE_S + 0.5)
        assert rows.epochs == [0]
        log.set()
        await asyncio.sleep(2.5)
        assert (rows.names, rows.epochs) == (["only"], [1])
        only.cancel()

    _simulated(scenario)
