"""The shared boards as readers see them: behind a circuit, so that while they do not answer nobody waits for them."""

from __future__ import annotations

from collections.abc import Sequence

from accrue.boards.base import ANY, Abilities, BoardKey, Mark, Page, RankOf, ReadBoards, Seen
from accrue.core.ranking import Style
from accrue.web.circuit import CircuitBreaker


class GuardedBoards:
    """`ReadBoards` of `boards`. Raises `Unavailable` at once while the circuit is open."""

    def __init__(self, boards: ReadBoards, circuit: CircuitBreaker) -> None:
        self._boards, self._circuit = boards, circuit

    @property
    def abilities(self) -> Abilities:
        return self._boards.abilities

    async def marks(self, tenants: Sequence[str]) -> list[Mark | None]:
        with self._circuit.asking():
            return await self._boards.marks(tenants)

    async def has(self, key: BoardKey, *, program: int | None = None) -> bool:
        with self._circuit.asking():
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
        with self._circuit.asking():
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
        with self._circuit.asking():
            return await self._boards.around(
                key, subject, before=before, after=after, style=style, now_us=now_us, seen=seen
            )

    async def ranks(
        self, key: BoardKey, subjects: Sequence[str], *, style: Style, now_us: int, seen: Seen = ANY
    ) -> list[RankOf]:
        with self._circuit.asking():
            return await self._boards.ranks(key, subjects, style=style, now_us=now_us, seen=seen)
