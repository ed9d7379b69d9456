"""`Live` and `Kept` of a process among several: each tenant is asked of its worker if that is here, or from afar."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from accrue.book.base import AwardRow, ConflictRow, FailedRow, ProgramRow
from accrue.core.placement import partition_of
from accrue.core.program import Program
from accrue.core.rule import Board
from accrue.core.table import TableKey
from accrue.errors import NotFound, Unavailable
from accrue.log.base import Position
from accrue.process.afar import AfarLive
from accrue.process.base import FinalStandings, Kept, Live, Status


class Here(Struct, frozen=True):
    """A partition that this process works on and has caught up with."""

    live: Live
    kept: Kept


class RoutedLive:
    """`here` is looked at anew each time: partitions come and go."""

    def __init__(self, here: Mapping[int, Here], afar: AfarLive, *, partitions: int) -> None:
        self._here, self._afar, self._partitions = here, afar, partitions

    def is_here(self, tenant: str) -> bool:
        """Whether the tenant's worker is in this process."""
        return partition_of(tenant, self._partitions) in self._here

    async def find(self, tenant: str) -> None:
        """Look for a tenant that is not known, before somebody is told that there is none: its first program may have
        come through another process a moment ago. Raises `Unavailable` when the book does not say."""
        if not self.is_here(tenant):
            await self._afar.find(tenant)

    def tenants(self) -> list[str]:
        found = set(self._afar.tenants())
        return sorted(found.union(*(here.live.tenants() for here in self._here.values())))

    def program(self, tenant: str) -> Program:
        try:
            return self._of(tenant).program(tenant)
        except NotFound:
            return self._afar.program(tenant)  # which knows all tenants, so it names the nearest

    def tzdata(self, tenant: str) -> str:
        return self._of(tenant).tzdata(tenant)

    async def knows(self, tenant: str, text: str, *, timeout_s: float) -> None:
        await self._of(tenant).knows(tenant, text, timeout_s=timeout_s)

    async def cells(self, tenant: str, subject: str, periods: list[str]) -> dict[TableKey, object]:
        return await self._of(tenant).cells(tenant, subject, periods)

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        return await self._of(tenant).holdings(tenant, holder)

    async def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[tuple[str, int]]]:
        async for rows in self._of(tenant).tallies(tenant, metric, period):
            yield rows

    async def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        async for rows in self._of(tenant).awards(tenant):
            yield rows

    async def results(self, tenant: str, board: str, period: str) -> FinalStandings | None:
        return await self._of(tenant).results(tenant, board, period)

    async def ensure_board(self, tenant: str, board: Board, period: str) -> None:
        await self._of(tenant).ensure_board(tenant, board, period)

    async def applied(self, tenant: str, position: Position, *, timeout_s: float) -> Position:
        return await self._of(tenant).applied(tenant, position, timeout_s=timeout_s)

    async def outcomes(self, tenant: str, position: Position, *, timeout_s: float) -> bytes | None:
        return await self._of(tenant).outcomes(tenant, position, timeout_s=timeout_s)

    async def outcomes_here(self, partition: int, position: Position, *, timeout_s: float) -> bytes | None:
        """As `outcomes`, for another process. Raises `Unavailable` also when the partition is not worked on here."""
        here = self._here.get(partition)
        if here is None:
            raise Unavailable(f"Partition {partition} is not worked on here, or not yet.")
        return await here.live.outcomes("", position, timeout_s=timeout_s)

    def statuses(self) -> dict[int, Status]:
        return {partition: status for here in self._here.values() for partition, status in here.live.statuses().items()}

    def _of(self, tenant: str) -> Live:
        here = self._here.get(partition_of(tenant, self._partitions))
        return self._afar if here is None else here.live


class RoutedKept:
    """See `RoutedLive`."""

    def __init__(self, here: Mapping[int, Here], afar: Kept, *, partitions: int) -> None:
        self._here, self._afar, self._partitions = here, afar, partitions

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        return await self._of(tenant).failed(tenant, after=after, rows=rows, type=type)

    async def failed_event(self, tenant: str, sequence: int) -> FailedRow:
        return await self._of(tenant).failed_event(tenant, sequence)

    async def replayable(self, tenant: str, sequence: int) -> FailedRow:
        return await self._of(tenant).replayable(tenant, sequence)

    def failed_reasons(self, tenant: str) -> Mapping[tuple[str, str], int]:
        return self._of(tenant).failed_reasons(tenant)

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        return await self._of(tenant).conflicts(tenant, after=after, rows=rows)

    async def conflict(self, tenant: str, sequence: int) -> ConflictRow:
        return await self._of(tenant).conflict(tenant, sequence)

    async def first_body(self, conflict: ConflictRow) -> str | None:
        return await self._of(conflict.tenant).first_body(conflict)

    async def programs(self, tenant: str) -> list[ProgramRow]:
        return await self._of(tenant).programs(tenant)

    def _of(self, tenant: str) -> Kept:
        here = self._here.get(partition_of(tenant, self._partitions))
        return self._afar if here is None else here.kept
