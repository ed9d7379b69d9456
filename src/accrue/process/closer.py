"""The closer: asks for the close of periods that are over.

It only appends `accrue.close` records; what closing means is the fold's business. So it may ask late, early after a
restart, or twice: the record's id follows from the period. A period closes a grace after its end, or after its first
event when that came later (history that is imported), so that what belongs to it can still arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

import structlog

from accrue.boards.base import BoardKey
from accrue.clock import Clock
from accrue.core.period import Period
from accrue.errors import AccrueError, Rejected
from accrue.process.state import TenantState
from accrue.process.worker import Worker

CHECK_S = 5.0
CLOSES_PER_ROUND_MAX = 1_000

logger = structlog.get_logger("accrue.process")


class CanClose(Protocol):
    """Whoever can put a close into the log."""

    def close_period(self, tenant: str, period: str) -> Awaitable[object]:
        """Append the close; done once it is durable. Closing twice is harmless."""
        ...


class Closer:
    """Runs beside the worker. Cancel it before the way into the log is closed."""

    def __init__(self, worker: Worker, log: CanClose, clock: Clock, *, grace_us: int) -> None:
        self._worker = worker
        self._log = log
        self._clock = clock
        self._grace_us = grace_us

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            try:
                await self.close_due()
            except AccrueError as error:
                logger.warning("closing periods failed; it is tried again", reason=error.detail)
            await asyncio.sleep(CHECK_S)

    async def close_due(self) -> int:
        """Ask for the close of every period that is due, and return how many that were."""
        closed = 0
        for tenant, state in list(self._worker.world.tenants.items()):
            for period in self._due(tenant, state)[:CLOSES_PER_ROUND_MAX]:
                await self._log.close_period(tenant, period)
                closed += 1
            await self._let_go(tenant, state)
        return closed

    def _due(self, tenant: str, state: TenantState) -> list[str]:
        now_us = self._clock.now_us()
        kinds = {kind for board in state.program.boards.values() for kind in board.periods} - {"all"}
        due = []
        for (owner, period), row in self._worker.world.periods.items():
            if owner == tenant and not row.closed and period != "all":
                found = _period(state, period)
                if found is None or found.kind not in kinds:
                    continue
                if max(found.end_us, row.first_seen_us) + self._grace_us <= now_us:
                    due.append((found.end_us, period))
        return [period for _, period in sorted(due)]

    async def _let_go(self, tenant: str, state: TenantState) -> None:
        """Drop the live boards of closed periods beyond what `keep` asks for. Their standings are in the book."""
        closed: dict[tuple[str, str], list[tuple[int, BoardKey]]] = {}
        for key in self._worker.publisher.live():
            row = self._worker.world.periods.get((tenant, key.period))
            if key.tenant == tenant and row is not None and row.closed and key.board in state.program.boards:
                found = _period(state, key.period)
                kind, ended = (found.kind, found.end_us) if found is not None else ("", 0)
                closed.setdefault((key.board, kind), []).append((ended, key))
        for (board, kind), keys in closed.items():
            described = state.program.boards.get(board)  # while a board was dropped, the program may have changed
            kept = described.keep.get(kind, 0) if described else 0
            for _, key in sorted(keys, reverse=True)[kept:]:
                await self._worker.publisher.drop(key)


def _period(state: TenantState, id: str) -> Period | None:
    """A period that was counted in; None when a new program no longer has it (a range taken out, another zone)."""
    try:
        return state.program.calendar.parse(id)
    except Rejected:
        return None
