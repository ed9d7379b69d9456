"""The servers that a bench runs against: those that were named, or private ones, started here and gone afterwards.

A private server has a free port of this machine only, a directory of its own and the settings that it comes with,
but for these: Redis keeps an append-only file that is synced every second, which is what people run, and PostgreSQL
commits as it does by default, synced before it answers.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from accrue import ids
from accrue.errors import Misconfigured, Unavailable

if TYPE_CHECKING:  # an extra: imported where it is needed
    from accrue.connect.postgres import Line

START_S_MAX = 30.0
LEAVE_S_MAX = 30.0
ASK_AGAIN_S = 0.05
LOOK_S = 0.002
POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"
"""Where packages put it when it is not on the path."""

NOBODY = "nobody"


@asynccontextmanager
async def redis_at(url: str | None, folder: Path) -> AsyncIterator[str]:
    """The URL of an empty Redis database: the one named, which is emptied again afterwards, or a private one.

    Raises `Misconfigured` when it is not empty, and when none is named and none installed.
    """
    if url is not None:
        await _refuse_full(url)
        try:
            yield url
        finally:
            await empty(url)
        return
    program = shutil.which("redis-server")
    if program is None:
        raise Misconfigured("There is no redis-server on this machine. Install it, or name one with --redis URL.")
    port = free_port()
    place = folder / "redis"
    place.mkdir()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(place), "--save", "", "--appendonly", "yes"]
    async with _running([program, *options, "--logfile", str(place / "log")], place, port, stop=signal.SIGTERM):
        yield f"redis://127.0.0.1:{port}/0"


@asynccontextmanager
async def postgres_at(url: str | None, folder: Path) -> AsyncIterator[str]:
    """The URL of an empty PostgreSQL database: a new one on the server that is named, dropped afterwards, or one on a
    private server. Raises `Misconfigured` when none is named and none installed."""
    if url is not None:
        async with scratch_database(url) as made:
            yield made
        return
    programs = _postgres_folder()
    port = free_port()
    place = folder / "postgres"
    place.mkdir()
    user = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else None  # it refuses to run as root
    if user is not None:
        _let_in(place, folder, user.pw_uid)
    uid = None if user is None else user.pw_uid
    data = place / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "accrue", "--auth=trust", "--encoding=UTF8"]
    await _done([*initdb, "--locale=C", "--no-sync"], place, uid)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=80"]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *settings]
    url = f"postgresql://accrue@127.0.0.1:{port}/postgres"
    async with _running(command, place, port, stop=signal.SIGINT, uid=uid), scratch_database(url) as made:
        yield made


@asynccontextmanager
async def scratch_database(url: str) -> AsyncIterator[str]:
    """A new database on that server while the block runs."""
    from accrue.connect.postgres import Line

    name = f"accrue_bench_{ids.identity()[:12]}"
    line = Line(url)
    try:
        await _insisted(line, f'CREATE DATABASE "{name}"')
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        with suppress(Unavailable):
            drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
            await line.run(lambda connection: connection.execute(drop), wait_s_max=START_S_MAX)
        await line.close()


async def _insisted(line: Line, statement: str) -> None:
    """Once the server takes it: one that was just started listens before it does."""
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + START_S_MAX
    while True:
        try:
            await line.run(lambda connection: connection.execute(statement), wait_s_max=START_S_MAX)
        except Unavailable:
            if loop.time() > give_up_s:
                raise
            await asyncio.sleep(ASK_AGAIN_S)
        else:
            return


async def emptied(url: str) -> None:
    """Drop everything that is in a database of `postgres_at`."""
    from accrue.connect.postgres import Line

    line = Line(url)
    try:
        drop = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        await line.run(lambda connection: connection.execute(drop), wait_s_max=START_S_MAX)
    finally:
        await line.close()


async def until_emptied(url: str, *, wait_s_max: float) -> None:
    """Return at a moment when most keys of a Redis database have just been taken out, or after so long."""
    most = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s_max):
            while (held := int(str(await _redis(url, "DBSIZE")))) >= most / 2:
                most = max(most, held)
                await asyncio.sleep(LOOK_S)


async def empty(url: str) -> None:
    """Delete everything in a Redis database."""
    await _redis(url, "FLUSHDB")


async def _refuse_full(url: str) -> None:
    held = await _redis(url, "DBSIZE")
    if held:
        raise Misconfigured(
            f"The Redis database holds {held} keys, and a bench empties it: name one with nothing in it."
        )


async def _redis(url: str, *command: str) -> object:
    from accrue.connect.redis import RedisClient
    from accrue.connect.redis_address import address_of

    client = RedisClient(address_of(url))
    try:
        return await client.one(*command)
    finally:
        await client.close()


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


async def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _running(
    command: Sequence[str], place: Path, port: int, *, stop: signal.Signals, uid: int | None = None
) -> AsyncIterator[None]:
    """Run a server while the block does. It is stopped in order, and killed when it takes too long."""
    with (place / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, cwd=place, start_new_session=True,
            preexec_fn=_becoming(uid),
        )  # fmt: skip
    try:
        await _until_it_listens(process, port, command[0], place)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(stop)
        try:
            async with asyncio.timeout(LEAVE_S_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _until_it_listens(process: asyncio.subprocess.Process, port: int, what: str, place: Path) -> None:
    try:
        async with asyncio.timeout(START_S_MAX):
            while not await listens(port):
                if process.returncode is not None:
                    raise Unavailable(f"{what} did not start: {_end_of(place / 'said')}")
                await asyncio.sleep(ASK_AGAIN_S)
    except TimeoutError as error:
        raise Unavailable(f"{what} did not listen within {START_S_MAX:g} s.") from error


async def _done(command: Sequence[str], place: Path, uid: int | None) -> None:
    with (place / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, cwd=place,
            preexec_fn=_becoming(uid),
        )  # fmt: skip
        code = await process.wait()
    if code:
        raise Unavailable(f"{command[0]} failed: {_end_of(place / 'said')}")
    (place / "said").unlink()


def _end_of(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
    return " ".join(lines[-3:]) or "it said nothing"


def _postgres_folder() -> Path:
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).parent
    for pattern in POSTGRES_FOLDERS:
        folders = [folder for folder in Path("/").glob(pattern[1:]) if (folder / "postgres").exists()]
        if folders:
            return max(folders)
    raise Misconfigured("There is no PostgreSQL server on this machine. Install it, or name one with --postgres URL.")


def _becoming(uid: int | None) -> Callable[[], None] | None:
    """What makes a new process somebody else's. (uvloop does not take `user`.)"""
    if uid is None:
        return None

    def become() -> None:
        os.setgroups([])
        os.setgid(pwd.getpwuid(uid).pw_gid)
        os.setuid(uid)

    return become


def _let_in(place: Path, folder: Path, uid: int) -> None:
    """Give the server its directory, and the way there through the bench's own, which others may not read."""
    os.chown(place, uid, -1)
    folder.chmod(folder.stat().st_mode | 0o011)
