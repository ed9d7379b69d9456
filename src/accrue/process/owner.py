"""The owner: takes the partitions that nobody works on, says that it is alive, and stops working on what it lost.

Every `lease_s / 5`:

1. raise the heartbeat of each partition it works on: whoever is told that the epoch is another's stops at once;
2. look at the rows of all partitions and workers in the book (lookout.py, attendance.py); 3. begin to work on those of
the free ones that are its share, or give one up (sharing.py); 4. say that it is there.

While the book is out of reach nobody can take anything, so whoever works goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

import structlog
from msgspec import Struct

from accrue.book.owning import Attending, Owned
from accrue.clock import Clock
from accrue.errors import AccrueError, Fenced, Unavailable
from accrue.process.attendance import Attendance
from accrue.process.lookout import Free, Lookout
from accrue.process.sharing import Colleague, shared_out, should_give_up

LOOKS_PER_LEASE = 5
PAUSE_S = 10.0
"""After a partition could not be worked on it is left alone this long: others may be luckier. Not when a server was out
of reach: that is nobody's, and looked after with the next look."""

WARY_S = 60.0
"""After a partition could not be worked on here, for whatever reason, others go first for this long: else the one
worker that cannot work would have the fewest, and be given more and more."""

logger = structlog.get_logger("accrue.process")


class Book(Protocol):
    """What this needs of a book; see `Owners`."""

    async def owners(self) -> list[Owned]:
        """Every partition that was ever claimed."""
        ...

    async def beat(self, partition: int, *, epoch: int) -> None:
        """Raise the heartbeat. Raises `Fenced` when the partition is another's."""
        ...

    async def attend(self, name: str, *, room: int, is_wary: bool) -> None:
        """Say that a worker is there."""
        ...

    async def attending(self) -> list[Attending]:
        """Every worker that has not departed."""
        ...

    async def depart(self, name: str) -> None:
        """Take a worker off the list."""
        ...


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
    """Runs beside everything else of a process. `name` is what it claims partitions as; it has room for
    `partitions_max`, 0: for all."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        work: Work,
        *,
        name: str,
        partitions: int,
        lease_s: float,
        partitions_max: int,
    ) -> None:
        self._book = book
        self._name = name
        self._clock = clock
        self._work = work
        self._look_s = lease_s / LOOKS_PER_LEASE
        self._room = partitions_max or partitions
        self._lookout = Lookout(partitions=partitions, lease_s=lease_s)
        self._attendance = Attendance(lease_s=lease_s)
        self._attending = asyncio.Lock()
        self._attended = False
        self._wary_until_s = 0.0
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
                    await self._look()
                except Unavailable as error:
                    logger.warning("the book does not say who owns what; it is asked again", reason=error.detail)
                    self._lookout.look_away()
                    self._attendance.look_away()
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
        async with self._attending:
            if self._attended:
                with suppress(AccrueError):  # then the others find out by themselves
                    await self._book.depart(self._name)
        if self._shifts:
            await asyncio.wait(list(self._shifts.values()))

    async def _look(self) -> None:
        """Once: the steps above."""
        # 1.
        await asyncio.gather(*(self._beat(shift) for shift in list(self._shifts)))
        # 2.
        rows, workers = await self._book.owners(), await self._book.attending()
        now_s = self._clock.monotonic_s()
        here = self._attendance.look(workers, now_s=now_s)
        self._forget(rows)
        # 3.
        mine = {shift.partition for shift in self._shifts}
        free = [each for each in self._lookout.look(rows, now_s=now_s) if each.partition not in mine]
        me = Colleague(self._name, len(mine), self._room, self._is_wary(now_s))
        others = self._others(rows, here, free)
        shares = shared_out(free, [me, *others])
        for each in free:
            if each.unwanted or shares.get(each.partition) == self._name:
                self._take(each)
        if not free and should_give_up(me, others):
            self._give_one_up()
        # 4.
        async with self._attending:
            if not self._leaving:
                await self._book.attend(self._name, room=self._room, is_wary=self._is_wary(now_s))
                self._attended = True
        for name in self._attendance.gone:
            await self._book.depart(name)

    def _is_wary(self, now_s: float) -> bool:
        """Whether others should go first: something is on its way here, or could not be worked on lately."""
        return now_s < self._wary_until_s or any(not shift.works for shift in self._shifts)

    def _others(self, rows: Iterable[Owned], here: Iterable[Attending], free: Iterable[Free]) -> list[Colleague]:
        """Who else is there: not whoever let a partition go silent."""
        silent = {each.partition for each in free if not each.given_up}
        apart = {row.owner for row in rows if row.partition in silent} | {self._name}
        held = Counter(row.owner for row in rows)
        return [
            Colleague(each.name, held[each.name], each.room, each.is_wary, each.heartbeat <= LOOKS_PER_LEASE)
            for each in here
            if each.name not in apart
        ]

    def _give_one_up(self) -> None:
        """One that is caught up with, and not while another is on its way out."""
        worked_on = [shift for shift in self._shifts if shift.works]
        if not worked_on or any(shift.leaving.is_set() for shift in self._shifts):
            return
        shift = max(worked_on, key=lambda each: each.partition)
        logger.info("giving a partition up to a worker that has fewer", partition=shift.partition)
        shift.leaving.set()

    def _forget(self, rows: Iterable[Owned]) -> None:
        """What is another's now is no trouble of ours."""
        mine = {shift.partition for shift in self._shifts}
        for row in rows:
            trouble = self._troubles.get(row.partition)
            if trouble is not None and row.partition not in mine and row.epoch > trouble.epoch:
                del self._troubles[row.partition]

    def _take(self, free: Free) -> None:
        if self._leaving or self._paused.get(free.partition, 0) > self._clock.monotonic_s():
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
        now_s = self._clock.monotonic_s()
        self._paused[shift.partition] = now_s + pause_s
        self._wary_until_s = now_s + WARY_S

    async def _beat(self, shift: Shift) -> None:
        if not shift.epoch:
            return
        try:
            await self._book.beat(shift.partition, epoch=shift.epoch)
        except Fenced as error:
            if shift in self._shifts:
                logger.warning("lost a partition while working on it", partition=shift.partition, reason=error.detail)
                self._shifts[shift].cancel()
        except Unavailable as error:
            logger.warning("a heartbeat failed; it is tried again", partition=shift.partition, reason=error.detail)
