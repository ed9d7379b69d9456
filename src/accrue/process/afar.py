"""The state of tenants that another process works on: what the book has, and what the shared boards show.

    AfarLive       reads of a gateway: shared boards as they are, everything else as it was settled
    KeptAfar       what is kept aside; only the versions of programs are read here, the rest is the owner's to answer

Programs are polled: a worker settles at once when it folded a new one, so a gateway knows it a second later. A tenant
that is not known is looked for before anybody is told that there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from math import inf

import structlog
from msgspec import Struct

from accrue.boards.base import ReadBoards
from accrue.book.base import AwardRow, Book, ConflictRow, FailedRow, ProgramRow
from accrue.clock import Clock
from accrue.core.decide import Remembers
from accrue.core.program import Program
from accrue.core.reader import read
from accrue.core.rule import Board
from accrue.core.table import TableKey
from accrue.errors import Elsewhere, NotFound, Unavailable
from accrue.log.base import Position
from accrue.process.base import FinalStandings, Live, Status
from accrue.process.results import BoardPeriod, Closed
from accrue.process.state import TenantState
from accrue.process.together import Looks, Together

POLL_S = 1.0
"""How old a gateway's list of programs may be, and what it says of tenants that there are not."""
FIND_S = 0.2
"""For tenants that are not known the book is asked this often, whatever names come."""
MISSES_MAX = 10_000
"""So many names are remembered as those of no tenant."""
LOOK_S = 0.02
"""While somebody waits for a position, the boards' mark is looked at this often."""
AGAIN_S = 0.5
"""A worker that could not say what became of a record is asked again after this, or when the boards show it."""

logger = structlog.get_logger("accrue.process")


class Known(Struct, frozen=True):
    """A tenant's program in force, as far as the book says."""

    version: int
    tzdata: str
    state: TenantState


class Programs:
    """The programs of all tenants, as the book has them. `run` keeps them fresh."""

    def __init__(self, book: Book, clock: Clock) -> None:
        self._book = book
        self._known: dict[str, Known] = {}
        self._one_at_a_time = asyncio.Lock()
        self._now_s = clock.monotonic_s
        self._looks = Looks(self.refresh, clock, every_s=FIND_S)
        self._missed: dict[str, float] = {}  # until when a tenant is not looked for again; the oldest first

    async def run(self) -> None:
        """Refresh for ever. While the book is out of reach the programs stay what they were."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except Unavailable as error:
                logger.warning("the book does not say which programs there are", reason=error.detail)

    async def refresh(self) -> None:
        """Read those that are new since the last time. Raises `Unavailable`."""
        async with self._one_at_a_time:
            for tenant, version in (await self._book.versions()).items():
                known = self._known.get(tenant)
                if known is None or known.version != version:
                    row = (await self._book.programs(tenant))[-1]
                    program = read(row.text)
                    state = TenantState(tenant, program, partial=(), remembers=_NOTHING)
                    self._known[tenant] = Known(row.version, row.tzdata, state)
                    await asyncio.sleep(0)

    async def find(self, tenant: str) -> None:
        """See to it that the tenant is known, if there is one. Raises `Unavailable` when the book does not say."""
        if tenant in self._known or self._missed.get(tenant, -inf) > self._now_s():
            return
        await self._looks.look()
        self._missed.pop(tenant, None)
        if tenant not in self._known:
            if len(self._missed) >= MISSES_MAX:
                del self._missed[next(iter(self._missed))]
            self._missed[tenant] = self._now_s() + POLL_S

    def learn(self, live: Live) -> None:
        """Know the tenants of a partition that was worked on here: what is too new for the book stays known."""
        for tenant in live.tenants():
            if tenant not in self._known:
                state = TenantState(tenant, live.program(tenant), partial=(), remembers=_NOTHING)
                self._known[tenant] = Known(0, live.tzdata(tenant), state)

    def tenants(self) -> list[str]:
        """By name."""
        return sorted(self._known)

    def of(self, tenant: str) -> Known:
        """Raises `NotFound` naming the nearest tenant."""
        known = self._known.get(tenant)
        if known is None:
            close = get_close_matches(tenant, self.tenants(), n=1)
            raise NotFound(f"There is no tenant {tenant!r}.", field="tenant", nearest=close[0] if close else None)
        return known


Ensure = Callable[[TenantState, Board, str], Awaitable[None]]
"""Sees to it that the boards hold a board in a period, if they should. The state has nothing but the program."""


Ask = Callable[[str, Position], Awaitable[bytes | None]]
"""Asks the tenant's worker what became of a record: see `Live.outcomes`. Raises `Unavailable` when it does not say."""


async def nobody(_: str, __: Position) -> bytes | None:
    """Where other processes cannot be asked."""
    raise Unavailable("Other processes are not asked here.")


