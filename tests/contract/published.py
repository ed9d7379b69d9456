"""Boards with the one publisher that their contract asks for, so that a test just sets rows and reads.

boards = Published(MemoryBoards(...))
await boards.set(KEY, order, rows)        begins, makes the board when it is new, and moves the mark
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import pytest

from accrue.boards.base import BoardKey, Boards, Change, Turn
from accrue.boards.memory import MemoryBoards
from accrue.boards.redis import RedisBoards
from accrue.connect.redis import RedisClient
from accrue.connect.redis_address import address_of
from accrue.core.ranking import Order, Row

LOG = "the log"
URLS = {"redis": "redis_url", "redis-cluster": "redis_cluster_url"}
BACKENDS = ["memory", "memory, sorted in a thread", *URLS]


class Published:
    """Everything but writing goes to the boards themselves."""

    def __init__(self, boards: Boards) -> None:
        self.boards = boards
        self._position = 0
        self._turns: dict[str, Turn] = {}

    async def turn(self, tenant: str) -> Turn:
        """That of the last write, or a new one."""
        if tenant not in self._turns:
            self._turns[tenant] = (await self.boards.begin(tenant, Turn(1, 1, 0), log=LOG)).turn
        return self._turns[tenant]

    async def set(
        self, key: BoardKey, order: Order, rows: Sequence[Row], *, removed: Sequence[str] = (), program: int = 1
    ) -> None:
        """Publish these rows to a board, which is made when it is not there."""
        turn = await self.turn(key.tenant)
        self._position += 1
        change = Change(key, order, program, rows, removed, new=not await self.boards.has(key))
        self._turns[key.tenant] = await self.boards.publish(key.tenant, [change], turn=turn, position=self._position)

    async def drop(self, key: BoardKey) -> None:
        """Forget a board."""
        self._turns[key.tenant] = await self.boards.drop(key, turn=await self.turn(key.tenant))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.boards, name)


Make = Callable[[], Awaitable[Published]]
_numbers = count()


@pytest.fixture
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes empty boards of a backend; those of a server have a name of their own each. All are closed at the end."""
    made: list[Published] = []
    url = request.getfixturevalue(URLS[request.param]) if request.param in URLS else "redis://nobody"
    client = RedisClient(address_of(url))  # one for all: to know a cluster takes longer than most tests

    async def open_one() -> Published:
        boards: Boards
        if request.param in URLS:
            boards = RedisBoards(client, f"test{next(_numbers)}")
        elif request.param == "memory":
            boards = MemoryBoards(instance="one process")
        else:
            boards = MemoryBoards(instance="one process", small_members_max=0, refresh_interval_us=0)
        made.append(Published(boards))
        return made[-1]

    yield open_one
    for boards in made:
        await boards.close()
    await client.close()
