"""Where a process works on the partitions it has: one shift a partition, from the claim to giving it up."""

from __future__ import annotations

import asyncio

import structlog
from msgspec.structs import replace

from accrue import ids
from accrue.backends import SharedBook
from accrue.boards.base import Boards
from accrue.clock import Clock
from accrue.config import Config
from accrue.errors import Unavailable
from accrue.ingest.accept import Acceptor
from accrue.log.base import Log
from accrue.process.afar import Programs
from accrue.process.base import Status
from accrue.process.closer import Closer
from accrue.process.kept import KeptState
from accrue.process.live import LiveState
from accrue.process.owner import Shift
from accrue.process.retention_alarm import watch_retention
from accrue.process.routed import Here
from accrue.process.settings import limits_of, memory_of
from accrue.process.worker import Worker
from accrue.wiring import caught_up, stopped

logger = structlog.get_logger("accrue.node")


class Site:
    """Where the shifts of this process work. `name` is what it claims partitions as."""

    def __init__(
        self,
        config: Config,
        log: Log,
        book: SharedBook,
        boards: Boards,
        clock: Clock,
        acceptor: Acceptor,
        programs: Programs,
        here: dict[int, Here],
        address: str,
    ) -> None:
        self._config, self._log, self._book, self._boards, self._clock = config, log, book, boards, clock
        self._acceptor, self._programs, self._here, self._address = acceptor, programs, here, address
        self.name = ids.identity()
        self._workers: dict[int, Worker] = {}

    def statuses(self) -> dict[int, Status]:
        """Of every partition that is worked on here, or caught up with."""
        return {partition: worker.status() for partition, worker in self._workers.items()}

    async def settle(self) -> None:
        """Settle every partition that is worked on here."""
        for worker in list(self._workers.values()):
            await worker.settle()

    async def work(self, shift: Shift) -> None:
        """Work on a partition. See `Work` in owner.py.

        1. claim; 2. catch up with the log; 3. answer reads and close periods, until told to leave or ended;
        4. when told to leave, settle and give it up.
        """
        partition = shift.partition
        worker = Worker(
            self._log,
            self._book,
            self._boards,
            self._clock,
            partition=partition,
            memory=memory_of(self._config.process, shares=self._config.partitions),
            limits=replace(limits_of(self._config.process), shared=True),
            on_claim=shift.claimed,
        )
        # 1.
        await worker.start(owner=self.name, address=self._address, seen=shift.seen)
        logger.info("working on a partition", partition=partition, epoch=shift.epoch)
        self._workers[partition] = worker
        work = asyncio.create_task(worker.run(), name=f"worker {partition}")
        leaving = asyncio.create_task(shift.leaving.wait())
        catching_up = closing = watching = None
        try:
            # 2.
            catching_up = asyncio.create_task(caught_up(worker, await self._log.end(partition), work))
            await asyncio.wait([catching_up, leaving], return_when=asyncio.FIRST_COMPLETED)
            if catching_up.done():
                catching_up.result()
                # 3.
                self._here[partition] = Here(
                    LiveState(worker, self._book), KeptState(worker, self._book, self._log, partition=partition)
                )
                shift.works = True
                grace_us = round(self._config.process.close_grace_min * 60_000_000)
                closer = Closer(worker, self._acceptor, self._clock, grace_us=grace_us)
                closing = asyncio.create_task(closer.run(), name=f"closer {partition}")
                watching = asyncio.create_task(watch_retention(worker, self._log, self._clock), name="retention")
                await asyncio.wait([work, closing, watching, leaving], return_when=asyncio.FIRST_COMPLETED)
            await stopped(catching_up)
            for part in (work, closing, watching):
                if part is not None and part.done():
                    part.result()
                    raise Unavailable("A part of the worker has stopped.")
            # 4.
            await worker.settle()
            await stopped(work)
            await self._book.release(partition, epoch=shift.epoch)
        finally:
            if partition in self._here:
                self._programs.learn(self._here.pop(partition).live)
            self._workers.pop(partition, None)
            for task in (leaving, catching_up, work, closing, watching):
                if task is not None:
                    await stopped(task)
