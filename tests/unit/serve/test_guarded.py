"""The shared boards behind circuits: one for each place where boards are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from accrue.boards.base import BoardKey, Mark
from accrue.boards.memory import MemoryBoards
from accrue.clock import ManualClock
from accrue.errors import Unavailable
from accrue.serve.guarded import GuardedBoards

RETRY_S = 3.0


class TwoPlaces(MemoryBoards):
    """Boards of tenants by their first letter. One place may be away."""

    def __init__(self) -> None:
        super().__init__(instance="i")
        self.away = ""
        self.asked: list[str] = []

    def place_of(self, tenant: str) -> str:
        return tenant[0]

    async def has(self, key: BoardKey, *, program: int | None = None) -> bool:
        self._ask(key.tenant)
        return await super().has(key, program=program)

    async def marks(self, tenants: Sequence[str]) -> list[Mark | None]:
        for tenant in tenants:
            self._ask(tenant)
        return await super().marks(tenants)

    def _ask(self, tenant: str) -> None:
        self.asked.append(tenant)
        if tenant[0] == self.away:
            raise Unavailable("No answer.")


async def has(guarded: GuardedBoards, tenant: str) -> bool:
    return await guarded.has(BoardKey(tenant, "board", "all"))


async def test_who_is_elsewhere_does_not_wait_for_what_is_away() -> None:
    boards, clock = TwoPlaces(), ManualClock()
    guarded = GuardedBoards(boards, clock, retry_s=RETRY_S)
    boards.away = "a"

    for _ in range(2):
        with pytest.raises(Unavailable):
            await has(guarded, "ann")
        with pytest.raises(Unavailable):
            await has(guarded, "abe")
        assert not await has(guarded, "bob")
    assert boards.asked == ["ann", "bob", "bob"]

    with pytest.raises(Unavailable):
        await guarded.marks(["bob", "abe"])
    assert await guarded.marks(["bob", "bea"]) == [None, None]

    boards.away = ""
    clock.advance(seconds=RETRY_S)
    assert not await has(guarded, "abe")
    assert await guarded.marks(["abe", "bob"]) == [None, None]
