"""The shared boards as readers see them: behind circuits, so that while they do not answer nobody waits for them.

There is one for each place where boards are, so that a node of a cluster that is away takes only its own tenants along.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from accrue.boards.base import ANY, Abilities, BoardKey, Mark, Page, RankOf, ReadBoards, Seen
from accrue.clock import Clock
from accrue.core.ranking import Style
from accrue.web.circuit import CircuitBreaker


class GuardedBoards:
    """`ReadBoards` of `boards`. Raises `Unavailable` at once while the circuit is open; one read in `retry_s` tries."""

    def __init__(self, boards: ReadBoards, clock: Clock, *, retry_s: float) -> None:
        self._boards, self._clock, self._retry_s = boards, clock, retry_s
        self._circuits: dict[str, CircuitBreaker] = {}

    @property
    def abilities(self) -> Abilities:
        return self._boards.abilities

    def place_of(self, tenant: str) -> str:
        return self._boards.place_of(tenant)

    async def marks(self, tenants: Sequence[str]) -> list[Mark | None]:
        found: dict[str, Mark | None] = {}
        for place in dict.fromkeys(map(self.place_of, tenants)):
            there = [tenant for tenant in tenants if self.place_of(tenant) == place]
            with self._asking(there[0]):
                found |= zip(there, await self._boards.marks(there), strict=True)
        return [found[tenant] for tenant in tenants]

    async def has(self, key: BoardKey, *, program: int | None = None) -> bool:
        with self._asking(key.tenant):
            return await self._boards.has(key, program=program)

    async def page(
        self,
        key: BoardKey,
        *,
        limit: int,
        offset: int,
        cursor: str | None,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        with self._asking(key.tenant):
            return await self._boards.page(
                key, limit=limit, offset=offset, cursor=cursor, style=style, now_us=now_us, seen=seen
            )

    async def around(
        self,
        key: BoardKey,
        subject: str,
        *,
        before: int,
        after: int,
        style: Style,
        now_us: int,
        seen: Seen = ANY,
    ) -> Page:
        with self._asking(key.tenant):
            return await self._boards.around(
                key, subject, before=before, after=after, style=style, now_us=now_us, seen=seen
            )

    async def ranks(
        self, key: BoardKey, subjects: Sequence[str], *, style: Style, now_us: int, seen: Seen = ANY
    ) -> list[RankOf]:
        with self._asking(key.tenant):
            return await self._boards.ranks(key, subjects, style=style, now_us=now_us, seen=seen)

    def _asking(self, tenant: str) -> AbstractContextManager[None]:
        """Ask for a tenant in the block. Its place must not have been found silent just now."""
        place = self.place_of(tenant)
        if place not in self._circuits:  # as many as there are nodes
            self._circuits[place] = CircuitBreaker("the boards", self._clock, retry_s=self._retry_s)
        return self._circuits[place].asking()
