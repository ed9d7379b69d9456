"""Folds events through the whole engine: door, group commit, log, fold, settlement, book and boards.

Deliveries with copies also settle all the time and keep next to nothing in memory, so that what is read has been
to the book and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from accrue import Accrue
from accrue.boards.base import BoardKey
from accrue.config import DEFAULT_TENANT, Config, ProcessConfig
from accrue.core.ranking import Standing
from accrue.core.streak import NONE, Streak
from accrue.core.table import TableKey
from accrue.core.tally import decimal_value

IN_FLIGHT = 64
"""Requests under way at once. They are sent in order, and the group commit keeps it."""

FORGETFUL = ProcessConfig(settle_interval_s=0.05, entries_in_memory_max=200)
"""Settles twenty times a second and forgets what it settled."""


class Awarded(NamedTuple):
    badge: str
    level: str
    subject: str
    holder: str
    time_us: int


class Folded:
    """One engine with one program. Amounts are numbers as people write them; absent subjects are None."""

    def __init__(self, program: Path, *, copies: int, batch: int) -> None:
        self._copies, self._batch = copies, batch
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        process = FORGETFUL if copies > 1 else ProcessConfig()
        opening = Accrue.open(Config(data_dir=None, program=program, process=process))
        self._accrue = self._runner.run(self._stack.enter_async_context(opening))
        self.program = self._accrue.parts.live.program(DEFAULT_TENANT)

    def close(self) -> None:
        """Settle and stop."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def feed(self, events: Iterable[bytes]) -> None:
        """Fold these events as well. What is read afterwards has all of them."""
        self._runner.run(self._feed(iter(events)))

    async def _feed(self, remaining: Iterable[bytes]) -> None:
        flying: list[asyncio.Task[int]] = []
        position = 0
        async with asyncio.TaskGroup() as tasks:
            while some := list(islice(remaining, self._batch)):
                for _ in range(self._copies):
                    flying.append(tasks.create_task(self._send(b"\n".join(some))))
                if len(flying) >= IN_FLIGHT:
                    position = max([await task for task in flying])
                    flying.clear()
        position = max([position, *(task.result() for task in flying)])
        await self._accrue.parts.live.applied(DEFAULT_TENANT, position, timeout_s=60)

    async def _send(self, body: bytes) -> int:
        receipt = await self._accrue.send(body)
        refused = [result for result in receipt.results if result.status != "accepted"]
        assert not refused
        assert receipt.position is not None
        return receipt.position

    def tally(self, metric: str, period: str, subject: str) -> Decimal | int | None:
        """One number, None when there is none."""
        return self.tallies(metric, period).get(subject)

    def tallies(self, metric: str, period: str) -> dict[str, Decimal | int]:
        """Every number of a metric in a period."""

        async def collect() -> dict[str, Decimal | int]:
            scale = self.program.metrics[metric].scale
            return {
                subject: decimal_value(value, scale) if scale else value
                async for rows in self._accrue.parts.live.tallies(DEFAULT_TENANT, metric, period)
                for subject, value in rows
            }

        return self._runner.run(collect())

    def awards(self) -> list[Awarded]:
        """Every award that is held."""

        async def collect() -> list[Awarded]:
            return [
                Awarded(row.badge, row.level, row.subject, row.holder, row.time_us)
                async for rows in self._accrue.parts.live.awards(DEFAULT_TENANT)
                for row in rows
            ]

        return self._runner.run(collect())

    def streak(self, name: str, subject: str) -> Streak:
        """A subject's streak."""
        cells = self._runner.run(self._accrue.parts.live.cells(DEFAULT_TENANT, subject, ["all"]))
        found = cells.get(TableKey("streak", name, ""), NONE)
        assert isinstance(found, Streak)
        return found

    def standings(self, board: str, period: str) -> list[Standing]:
        """Best first, equal rows sharing a rank (1224)."""

        async def read() -> list[Standing]:
            parts = self._accrue.parts
            await parts.live.ensure_board(DEFAULT_TENANT, self.program.boards[board], period)
            key = BoardKey(DEFAULT_TENANT, board, period)
            if not await parts.boards.has(key):
                return []
            now_us = parts.clock.now_us()
            page = await parts.boards.page(
                key, limit=100_000, offset=0, cursor=None, style="competition", now_us=now_us
            )
            return page.standings

        return self._runner.run(read())

    def counts(self) -> dict[str, int]:
        """What became of the events, the one that brought the program left out."""
        counts = self._accrue.parts.live.status().events[DEFAULT_TENANT]
        return {
            "applied": counts.applied - 1,
            "repeated": counts.repeated,
            "failed": counts.failed + counts.conflicting,
            "unmatched": counts.unmatched,
        }
