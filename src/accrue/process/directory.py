"""The directory: where the worker of each partition listens, as the book says. `run` keeps it fresh."""

from __future__ import annotations

import asyncio

import structlog

from accrue.book.owning import Owners
from accrue.clock import Clock
from accrue.errors import Unavailable
from accrue.process.base import Seat
from accrue.process.together import Looks

POLL_S = 1.0
LOOK_S = 0.2
"""Whoever finds an address wrong may have it looked up this often."""

logger = structlog.get_logger("accrue.process")


class Directory:
    """While the book is out of reach it stays what it was: an old address is better than none, and is found out."""

    def __init__(self, owners: Owners, clock: Clock) -> None:
        self._owners = owners
        self._looks = Looks(self.refresh, clock, every_s=LOOK_S)
        self._addresses: dict[int, str] = {}
        self._seats: list[Seat] = []

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except Unavailable as error:
                logger.warning("the book does not say who owns what", reason=error.detail)

    async def refresh(self) -> None:
        """Ask the book. Raises `Unavailable`."""
        rows = await self._owners.owners()
        self._addresses = {row.partition: row.address for row in rows}
        self._seats = [Seat(row.partition, row.epoch, row.heartbeat, bool(row.owner)) for row in rows]

    async def look(self) -> None:
        """Ask the book soon, because an address is missing or wrong. Raises `Unavailable`."""
        await self._looks.look()

    def address(self, partition: int) -> str:
        """The URL of the partition's worker; empty when it has none just now."""
        return self._addresses.get(partition, "")

    def is_silent(self, partition: int) -> bool:
        """Whether the partition's worker has no HTTP face, as an engine inside an application may not."""
        return not self.address(partition) and any(seat.partition == partition and seat.taken for seat in self._seats)

    def seats(self) -> list[Seat]:
        """Every partition that was ever claimed, as the book said last."""
        return self._seats
