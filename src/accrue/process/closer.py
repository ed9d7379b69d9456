"""The closer: asks for the close of periods that are over.

It only appends `accrue.close` records; what closing means is the fold's business. So it may ask late, early after a
restart, or twice: the record's id follows from the period. A period closes a grace after its end, or after its first
event when that came later (history that is imported), so that what belongs to it can still arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import structlog

from accrue import crashpoints
from accrue.boards.base import BoardKey
from accrue.clock import Clock
from accrue.core.program import Program
from accrue.errors import AccrueError, Rejected
from accrue.process.state import TenantState
from accrue.process.worker import Worker

CHECK_S = 5.0
CLOSES_PER_ROUND_MAX = 1_000
"""For each tenant; the rest is closed in the next round."""
SLICE_PERIODS = 150
"""Periods looked at before the event loop gets its turn: less than two milliseconds, also when none is known yet."""

logger = structlog.get_logger("accrue.process")


class Span(NamedTuple):
    """The kind and the end of a period, and whether any board is kept for its kind. A period that a new program no
    longer has is of no kind."""

    kind: str
    end_us: int
    is_kept: bool


Due = tuple[int, str]
"""The end of a period and its id."""

Item = TypeVar("Item")


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
        self._spans: dict[str, tuple[Program, dict[str, Span]]] = {}  # by tenant

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
        for tenant, due in (await self._due()).items():
            for _, period in due:
                crashpoints.point("close 1: due, before it is asked for")
                await self._log.close_period(tenant, period)
                crashpoints.point("close 2: asked for")
                closed += 1
        for tenant, state in list(self._worker.world.tenants.items()):
            await self._let_go(tenant, state)
        return closed

    async def _due(self) -> dict[str, list[Due]]:
        """What is due by tenant, the longest over first, and no more than a round takes."""
        now_us, world = self._clock.now_us(), self._worker.world
        due: dict[str, list[Due]] = {}
        for some in _slices(list(world.periods.values())):
            found: dict[str, list[Due]] = {}
            for row in some:
                state = world.tenants.get(row.tenant)
                if state is None or row.closed or row.period == "all":
                    continue
                span = self._span(state, row.period)
                if span.is_kept and max(span.end_us, row.first_seen_us) + self._grace_us <= now_us:
                    found.setdefault(row.tenant, []).append((span.end_us, row.period))
            for tenant, periods in found.items():
                due[tenant] = sorted(due.get(tenant, []) + periods)[:CLOSES_PER_ROUND_MAX]
            await asyncio.sleep(0)
        return due

    async def _let_go(self, tenant: str, state: TenantState) -> None:
        """Drop the live boards of closed periods beyond what `keep` asks for. Their standings are in the book."""
        closed: dict[tuple[str, str], list[tuple[int, BoardKey]]] = {}
        for some in _slices(self._worker.publisher.live()):
            for key in some:
                row = self._worker.world.periods.get((tenant, key.period))
                if key.tenant == tenant and row is not None and row.closed and key.board in state.program.boards:
                    span = self._span(state, key.period)
                    closed.setdefault((key.board, span.kind), []).append((span.end_us, key))
            await asyncio.sleep(0)
        for (board, kind), keys in closed.items():
            described = state.program.boards.get(board)  # while a board was dropped, the program may have changed
            kept = described.keep.get(kind, 0) if described else 0
            for _, key in sorted(keys, reverse=True)[kept:]:
                await self._worker.publisher.drop(key)

    def _span(self, state: TenantState, period: str) -> Span:
        """What the program in force says of a period. Looked up once, because reading an id takes ten microseconds."""
        program, spans = self._spans.get(state.tenant, (None, {}))
        if program is not state.program:
            spans = {}
            self._spans[state.tenant] = state.program, spans
        span = spans.get(period)
        if span is None:
            span = spans[period] = _span(state.program, period)
        return span


def _span(program: Program, period: str) -> Span:
    try:
        found = program.calendar.parse(period)
    except Rejected:  # a range taken out, another zone
        return Span("", 0, False)
    kept = found.kind != "all" and any(found.kind in board.periods for board in program.boards.values())
    return Span(found.kind, found.end_us, kept)


def _slices(some: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(some), SLICE_PERIODS):
        yield some[start : start + SLICE_PERIODS]
