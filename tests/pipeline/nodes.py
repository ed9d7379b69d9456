"""Several processes of one deployment in one test: nodes over one log, one book and one set of boards in memory.

What is between processes is real (owners, epochs, heartbeats, marks); only the engines are the embedded ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from accrue.backends import SharedBook
from accrue.boards.base import Abilities, Boards
from accrue.boards.memory import MemoryBoards
from accrue.book.sqlite import SqliteBook
from accrue.clock import SystemClock
from accrue.config import BookConfig, Config, LogConfig, NodeConfig, ProcessConfig
from accrue.engine import Accrue
from accrue.log.base import Log
from accrue.log.memory import MemoryLog
from accrue.node import Node, running

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
