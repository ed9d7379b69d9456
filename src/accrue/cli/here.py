"""Asking the engine that this command opened on a data directory: the twin of `Remote`, method by method."""

from __future__ import annotations

from collections.abc import Sequence

from accrue.cli.options import time_us
from accrue.core.ranking import Style
from accrue.engine import Accrue
from accrue.ingest.accept import FailedAct
from accrue.ingest.failed import FailedOutcomes
from accrue.serve.answers import Badge, BoardPage, Profile, Tally
from accrue.serve.kept import Conflict, ConflictPage, FailedEvent, FailedPage, Programs, ProgramVersion


class Here:
    """One tenant of an open engine. Times are as they are written on the command line."""

    def __init__(self, accrue: Accrue, tenant: str) -> None:
        self._accrue, self._tenant = accrue, tenant

    async def board(self, name: str, *, period: str, at: str | None, limit: int, style: Style) -> BoardPage:
        """A page of a board."""
        return await self._accrue.board(name).top(limit, period=period, at_us=self._at_us(at), style=style)

    async def user(self, id: str, *, at: str | None) -> Profile:
        """All about a user."""
        return await self._accrue.user(id, at_us=self._at_us(at))

    async def object(self, id: str, *, at: str | None) -> Profile:
        """All about an object."""
        return await self._accrue.object(id, at_us=self._at_us(at))

    async def tally(self, metric: str, subject: str, *, period: str, at: str | None) -> Tally:
        """One number."""
        return await self._accrue.tally(metric, subject, period=period, at_us=self._at_us(at))

    async def tallies(self, metric: str, *, period: str, at: str | None) -> list[Tally]:
        """What everybody has, in no order."""
        at_us = self._at_us(at)
        named = await self._accrue.tally(metric, "", period=period, at_us=at_us)
        rows = self._accrue.parts.queries.tallies(self._tenant, metric, period=period, at_us=at_us)
        return [
            Tally(metric=metric, subject=subject, period=named.period, value=value)
            async for some in rows
            for subject, value in some
        ]

    async def awards(self) -> list[Badge]:
        """Every badge that is held."""
        return [badge async for some in self._accrue.parts.queries.awards(self._tenant) for badge in some]

    async def failed(self, *, type: str, limit: int, cursor: str | None) -> FailedPage:
        """A page of failed events."""
        return await self._accrue.kept.failed(self._tenant, type=type, limit=limit, cursor=cursor)

    async def failed_event(self, sequence: int) -> FailedEvent:
        """One failed event."""
        return await self._accrue.kept.failed_event(self._tenant, str(sequence))

    async def act(self, act: FailedAct, sequences: Sequence[int]) -> FailedOutcomes:
        """Replay or drop failed events."""
        return await self._accrue.repairs.act(self._tenant, act, sequences)

    async def conflicts(self, *, limit: int, cursor: str | None) -> ConflictPage:
        """A page of conflicts."""
        return await self._accrue.kept.conflicts(self._tenant, limit=limit, cursor=cursor)

    async def conflict(self, sequence: int) -> Conflict:
        """One conflict, with both bodies."""
        return await self._accrue.kept.conflict(self._tenant, str(sequence))

    async def programs(self) -> Programs:
        """Every version of the program."""
        return await self._accrue.kept.programs(self._tenant)

    async def program(self, version: int) -> ProgramVersion:
        """One version, with its text."""
        return await self._accrue.kept.program(self._tenant, str(version))

    async def use_program(self, text: str) -> bool:
        """Put a program in force. False when it is already."""
        return await self._accrue.tenant(self._tenant).use_program(text)

    def _at_us(self, at: str | None) -> int | None:
        return None if at is None else time_us(at, self._accrue.parts.live.program(self._tenant).calendar)
