"""Queries: what can be asked, over the boards and the live state. HTTP, the library and the command line ask here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from accrue.boards.base import ANY, BoardKey, ReadBoards, Seen
from accrue.boards.base import Page as SnapshotPage
from accrue.clock import Clock
from accrue.core import streak as streaks
from accrue.core.period import Period
from accrue.core.program import Program
from accrue.core.ranking import Standing, Style
from accrue.core.rule import Board, Kind, Metric
from accrue.core.table import Award, TableKey
from accrue.core.tally import shown
from accrue.errors import NotFound, Rejected
from accrue.process.base import Live
from accrue.serve import final as finals
from accrue.serve.answers import (
    Badge,
    BoardPage,
    BoardRow,
    Profile,
    Quantity,
    RankRow,
    Ranks,
    Streak,
    Tally,
    iso,
)
from accrue.serve.final import Final

Said = TypeVar("Said", BoardPage, Ranks, Profile, Tally)

ROWS_MAX = 1_000
AROUND_MAX = 100
SUBJECTS_MAX = 1_000
WAIT_S_MAX = 10.0


class Queries:
    """Every read of one deployment. `at_us` picks the period that holds that time; default now.

    Reads of boards take what `after` gave: then nothing up to its position is missing. `settled_us` is given where
    answers come from the book alone: what a tenant's were settled by, which makes them `stale`.
    """

    def __init__(
        self,
        live: Live,
        boards: ReadBoards,
        clock: Clock,
        *,
        settled_us: Callable[[str], Awaitable[int]] | None = None,
    ) -> None:
        self._live = live
        self._boards = boards
        self._clock = clock
        self._settled_us = settled_us

    async def after(self, tenant: str, position: int | None, *, timeout_s: float = WAIT_S_MAX) -> Seen:
        """Read your writes: return once reads can show everything up to `position`; None waits for nothing."""
        wanted = position or 0
        return Seen(await self._live.applied(tenant, wanted, timeout_s=min(timeout_s, WAIT_S_MAX)), wanted)

    async def board(
        self,
        tenant: str,
        name: str,
        *,
        period: str = "all",
        at_us: int | None = None,
        limit: int = 10,
        offset: int = 0,
        cursor: str | None = None,
        style: Style = "competition",
        seen: Seen = ANY,
    ) -> BoardPage:
        """A page of a board. `period` is a kind (`week`) or an id (`2026-W47`)."""
        _bounded("limit", limit, 1, ROWS_MAX)
        _bounded("offset", offset, 0, 1_000_000_000)
        program, board, found = self._find(tenant, name, period, at_us)
        if cursor is None or finals.is_cursor(cursor):
            final = await self._final(tenant, program, board, found)
            if final is not None:
                return await self._said(
                    tenant, await finals.page(final, limit=limit, offset=offset, cursor=cursor, style=style)
                )
        key = await self._ready(tenant, board, found)
        if key is None:
            return await self._said(tenant, self._empty(board, found))
        page = await self._boards.page(
            key, limit=limit, offset=offset, cursor=cursor, style=style, now_us=self._clock.now_us(), seen=seen
        )
        return await self._said(tenant, _page(program, board, found, page))

    async def around(
        self,
        tenant: str,
        name: str,
        subject: str,
        *,
        period: str = "all",
        at_us: int | None = None,
        before: int = 5,
        after: int = 5,
        style: Style = "competition",
        seen: Seen = ANY,
    ) -> BoardPage:
        """The neighbours of one member. Raises `NotFound` when it is not on the board."""
        _bounded("before", before, 0, AROUND_MAX)
        _bounded("after", after, 0, AROUND_MAX)
        program, board, found = self._find(tenant, name, period, at_us)
        final = await self._final(tenant, program, board, found)
        if final is not None:
            return await self._said(
                tenant, await finals.around(final, subject, before=before, after=after, style=style)
            )
        key = await self._ready(tenant, board, found)
        if key is None:
            raise NotFound(f"{subject!r} is not on the board {name!r} in {found.id!r}.", field="subject")
        page = await self._boards.around(
            key, subject, before=before, after=after, style=style, now_us=self._clock.now_us(), seen=seen
        )
        return await self._said(tenant, _page(program, board, found, page))

    async def ranks(
        self,
        tenant: str,
        name: str,
        subjects: list[str],
        *,
        period: str = "all",
        at_us: int | None = None,
        style: Style = "competition",
        seen: Seen = ANY,
    ) -> Ranks:
        """Where many stand, on the whole board and among each other: friends, a team, a class."""
        _bounded("subjects", len(subjects), 1, SUBJECTS_MAX)
        program, board, found = self._find(tenant, name, period, at_us)
        final = await self._final(tenant, program, board, found)
        if final is not None:
            return await self._said(tenant, await finals.ranks(final, subjects, style=style))
        key = await self._ready(tenant, board, found)
        now_us = self._clock.now_us()
        some = await self._boards.ranks(key, subjects, style=style, now_us=now_us, seen=seen) if key else []
        ranks = []
        for item in some:
            row = _row(program, board, item.standing)
            ranks.append(RankRow(row.rank, row.subject, row.values, item.relative_rank, item.percentile))
        there = {rank.subject for rank in ranks}
        missing = [subject for subject in dict.fromkeys(subjects) if subject not in there]
        return await self._said(tenant, Ranks(board=board.name, period=found.id, ranks=ranks, missing=missing))

    async def profile(self, tenant: str, kind: Kind, id: str, *, at_us: int | None = None) -> Profile:
        """All about a user or an object. One that was never heard of has the initial values and nothing else."""
        program = self._live.program(tenant)
        now_us = self._clock.now_us()
        moment = program.calendar.moment(now_us if at_us is None else at_us)
        periods = {moment.ids[k]: k for k in program.calendar.kinds if k in moment.ids}
        cells = await self._live.cells(tenant, id, list(periods))
        tallies: dict[str, dict[str, Quantity]] = {}
        for metric in program.metrics.values():
            if metric.kind == kind:
                tallies[metric.name] = {
                    k: shown(_tally(cells, metric, p), metric.scale) for p, k in periods.items() if k in metric.periods
                }
        earned: dict[str, Streak] = {}
        for streak in program.streaks.values():
            if kind == ("object" if streak.to == ("object",) else "user"):
                kept = cells.get(TableKey("streak", streak.name, ""))
                earned[streak.name] = _streak(program, streak.every, kept, now_us)
        attributes = (
            {
                key.name: _plain(value)
                for key, value in sorted(cells.items())
                if key.kind == "attribute" and key.part == kind
            }
            if cells
            else {}
        )
        profile = Profile(
            id=id,
            kind=kind,
            at=iso(now_us if at_us is None else at_us),
            tallies=tallies,
            badges=await self._badges(tenant, kind, id, cells),
            streaks=earned,
            attributes=attributes,
        )
        return await self._said(tenant, profile)

    async def tally(
        self, tenant: str, metric: str, subject: str, *, period: str = "all", at_us: int | None = None
    ) -> Tally:
        """One number. A subject never heard of has the metric's initial value."""
        program = self._live.program(tenant)
        described = program.metric(metric)
        found = self._period(program, period, at_us)
        _kept(described.periods, found, f"The metric {metric!r}")
        cells = await self._live.cells(tenant, subject, [found.id])
        value = shown(_tally(cells, described, found.id), described.scale)
        return await self._said(tenant, Tally(metric=metric, subject=subject, period=found.id, value=value))

    async def tallies(
        self, tenant: str, metric: str, *, period: str = "all", at_us: int | None = None
    ) -> AsyncIterator[list[tuple[str, Quantity]]]:
        """Every subject of a metric with its quantity, in batches."""
        program = self._live.program(tenant)
        described = program.metric(metric)
        found = self._period(program, period, at_us)
        _kept(described.periods, found, f"The metric {metric!r}")
        async for rows in self._live.tallies(tenant, metric, found.id):
            yield [(subject, shown(value, described.scale)) for subject, value in rows]

    async def awards(self, tenant: str) -> AsyncIterator[list[Badge]]:
        """Every award that is held, in batches."""
        self._live.program(tenant)
        async for rows in self._live.awards(tenant):
            yield [Badge(row.badge, iso(row.time_us), row.level, row.subject, row.holder) for row in rows]

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _said(self, tenant: str, answer: Said) -> Said:
        """The answer, marked stale where it comes from the book alone."""
        if self._settled_us is None:
            return answer
        return msgspec.structs.replace(answer, stale=True, as_of=iso(await self._settled_us(tenant)))

    def _find(self, tenant: str, name: str, period: str, at_us: int | None) -> tuple[Program, Board, Period]:
        program = self._live.program(tenant)
        board = program.board(name)
        found = self._period(program, period, at_us)
        _kept(board.periods, found, f"The board {name!r}")
        return program, board, found

    def _period(self, program: Program, written: str, at_us: int | None) -> Period:
        calendar = program.calendar
        if written not in calendar.kinds:
            return calendar.parse(written)
        found = calendar.period(written, self._clock.now_us() if at_us is None else at_us)
        if found is None:
            raise NotFound(f"No {written} covers that time; say another with at, or the period's id.", field="at")
        return found

    async def _ready(self, tenant: str, board: Board, period: Period) -> BoardKey | None:
        """The key of a board that the boards hold whole; None when nobody has a tally there."""
        await self._live.ensure_board(tenant, board, period.id)
        key = BoardKey(tenant, board.name, period.id)
        return key if await self._boards.has(key) else None

    async def _final(self, tenant: str, program: Program, board: Board, period: Period) -> Final | None:
        """The final standings, when the period is closed."""
        standings = await self._live.results(tenant, board.name, period.id) if period.kind != "all" else None
        return None if standings is None else Final(tenant, standings, program, board, period)

    def _empty(self, board: Board, period: Period) -> BoardPage:
        return BoardPage(
            board=board.name,
            period=period.id,
            metrics=[key.metric for key in board.order],
            rows=[],
            members=0,
            as_of=iso(self._clock.now_us()),
            epoch=0,
        )

    async def _badges(self, tenant: str, kind: Kind, id: str, cells: dict[TableKey, object]) -> list[Badge]:
        if kind == "object":
            badges = {name for name, badge in self._live.program(tenant).badges.items() if badge.kind == "object"}
            return [
                Badge(key.name, iso(award.time_us), key.part, None, award.holder)
                for key, award in cells.items()
                if isinstance(award, Award) and not award.revoked and key.name in badges
            ]
        return [
            Badge(row.badge, iso(row.time_us), row.level, row.subject if row.subject != id else None)
            for row in await self._live.holdings(tenant, id)
        ]


