"""The live state: the worker's memory over the book. What `Live` promises, for one partition in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from difflib import get_close_matches

from accrue.book.base import AwardRow, Book, ResultRow
from accrue.core.program import Program
from accrue.core.rule import Board
from accrue.core.table import Award, Table, TableKey
from accrue.errors import NotFound
from accrue.log.base import Position
from accrue.process.base import Status
from accrue.process.state import TenantState
from accrue.process.worker import Worker


class LiveState:
    """Reads what a worker folds. Nothing is cached here: memory is asked first, then the book."""

    def __init__(self, worker: Worker, book: Book) -> None:
        self._worker = worker
        self._book = book

    def tenants(self) -> list[str]:
        return sorted(self._worker.world.tenants)

    def program(self, tenant: str) -> Program:
        return self._state(tenant).program

    def tzdata(self, tenant: str) -> str:
        return self._state(tenant).tzdata

    async def cells(self, tenant: str, subject: str, periods: list[str]) -> dict[TableKey, object]:
        state = self._state(tenant)
        found: dict[TableKey, object] = {}
        while state.lacks(subject, periods):
            before = state.settlements
            cells = await self._book.load(tenant, [subject], periods)
            if state.settlements != before:
                continue  # what was read may be older than what was settled, and evicted, meanwhile
            side = TenantState(
                tenant, state.program, partial=[*periods, "all"], remembers=self._worker.world.remembers()
            )
            side.fill(cells, [subject], ["all", *periods])
            found.update(side.of_subject(subject))
            break
        wanted = {*periods}
        found.update(
            (key, value) for key, value in state.of_subject(subject) if key.kind != "tally" or key.part in wanted
        )
        return found

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        state = self._state(tenant)
        while True:
            before = state.settlements
            held = {(row.badge, row.level, row.subject): row for row in await self._book.holdings(tenant, holder)}
            if state.settlements == before:  # else one may have been settled after the book was asked
                break
        for row in _unsettled_awards(state):
            place = (row.badge, row.level, row.subject)
            held.pop(place, None)
            if row.holder == holder and not row.revoked:
                held[place] = row
        return sorted(held.values(), key=lambda row: (row.sequence, row.badge, row.level))

    async def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[tuple[str, int]]]:
        state = self._state(tenant)
        table = state.tables.get(TableKey("tally", metric, period))
        newer: dict[str, int] = dict(table) if table is not None else {}
        async for rows in self._book.tallies(tenant, metric, period):
            yield [(row.subject, newer.pop(row.subject, row.value)) for row in rows]
        if newer:
            yield list(newer.items())

    async def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        newer = {(row.badge, row.level, row.subject): row for row in _unsettled_awards(self._state(tenant))}
        async for rows in self._book.awards(tenant):
            yield [row for row in rows if (row.badge, row.level, row.subject) not in newer]
        if newer:
            yield sorted((row for row in newer.values() if not row.revoked), key=lambda row: row.sequence)

    async def results(self, tenant: str, board: str, period: str) -> list[ResultRow]:
        world = self._worker.world
        waiting = [row for row in world.results if (row.tenant, row.board, row.period) == (tenant, board, period)]
        return waiting or await self._book.results(tenant, board, period)

    async def ensure_board(self, tenant: str, board: Board, period: str) -> None:
        await self._worker.publisher.ensure(self._state(tenant), board, period)

    async def applied(self, position: Position, *, timeout_s: float) -> None:
        await self._worker.applied(position, timeout_s=timeout_s)

    def outcomes(self, position: Position) -> bytes | None:
        return self._worker.outcomes(position)

    def status(self) -> Status:
        return self._worker.status()

    def _state(self, tenant: str) -> TenantState:
        state = self._worker.world.tenants.get(tenant)
        if state is None:
            close = get_close_matches(tenant, self.tenants(), n=1)
            raise NotFound(f"There is no tenant {tenant!r}.", field="tenant", nearest=close[0] if close else None)
        return state


def _unsettled_awards(state: TenantState) -> list[AwardRow]:
    rows: list[AwardRow] = []
    for key, table in state.tables.items():
        if key.kind == "award":
            rows += [_row(key, table, subject) for subject in state.unsettled(table)]
    return rows


def _row(key: TableKey, table: Table, subject: str) -> AwardRow:
    award: Award = table[subject]
    return AwardRow(
        table.tenant, key.name, key.part, subject, award.holder, award.time_us, award.sequence, int(award.revoked)
    )
