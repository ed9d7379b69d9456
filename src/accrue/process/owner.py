"""The owner: takes the partitions that nobody works on, says that it is alive, and stops working on what it lost.

Every `lease_s / 5`:

1. look at the rows of all partitions in the book (lookout.py); 2. begin to work on those that are free, up to its
share; 3. raise the heartbeat of each it works on: whoever is told that the epoch is another's stops at once.

While the book is out of reach nobody can take anything, so whoever works goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import structlog
from msgspec import Struct

from accrue.book.owning import Owned, Owners
from accrue.clock import Clock
from accrue.errors import AccrueError, Fenced, Unavailable
from accrue.process.lookout import Free, Lookout

LOOKS_PER_LEASE = 5
PAUSE_S = 10.0
"""After a partition could not be worked on it is left alone this long: others may be luckier. Not when a server was out
of reach: that is nobody's, and looked after with the next look."""

logger = structlog.get_logger("accrue.process")


class Shift(Struct, eq=False):
    """One time of working on a partition. `leaving` asks whoever works to settle, give the partition up and return;
    `works` is set by whoever works once the partition is caught up with."""

    partition: int
    seen: tuple[int, int]
    leaving: asyncio.Event
    epoch: int = 0
    works: bool = False

    def claimed(self, epoch: int) -> None:
        """To be called as soon as the partition is claimed: from then on it has a heartbeat."""
        self.epoch = epoch


class _Trouble(NamedTuple):
    reason: str
    epoch: int


Work = Callable[[Shift], Awaitable[None]]
"""Claims the partition and works on it until it is told to leave or raises what ended it."""


class Owner:
    """Runs beside everything else of a process. `partitions_max` is its share: 0 takes all it can get."""

    def __init__(
        self, owners: Owners, clock: Clock, work: Work, *, partitions: int, lease_s: float, partitions_max: int
    ) -> None:
        self._owners = owners
        self._clock = clock
        self._work = work
        self._look_s = lease_s / LOOKS_PER_LEASE
        self._share = partitions_max or partitions
        self._lookout = Lookout(partitions=partitions, lease_s=lease_s)
        self._shifts: dict[Shift, asyncio.Task[None]] = {}
        self._paused: dict[int, float] = {}
        self._leaving = False
        self._troubles: dict[int, _Trouble] = {}

    def troubles(self) -> dict[int, str]:
        """What keeps this process from working on partitions, for people: of those that nobody else has taken since."""
        working = {shift.partition for shift in self._shifts if shift.works}
        return {number: trouble.reason for number, trouble in self._troubles.items() if number not in working}

    async def run(self) -> None:
        """Until cancelled; then what it works on is cancelled, too."""
        try:
            while True:
                try:
                    rows = await self._owners.owners()
                except Unavailable as error:
                    logger.warning("the book does not say who owns what; it is asked again", reason=error.detail)
                    self._lookout.look_away()
                else:
                    self._forget(rows)
                    for free in self._lookout.look(rows, now_s=self._clock.monotonic_s()):
                        self._consider(free)
                    await asyncio.gather(*(self._beat(shift) for shift in list(self._shifts)))
                await asyncio.sleep(self._look_s)
        finally:
            for task in self._shifts.values():
                task.cancel()
            if self._shifts:
                await asyncio.wait(self._shifts.values())

    async def leave(self) -> None:
        """Give up everything: what is folded is settled first. Returns when that is done."""
        self._leaving = True
        for shift in self._shifts:
            shift.leaving.set()
        if self._shifts:
            await asyncio.wait(list(self._shifts.values()))

    def _forget(self, rows: Iterable[Owned]) -> None:
        """What is another's now is no trouble of ours."""
        mine = {shift.partition for shift in self._shifts}
        for row in rows:
            trouble = self._troubles.get(row.partition)
            if trouble is not None and row.partition not in mine and row.epoch > trouble.epoch:
                del self._troubles[row.partition]

    def _consider(self, free: Free) -> None:
        mine = {shift.partition for shift in self._shifts}
        if self._leaving or free.partition in mine or self._paused.get(free.partition, 0) > self._clock.monotonic_s():
            return
        if len(mine) >= self._share and not free.unwanted:
            return
        shift = Shift(free.partition, free.seen, asyncio.Event())
        self._shifts[shift] = asyncio.create_task(self._guarded(shift), name=f"partition {free.partition}")

    async def _guarded(self, shift: Shift) -> None:
        """Work until it ends; nothing that one partition ends with ends the others."""
        try:
            await self._work(shift)
            self._troubles.pop(shift.partition, None)
        except Fenced as error:
            logger.info("a partition is another worker's now", partition=shift.partition, reason=error.detail)
        except Unavailable as error:  # of a server, for everybody
            self._pause(shift, error.detail, self._look_s)
        except AccrueError as error:
            self._pause(shift, error.detail, PAUSE_S)
        except Exception as error:  # a defect of ours: another process, or version, may do better
            logger.exception("working on a partition failed", partition=shift.partition)
            self._pause(shift, f"{type(error).__name__}: {error}", PAUSE_S)
        finally:
            del self._shifts[shift]

    def _pause(self, shift: Shift, reason: str, pause_s: float) -> None:
        logger.error("a partition cannot be worked on; it is tried again", partition=shift.partition, reason=reason)
        self._troubles[shift.partition] = _Trouble(reason, max(shift.epoch, shift.seen[0]))
        self._paused[shift.partition] = self._clock.monotonic_s() + pause_s

    async def _beat(self, shift: Shift) -> None:
        if not shift.epoch:
            return
        try:
            await self._owners.beat(shift.partition, epoch=shift.epoch)
        except Fenced as error:
            if shift in self._shifts:
                logger.warning("lost a partition while working on it", partition=shift.partition, reason=error.detail)
                self._shifts[shift].cancel()
        except Unavailable as error:
            logger.warning("a heartbeat failed; it is tried again", partition=shift.partition, reason=error.detail)
