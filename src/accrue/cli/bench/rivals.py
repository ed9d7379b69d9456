"""The designs that `accrue bench naive` runs side by side, each a process that listens and may be killed.

    naive designs   benchmarks/naive/NAME.py of a checkout: FastAPI under uvicorn, one process
    Accrue          `accrue serve`, on its data directory or on the same servers

All take POST /v1/events with one event and answer 202, and say afterwards what they have counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

import accrue
from accrue.cli.bench.servers import ASK_AGAIN_S, LEAVE_S_MAX, free_port, listens, until_emptied
from accrue.cli.demo.connection import Connection
from accrue.errors import Misconfigured, Unavailable

BENCHMARKS = Path(accrue.__file__).parents[2] / "benchmarks"
UP_S_MAX = 60.0
COUNTED_S_MAX = 120.0
ASK_S_MAX = 30.0
FLUSH_WAIT_S_MAX = 10.0
STILL_S = 1.5
"""More than the naive designs' second between two flushes: what did not change for so long is all."""

SETTINGS = ("ACCRUE_", "REDIS_URL", "DATABASE_URL")


class Counted(Struct, frozen=True):
    """Views by post: in what is kept, and on the board that is shown, where that is another thing."""

    kept: dict[str, int]
    shown: dict[str, int] | None = None


class Rival(Struct, frozen=True, kw_only=True):
    """A design: how it is started and asked. `command` is without the port, which comes last. One with a Redis in
    `flushes_from` takes counters out of it now and then, to add them to a database."""

    name: str
    title: str
    command: Sequence[str]
    environment: Mapping[str, str]
    counts_path: str
    is_ours: bool = False
    flushes_from: str = ""


def naive_rivals(redis_url: str, postgres_url: str) -> list[Rival]:
    """The naive designs of the checkout. Raises `Misconfigured` when this is none, or FastAPI is not installed."""
    folder = BENCHMARKS / "naive"
    if not folder.is_dir():
        raise Misconfigured("The naive designs are in benchmarks/naive of the repository: run this from a checkout.")
    titles = {
        "zincrby": "ZINCRBY + UPDATE",
        "incrbyfloat": "INCRBYFLOAT",
        "shards": "INCR, 8 shards",
        "getdel": "INCR + GETDEL",
    }
    server = [sys.executable, "-m", "uvicorn", "--app-dir", str(BENCHMARKS), "--log-level", "warning"]
    return [
        Rival(
            name=name,
            title=title,
            command=[*server, "--no-access-log", "--host", "127.0.0.1", f"naive.{name}:app", "--port"],
            environment={"REDIS_URL": redis_url, "DATABASE_URL": postgres_url},
            counts_path="/counts",
            flushes_from=redis_url if name == "getdel" else "",
        )
        for name, title in titles.items()
    ]


def ours(name: str, title: str, program: Path, data_dir: Path, *engines: str) -> Rival:
    """Accrue as its command starts it."""
    options = ["--program", str(program), "--data-dir", str(data_dir), *engines]
    return Rival(
        name=name,
        title=title,
        command=[sys.executable, "-m", "accrue.cli.main", "serve", *options, "--port"],
        environment={},
        counts_path="/v1/boards/posts?limit=1000",
        is_ours=True,
    )


class Running:
    """A design that runs. `kill` and `start` again as often as wanted: the port stays."""

    def __init__(self, rival: Rival, said: Path) -> None:
        self.rival = rival
        self.port = free_port()
        self._said = said
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers. Raises `Unavailable` with what it said when it does not."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        with self._said.open("ab") as said:
            self._process = await asyncio.create_subprocess_exec(
                *self.rival.command, str(self.port), stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
                env={**environment, **self.rival.environment}, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(UP_S_MAX):
                while not await listens(self.port):
                    if self._process.returncode is not None:
                        raise Unavailable(f"{self.rival.title} did not start: {self._last_words()}")
                    await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError as error:
            raise Unavailable(f"{self.rival.title} did not listen within {UP_S_MAX:g} s.") from error

    async def worst_moment(self) -> None:
        """Return while it is in the middle of a flush, if it makes any, or after some seconds."""
        if self.rival.flushes_from:
            await until_emptied(self.rival.flushes_from, wait_s_max=FLUSH_WAIT_S_MAX)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Let it end."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(LEAVE_S_MAX):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def counted(self, last: bytes) -> Counted:
        """What it has counted, once all is that it has accepted. `last` is an event that it has accepted already."""
        if self.rival.is_ours:
            return await self._ours(last)
        before = None
        async with asyncio.timeout(COUNTED_S_MAX):
            while True:
                found = msgspec.json.decode(await self._ask("/counts"), type=Counted)
                if found == before:
                    return found
                before = found
                await asyncio.sleep(STILL_S)

    async def _ours(self, last: bytes) -> Counted:
        """The event once more: it is dropped as a repeat, but when it is, everything before it is counted."""
        async with asyncio.timeout(COUNTED_S_MAX):
            while True:
                answer = msgspec.json.decode(await self._ask("/v1/events?wait=applied", last))
                if answer["results"][0].get("outcome") is not None:
                    break
                await asyncio.sleep(ASK_AGAIN_S)
        page = msgspec.json.decode(await self._ask(f"{self.rival.counts_path}&after={answer['position']}"))
        return Counted({row["subject"]: row["values"][0] for row in page["rows"]})

    async def _ask(self, path: str, event: bytes | None = None) -> bytes:
        connection = Connection(self.port)
        try:
            async with asyncio.timeout(ASK_S_MAX):
                if event is None:
                    answer = await connection.get(path)
                else:
                    answer = await connection.post(path, event, "application/json")
        except (TimeoutError, Unavailable) as error:
            raise Unavailable(f"{self.rival.title} does not answer {path}. {self._last_words()}") from error
        finally:
            await connection.close()
        if answer.status >= 300:
            said = answer.body.decode(errors="replace")
            raise Unavailable(f"{self.rival.title} answers {path} with {answer.status}: {said} {self._last_words()}")
        return answer.body

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()
        return " ".join(lines[-3:]) or "It said nothing."


@asynccontextmanager
async def running(rival: Rival, said: Path) -> AsyncIterator[Running]:
    """Run a design while the block does."""
    found = Running(rival, said)
    try:
        await found.start()
        yield found
    except BaseException:
        if found._process is not None:
            await found.kill()
        raise
    await found.stop()
