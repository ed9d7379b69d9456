"""The state of tenants that another process works on: what the book has, and what the shared boards show.

    AfarLive       reads of a gateway: shared boards as they are, everything else as it was settled
    KeptAfar       what is kept aside; only the versions of programs are read here, the rest is the owner's to answer

Programs are polled: a worker settles at once when it folded a new one, so a gateway knows it a second later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from difflib import get_close_matches

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

POLL_S = 1.0
"""How old a gateway's list of programs may be."""
LOOK_S = 0.02
"""While somebody waits for a position, the boards' mark is looked at this often."""

logger = structlog.get_logger("accrue.process")


class Known(Struct, frozen=True):
    """A tenant's program in force, as far as the book says."""

    version: int
    tzdata: str
    state: TenantState


class Programs:
    """The programs of all tenants, as the book has them. `run` keeps them fresh."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._known: dict[str, Known] = {}
        self._one_at_a_time = asyncio.Lock()

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


class AfarLive:
    """`Live` over the book. `ensure` is asked before each read of a board."""

    def __init__(self, programs: Programs, book: Book, boards: ReadBoards, clock: Clock, *, ensure: Ensure) -> None:
        self._programs = programs
        self._book = book
        self._boards = boards
        self._clock = clock
        self._ensure = ensure

    def tenants(self) -> list[str]:
        return self._programs.tenants()

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
                while position:
                    (mark,) = await self._boards.marks([tenant])
                    if mark is not None and mark.position >= position:
                        return mark.position
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise Unavailable(f"Position {position} is not applied yet: the boards are not there.") from None
        return 0

    def outcomes(self, tenant: str, position: Position) -> bytes | None:
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
