"""An engine on a disk that fails, in a process of its own that kills itself in the end.

    python -m crash.faulty "the log's disk is full" FOLDER

writes what its clients saw to standard output, as one JSON document, before it dies.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from accrue.config import Config, ProcessConfig
from accrue.engine import Accrue
from accrue.errors import AccrueError
from crash.life import SENDERS
from crash.unsynced import Disk
from crash.workload import PROGRAMS, Requests

BEGIN_US = 1_767_225_600_000_000  # 2026-01-01
LOG, BOOK = ("log.db", "log.db-wal"), ("book.db", "book.db-wal")
ROOM_BYTES = 300_000


class Seen(Struct):
    """What the clients saw, in order: (request, what came of it). `settles` is the same of settlements; `read` is the
    first row of the board while the disk was failing."""

    answers: list[tuple[int, str]] = []
    settles: list[str] = []
    read: str = ""


class Clients:
    """Some clients of one engine."""

    def __init__(self, engine: Accrue, seen: Seen) -> None:
        self._engine, self._seen = engine, seen
        self._requests = Requests(0, begin_us=BEGIN_US)

    async def send(self, numbers: Iterable[int]) -> None:
        """Send these requests, a few at a time, and note what comes of each."""
        waiting = iter(numbers)

        async def send() -> None:
            for number in waiting:
                try:
                    await self._engine.send(self._requests.body(number))
                    self._seen.answers.append((number, "acked"))
                except AccrueError as error:
                    self._seen.answers.append((number, type(error).__name__))

        await asyncio.gather(*(send() for _ in range(SENDERS)))

    async def settle(self) -> None:
        """Settle, and note what came of it."""
        try:
            await self._engine.settle()
            self._seen.settles.append("settled")
        except AccrueError as error:
            self._seen.settles.append(type(error).__name__)

    async def read(self) -> None:
        """Read a board, which must work whatever the disk does."""
        page = await self._engine.board("top").top(1)
        self._seen.read = page.rows[0].subject if page.rows else "nobody"


async def log_full(clients: Clients, disk: Disk, data_dir: Path) -> None:
    disk.concerned, disk.room_bytes = LOG, ROOM_BYTES
    await clients.send(range(20, 300))
    await clients.read()
    disk.room_bytes = None
    await clients.send(range(300, 340))


async def book_full(clients: Clients, disk: Disk, data_dir: Path) -> None:
    disk.concerned, disk.room_bytes = BOOK, 0
    await clients.send(range(20, 60))
    await clients.settle()
    await clients.read()
    disk.room_bytes = None
    await clients.settle()


async def log_sync_once(clients: Clients, disk: Disk, data_dir: Path) -> None:
    disk.concerned, disk.syncs_left, disk.faults_max = LOG, 5, 1
    await clients.send(range(20, 120))
    await clients.read()


async def log_sync_never(clients: Clients, disk: Disk, data_dir: Path) -> None:
    disk.concerned, disk.syncs_left = LOG, 5
    await clients.send(range(20, 120))
    await clients.read()


async def book_sync_once(clients: Clients, disk: Disk, data_dir: Path) -> None:
    disk.concerned, disk.syncs_left, disk.faults_max = BOOK, 0, 1
    await clients.send(range(20, 60))
    await clients.settle()
    await clients.read()
    await clients.settle()
    await clients.send(range(60, 70))


async def read_only(clients: Clients, disk: Disk, data_dir: Path) -> None:
    disk.read_only = True
    await clients.send(range(20, 120))
    await clients.settle()
    await clients.read()


async def nothing(clients: Clients, disk: None, data_dir: Path) -> None:
    """Nothing fails; the end comes all the same."""


async def size_limit(clients: Clients, disk: None, data_dir: Path) -> None:
    """Not the layer but the system refuses: no file may grow past a limit."""
    size_bytes = (data_dir / "log.db-wal").stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes + ROOM_BYTES, hard))
    await clients.send(range(20, 300))
    await clients.read()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


async def small_disk(clients: Clients, disk: None, data_dir: Path) -> None:
    """The folder is a small file system of its own, which is made larger in the end."""
    await clients.send(range(20, 2_000))
    await clients.settle()
    await clients.read()
    larger = ["mount", "-o", "remount,size=64m", str(data_dir.parent)]
    await asyncio.to_thread(subprocess.run, larger, check=True)
    await clients.send(range(2_000, 2_040))
    await clients.settle()


Scenario = Callable[[Clients, Disk, Path], Awaitable[None]]
ON_THE_LAYER: dict[str, Scenario] = {
    "the log's disk is full": log_full,
    "the book's disk is full": book_full,
    "a sync of the log fails once": log_sync_once,
    "every sync of the log fails": log_sync_never,
    "a sync of the book fails once": book_sync_once,
    "the disk has become read-only": read_only,
}
ON_THE_SYSTEM: dict[str, Callable[[Clients, None, Path], Awaitable[None]]] = {
    "nothing": nothing,
    "no file may grow": size_limit,
    "the file system is small": small_disk,
}


async def _run(name: str, folder: Path) -> None:
    (folder / "program.toml").write_text(PROGRAMS[0])
    config = Config(
        data_dir=folder / "data",
        program=folder / "program.toml",
        process=ProcessConfig(settle_interval_s=3_600, tick_ms=1, close_grace_min=1e9),
    )
    seen = Seen()
    disk = Disk(folder / "side") if name in ON_THE_LAYER else None
    if disk:
        disk.install()
    async with Accrue.open(config) as engine:
        clients = Clients(engine, seen)
        await clients.send(range(20))
        if disk:
            await ON_THE_LAYER[name](clients, disk, folder / "data")
            assert disk.faults
        else:
            await ON_THE_SYSTEM[name](clients, None, folder / "data")
        os.write(1, msgspec.json.encode(seen))
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], Path(sys.argv[2])))
