"""Several processes of one deployment in one test: nodes over one log, one book and one set of boards in memory.

What is between processes is real (owners, epochs, heartbeats, marks); only the engines are the embedded ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from msgspec.structs import replace

from accrue.backends import SharedBook
from accrue.boards.base import Abilities, Boards
from accrue.boards.memory import MemoryBoards
from accrue.book.sqlite import SqliteBook
from accrue.clock import SystemClock
from accrue.config import DEFAULT_TENANT, BookConfig, Config, LogConfig, NodeConfig, ProcessConfig
from accrue.engine import Accrue
from accrue.log.base import Log
from accrue.log.memory import MemoryLog
from accrue.node import Node, running
from accrue.server import create_node_app
from accrue.web.forward import Forwarder
from unit.web.loopback import free_port, served, talking

PROGRAM = """
[metrics.points]
[[rules]]
on = "comment"
give = [{ to = "actor", metric = "points", amount = 5 }]
[boards.writers]
metric = "points"
periods = ["all", "day"]
"""

LEASE_S = 0.5


class SharedBoards(MemoryBoards):
    """Boards that outlive whoever publishes, as a server's do."""

    @property
    def abilities(self) -> Abilities:
        return replace(super().abilities, shared=True)


class Served(NamedTuple):
    """A process, and a client of it."""

    node: Node
    client: httpx.AsyncClient


class Servers:
    """The engines of one deployment, and the processes on them."""

    def __init__(self, log: Log, book: SharedBook, boards: Boards, *, partitions: int) -> None:
        self.log, self.book, self.boards = log, book, boards
        self.config = Config(
            data_dir=None,
            partitions=partitions,
            log=LogConfig(url="test://"),
            book=BookConfig(url="test://"),
            node=NodeConfig(lease_s=LEASE_S),
            process=ProcessConfig(settle_interval_s=0.2, tick_ms=5),
        )

    @asynccontextmanager
    async def node(self, *, works: bool = True, address: str = "") -> AsyncIterator[Node]:
        async def opening(_: Config, __: AsyncExitStack) -> tuple[Log, SharedBook, Boards]:
            return self.log, self.book, self.boards

        async with running(self.config, SystemClock(), works=works, address=address, opening=opening) as node:
            yield node

    @asynccontextmanager
    async def served(self, *, works: bool = True) -> AsyncIterator[Served]:
        """A node with its HTTP face, which the others find through the book."""
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        async with self.node(works=works, address=address) as node, Forwarder(address) as forwarder:
            app = create_node_app(Accrue(node, DEFAULT_TENANT), node, forwarder)
            async with served(app, port=port) as url, talking(url) as client:
                yield Served(node, client)


@asynccontextmanager
async def servers(folder: Path, *, partitions: int = 2) -> AsyncIterator[Servers]:
    """Engines without a process."""
    book = await SqliteBook.open(folder / "book.db")
    log = MemoryLog(identity="test")
    try:
        yield Servers(log, book, SharedBoards(instance="test"), partitions=partitions)
    finally:
        await book.close()
        await log.close()


async def tenants(node: Node, *names: str) -> dict[str, Accrue]:
    """The library's face of a node for tenants that live by the program."""
    faces = {name: Accrue(node, name) for name in names}
    for face in faces.values():
        await face.use_program(PROGRAM)
    return faces


async def until(true: Callable[[], bool], *, within_s: float = 20 * LEASE_S) -> None:
    """Wait for something that happens in a while."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  # it looks from outside, as another process would
            await asyncio.sleep(0.01)