def _page(program: Program, board: Board, period: Period, page: SnapshotPage) -> BoardPage:
    return BoardPage(
        board=board.name,
        period=period.id,
        metrics=[key.metric for key in board.order],
        rows=[_row(program, board, standing) for standing in page.standings],
        members=page.members,
        as_of=iso(page.as_of_us),
        epoch=page.epoch,
        cursor=page.cursor,
    )


def _row(program: Program, board: Board, standing: Standing) -> BoardRow:
    kept = zip(standing.scores, board.order, strict=False)  # standings of an older program may have other keys
    values = [shown(score, program.metrics[key.metric].scale) for score, key in kept]
    return BoardRow(standing.rank, standing.subject, values)


def _tally(cells: dict[TableKey, object], metric: Metric, period: str) -> int:
    value = cells.get(TableKey("tally", metric.name, period))
    return value if isinstance(value, int) else metric.initial if period == "all" else 0


def _streak(program: Program, every: str, kept: object, now_us: int) -> Streak:
    if not isinstance(kept, streaks.Streak):
        return Streak(0, 0, None, False)
    if every == "event":
        return Streak(kept.current, kept.longest, iso(kept.last), kept.current > 0)
    if not kept.runs:  # every day of it was taken back
        return Streak(0, 0, None, False)
    now = program.calendar.period(every, now_us)
    running = now is not None and streaks.alive(kept, now.ordinal)
    return Streak(kept.current if running else 0, kept.longest, program.calendar.named(every, kept.last), running)


def _plain(value: object) -> bool | int | str | None:
    return str(value) if isinstance(value, Decimal) else value  # type: ignore[return-value]  # plain by construction


def _kept(kinds: tuple[str, ...], period: Period, what: str) -> None:
    if period.kind not in kinds:
        asked = "all time" if period.kind == "all" else f"periods of the kind {period.kind!r}"
        example = f" Try period={period.kind if period.kind in kinds else kinds[0]}."
        raise NotFound(f"{what} is not kept for {asked}, but for {', '.join(kinds)}.{example}", field="period")


def _bounded(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Rejected(f"{name} is from {least} to {most}, not {value}.", field=name)
