"""The live state: the worker's memory over the book. What `Live` promises, for one partition in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from difflib import get_close_matches

from accrue.book.base import AwardRow, Book
from accrue.core.program import Program
from accrue.core.rule import Board
from accrue.core.table import Award, Table, TableKey
from accrue.errors import NotFound
from accrue.log.base import Position
from accrue.process.base import FinalStandings, Status
from accrue.process.earned import held
from accrue.process.results import BoardPeriod, Closed
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

    async def knows(self, tenant: str, text: str, *, timeout_s: float) -> None:
        """At once: what was applied is in force here."""

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
            settled = await self._book.holdings(tenant, holder)
            if state.settlements == before:  # else one may have been settled after the book was asked
                break
        places: dict[tuple[TableKey, str], AwardRow | None] = dict.fromkeys(state.earned.of(holder))
        for badge in state.program.badges.values():
            places.update(((TableKey("award", badge.name, level), holder), None) for level in badge.levels)
        places.update(((TableKey("award", row.badge, row.level), row.subject), row) for row in settled)
        rows: list[AwardRow] = []
        for (key, subject), row in places.items():
            table = state.tables.get(key)
            if table is not None and subject in table:  # memory is never older than the book
                if held(table[subject], holder):
                    rows.append(_row(key, table, subject))
            elif row is not None:
                rows.append(row)
        return sorted(rows, key=lambda row: (row.sequence, row.badge, row.level, row.subject))

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

    async def results(self, tenant: str, board: str, period: str) -> FinalStandings | None:
        world, state = self._worker.world, self._state(tenant)
        row = world.periods.get((tenant, period))
        if row is None or not row.closed:
            return None
        key = BoardPeriod(tenant, board, period)
        waiting = world.results.find(key)
        members = len(waiting) if waiting is not None else await self._book.results_count(tenant, board, period)
        if not members:
            return None
        return Closed(self._book, state, key, closed=row.closed, members=members, waiting=waiting)

    async def ensure_board(self, tenant: str, board: Board, period: str) -> None:
        await self._worker.publisher.ensure(self._state(tenant), board, period)

    async def applied(self, tenant: str, position: Position, *, timeout_s: float) -> Position:
        return await self._worker.applied(position, timeout_s=timeout_s)

    async def outcomes(self, tenant: str, position: Position, *, timeout_s: float) -> bytes | None:
        await self.applied(tenant, position, timeout_s=timeout_s)
        return self._worker.outcomes(position)

    def statuses(self) -> dict[int, Status]:
        return {self._worker.partition: self.status()}

    def status(self) -> Status:
        """Of the one partition that this reads."""
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