class AfarLive:
    """`Live` over the book. `ensure` is asked before each read of a board, `ask` for what only the worker knows."""

    def __init__(
        self, programs: Programs, book: Book, boards: ReadBoards, clock: Clock, *, ensure: Ensure, ask: Ask = nobody
    ) -> None:
        self._programs = programs
        self._book = book
        self._boards = boards
        self._clock = clock
        self._ensure = ensure
        self._ask = ask
        self._asked: Together[tuple[str, Position], bytes | None] = Together()

    def tenants(self) -> list[str]:
        return self._programs.tenants()

    async def find(self, tenant: str) -> None:
        """See `Programs.find`."""
        await self._programs.find(tenant)

    def program(self, tenant: str) -> Program:
        return self._programs.of(tenant).state.program

    def tzdata(self, tenant: str) -> str:
        return self._programs.of(tenant).tzdata

    async def knows(self, tenant: str, text: str, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while tenant not in self.tenants() or self.program(tenant).text != text:
                    await asyncio.sleep(LOOK_S)
                    await self._programs.refresh()
        except TimeoutError:
            raise Unavailable("The program is in the log, and not in force yet: no worker has come to it.") from None

    async def cells(self, tenant: str, subject: str, periods: list[str]) -> dict[TableKey, object]:
        found = await self._book.load(tenant, [subject], periods)
        state = TenantState(tenant, self.program(tenant), partial=["all", *periods], remembers=_NOTHING)
        state.fill(found, [subject], ["all", *periods])
        wanted = {*periods}
        return {key: value for key, value in state.of_subject(subject) if key.kind != "tally" or key.part in wanted}

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        return await self._book.holdings(tenant, holder)

    async def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[tuple[str, int]]]:
        async for rows in self._book.tallies(tenant, metric, period):
            yield [(row.subject, row.value) for row in rows]

    async def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        async for rows in self._book.awards(tenant):
            yield rows

    async def results(self, tenant: str, board: str, period: str) -> FinalStandings | None:
        state = self._programs.of(tenant).state
        if state.program.calendar.parse(period).end_us > self._clock.now_us():
            return None
        members = await self._book.results_count(tenant, board, period)
        key = BoardPeriod(tenant, board, period)
        return Closed(self._book, state, key, closed=0, members=members, waiting=None) if members else None

    async def ensure_board(self, tenant: str, board: Board, period: str) -> None:
        await self._ensure(self._programs.of(tenant).state, board, period)

    async def applied(self, tenant: str, position: Position, *, timeout_s: float) -> Position:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._shown(tenant, position) if position else 0
        except TimeoutError:
            raise Unavailable(f"Position {position} is not applied yet: the boards are not there.") from None

    async def _shown(self, tenant: str, position: Position) -> Position:
        """How far the boards are, once they are there."""
        while True:
            (mark,) = await self._boards.marks([tenant])
            if mark is not None and mark.position >= position:
                return mark.position
            await asyncio.sleep(LOOK_S)

    async def outcomes(self, tenant: str, position: Position, *, timeout_s: float) -> bytes | None:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._asked.ask((tenant, position), lambda: self._became(tenant, position))
        except TimeoutError:
            raise Unavailable(f"Position {position} is not applied yet: no worker has come to it.") from None

    async def _became(self, tenant: str, position: Position) -> bytes | None:
        """1. ask the worker; 2. when it does not say, look whether the boards show the record; 3. if they do, ask once
        more, and twice when there is a worker that has not caught up yet: it may be whoever applied it."""
        while True:
            # 1.
            with suppress(Unavailable):
                return await self._ask(tenant, position)
            # 2.
            try:
                async with asyncio.timeout(AGAIN_S) as limit:
                    await self._shown(tenant, position)
            except TimeoutError:
                if not limit.expired():
                    raise
                continue
            # 3.
            with suppress(Unavailable):
                try:
                    return await self._ask(tenant, position)
                except Elsewhere:
                    await asyncio.sleep(AGAIN_S)
                    return await self._ask(tenant, position)
            return None

    def statuses(self) -> dict[int, Status]:
        return {}


class KeptAfar:
    """`Kept` for tenants that another process works on."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        raise _ask_the_owner()

    async def failed_event(self, tenant: str, sequence: int) -> FailedRow:
        raise _ask_the_owner()

    async def replayable(self, tenant: str, sequence: int) -> FailedRow:
        raise _ask_the_owner()

    def failed_reasons(self, tenant: str) -> Mapping[tuple[str, str], int]:
        return {}

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        raise _ask_the_owner()

    async def conflict(self, tenant: str, sequence: int) -> ConflictRow:
        raise _ask_the_owner()

    async def first_body(self, conflict: ConflictRow) -> str | None:
        raise _ask_the_owner()

    async def programs(self, tenant: str) -> list[ProgramRow]:
        return await self._book.programs(tenant)


def _ask_the_owner() -> Elsewhere:
    return Elsewhere("The worker that has this tenant does not answer, and only it knows this.", retry_after_s=5)


def _never(_: bytes) -> bool:
    return False


_NOTHING = Remembers({}, {}, _never, _never)
"""Nothing is decided here, so no `once` rule asks."""
