"""Everything that is read of a book in PostgreSQL, over whatever connections it is given.

Rows are made in slices, and what may be a great many rows is fetched in slices too: the driver decodes everything that
has arrived in one go, and the event loop must get its turn every two milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar

import msgspec

from accrue.book.base import (
    AppliedRow,
    AttributeRow,
    AwardRow,
    Cells,
    Checkpoint,
    ConflictRow,
    FailedCount,
    FailedRow,
    PeriodRow,
    ProgramRow,
    RepeatRun,
    ResultRow,
    Segment,
    Start,
    StreakRow,
    TallyRow,
)
from accrue.book.queries import load_queries
from accrue.connect.postgres import Connection, Line, Lines

READ_WAIT_S_MAX = 10.0
LARGE_READ_WAIT_S_MAX = 60.0
"""For an archive segment, a run of the repeat index, or the counts of a start."""

ROWS_PER_SLICE = 2_000
"""Rows fetched and made before the event loop gets its turn: about two milliseconds."""

ASKED_AT_ONCE_MAX = 200
"""Up to so many subjects the answer comes whole, which saves a round trip a table."""

Row = TypeVar("Row")
Make = Callable[[Iterable[Any]], Row]
Result = TypeVar("Result")


class PostgresReads:
    """The reading half of a `Book`, and what a `Snapshot` has of it."""

    def __init__(self, reader: Line | Lines) -> None:
        self._reader = reader

    async def checkpoint(self, partition: int) -> Checkpoint | None:
        row = await self._row("checkpoint", partition)
        return Checkpoint(*row) if row else None

    async def load(self, tenant: str, subjects: Collection[str], periods: Collection[str]) -> Cells:
        asked = _texts(subjects)
        if "\0" in tenant or not asked:
            return Cells([], [], [], [])
        few = len(asked) <= ASKED_AT_ONCE_MAX
        return await self._ask(partial(_load, tenant=tenant, asked=_array(asked), periods=_texts(periods), few=few))

    async def applied(self, tenant: str, event_ids: Collection[str]) -> list[AppliedRow]:
        found: list[AppliedRow] = []
        asked = _texts(event_ids)
        for start in range(0, len(asked), ROWS_PER_SLICE):
            found += await self._rows("applied_of", _APPLIED, tenant, _array(asked[start : start + ROWS_PER_SLICE]))
        return found

    async def holdings(self, tenant: str, holder: str) -> list[AwardRow]:
        """The awards a holder has, by time and then by sequence."""
        return await self._rows("holdings", _AWARDS, tenant, holder)

    async def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        subject = ""
        while batch := await self._rows("tallies_after", _TALLIES, tenant, metric, period, subject, ROWS_PER_SLICE):
            yield batch
            subject = batch[-1].subject

    async def awards(self, tenant: str) -> AsyncIterator[list[AwardRow]]:
        key: tuple[int, str, str, str] = (-1, "", "", "")
        while batch := await self._rows("awards_after", _AWARDS, tenant, *key, ROWS_PER_SLICE):
            yield batch
            last = batch[-1]
            key = (last.sequence, last.subject, last.badge, last.level)

    async def results(self, tenant: str, board: str, period: str, *, after: int, rows: int) -> list[ResultRow]:
        found: list[ResultRow] = []
        while len(found) < rows:
            limit = min(rows - len(found), ROWS_PER_SLICE)
            page = await self._rows("results_after", _RESULTS, tenant, board, period, after, limit)
            found += page
            if len(page) < limit:
                break
            after = page[-1].place
        return found

    async def results_count(self, tenant: str, board: str, period: str) -> int:
        row = await self._row("results_count", tenant, board, period)
        return int(row[0]) if row else 0

    async def results_of(self, tenant: str, board: str, period: str, subjects: Collection[str]) -> list[ResultRow]:
        return await self._rows("results_of", _RESULTS, tenant, board, period, _array(_texts(subjects)))

    async def late(
        self, tenant: str, period: str, metrics: Collection[str], *, subjects: Collection[str] | None, rows: int
    ) -> list[TallyRow]:
        some = None if subjects is None else _array(_texts(subjects))
        return await self._rows("late", _TALLIES, tenant, period, _texts(metrics), some, rows)

    async def failed(self, tenant: str, *, after: int, rows: int, type: str = "") -> list[FailedRow]:
        return await self._rows("failed_after", _FAILED, tenant, after, type, rows)

    async def conflicts(self, tenant: str, *, after: int, rows: int) -> list[ConflictRow]:
        return await self._rows("conflicts_after", _CONFLICTS, tenant, after, rows)

    async def programs(self, tenant: str) -> list[ProgramRow]:
        return await self._rows("programs_of", _PROGRAMS, tenant)

    async def versions(self) -> dict[str, int]:
        rows = await self._ask(lambda c: c.fetch(_SQL["versions"]))
        return {row[0]: row[1] for row in rows}

    async def start(self, partition: int) -> Start:
        return Start(
            programs=await self._rows("programs", _PROGRAMS, partition, large=True),
            periods=[row async for row in self._periods(partition)],
            failed=await self._rows("failed_counts", _FAILED_COUNTS, partition, large=True),
            awaited=[row async for row in self._awaited(partition)],
            repeats=self._repeats(partition),
        )

    async def segments(self, partition: int) -> AsyncIterator[Segment]:
        first = -1
        while row := await self._row("segment_after", partition, first, large=True):
            segment = Segment(*row)
            yield segment
            first = segment.first

    async def segments_before(self, partition: int, position: int) -> AsyncIterator[Segment]:
        while row := await self._row("segment_before", partition, position, large=True):
            segment = Segment(*row)
            yield segment
            position = segment.first - 1

    async def close(self) -> None:
        await self._reader.close()

    async def _periods(self, partition: int) -> AsyncIterator[PeriodRow]:
        key = ("", "")
        while page := await self._rows("periods_after", _PERIODS, partition, *key, ROWS_PER_SLICE):
            for row in page:
                yield row
            key = (page[-1].tenant, page[-1].period)

    async def _awaited(self, partition: int) -> AsyncIterator[AppliedRow]:
        key = ("", "")
        while page := await self._rows("awaited_after", _APPLIED, partition, *key, ROWS_PER_SLICE):
            for row in page:
                yield row
            key = (page[-1].tenant, page[-1].event_id)

    async def _repeats(self, partition: int) -> AsyncIterator[RepeatRun]:
        key: tuple[str, int, int] = ("", 0, 0)
        while row := await self._row("repeat_after", partition, *key, large=True):
            run = RepeatRun(*row)
            yield run
            key = (run.index, run.bucket, run.run)

    async def _rows(self, query: str, make: Make[Row], *arguments: object, large: bool = False) -> list[Row]:
        """All rows of a query that gives a bounded number of them."""
        if _names_nothing(arguments):
            return []
        records = await self._ask(lambda c: c.fetch(_SQL[query], *arguments), large=large)
        return [make(record) for record in records]

    async def _row(self, query: str, *arguments: object, large: bool = False) -> Any:
        if _names_nothing(arguments):
            return None
        return await self._ask(lambda c: c.fetchrow(_SQL[query], *arguments), large=large)

    async def _ask(self, work: Callable[[Connection], Awaitable[Result]], *, large: bool = False) -> Result:
        return await self._reader.run(work, wait_s_max=LARGE_READ_WAIT_S_MAX if large else READ_WAIT_S_MAX)


_SQL = load_queries("postgres/read.sql")

_TALLIES: Make[TallyRow] = partial(tuple.__new__, TallyRow)
_AWARDS: Make[AwardRow] = partial(tuple.__new__, AwardRow)
_STREAKS: Make[StreakRow] = partial(tuple.__new__, StreakRow)
_ATTRIBUTES: Make[AttributeRow] = partial(tuple.__new__, AttributeRow)
_APPLIED: Make[AppliedRow] = partial(tuple.__new__, AppliedRow)
_PROGRAMS: Make[ProgramRow] = partial(tuple.__new__, ProgramRow)
_PERIODS: Make[PeriodRow] = partial(tuple.__new__, PeriodRow)
_RESULTS: Make[ResultRow] = partial(tuple.__new__, ResultRow)
_FAILED: Make[FailedRow] = partial(tuple.__new__, FailedRow)
_FAILED_COUNTS: Make[FailedCount] = partial(tuple.__new__, FailedCount)
_CONFLICTS: Make[ConflictRow] = partial(tuple.__new__, ConflictRow)


async def _load(connection: Connection, *, tenant: str, asked: str, periods: list[str], few: bool) -> Cells:
    """Four queries, one a table, on one snapshot of the book."""
    fetch = _whole if few else _sliced
    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    cells = Cells(
        tallies=await fetch(connection, "load_tallies", _TALLIES, tenant, asked, periods),
        awards=await fetch(connection, "load_awards", _AWARDS, tenant, asked),
        streaks=await fetch(connection, "load_streaks", _STREAKS, tenant, asked),
        attributes=await fetch(connection, "load_attributes", _ATTRIBUTES, tenant, asked),
    )
    await transaction.commit()
    return cells


async def _whole(connection: Connection, query: str, make: Make[Row], *arguments: object) -> list[Row]:
    return [make(record) for record in await connection.fetch(_SQL[query], *arguments)]


async def _sliced(connection: Connection, query: str, make: Make[Row], *arguments: object) -> list[Row]:
    """All rows of a query, however many, in a transaction."""
    rows: list[Row] = []
    cursor = await connection.cursor(_SQL[query], *arguments)
    while records := await cursor.fetch(ROWS_PER_SLICE):
        rows += [make(record) for record in records]
        if len(records) < ROWS_PER_SLICE:
            break
    return rows


def _texts(texts: Collection[str]) -> list[str]:
    """Each once, and none with U+0000, which PostgreSQL has no word for: nothing has such a name."""
    return [text for text in dict.fromkeys(texts) if "\0" not in text]


def _names_nothing(arguments: tuple[object, ...]) -> bool:
    """Whether one of them is a name that nothing can have."""
    return any(isinstance(argument, str) and "\0" in argument for argument in arguments)


def _array(texts: list[str]) -> str:
    """As a parameter that a query unpacks."""
    return msgspec.json.encode(texts).decode()
