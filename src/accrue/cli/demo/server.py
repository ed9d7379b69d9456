"""The server process of the demo: python -m accrue.cli.demo.server '{"data_dir": ..., "program": ..., "port": ...}'

It is the server as it is, in a process of its own, so that neither the traffic nor the terminal is in its way. It
says where it listens, settles when it is told to, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from accrue.cli.bench.drive import engine_settings, run
from accrue.cli.demo.messages import SETTLE, Broken, Listening, Settled, say, standard_input
from accrue.collector import calm
from accrue.config import DEFAULT_PORT, ServerConfig
from accrue.engine import Accrue
from accrue.errors import AccrueError
from accrue.server import listening

SETTLE_INTERVAL_S = 10.0
"""More often than a server does by itself, so that something is to be seen of it."""


class Setup(Struct, frozen=True, kw_only=True):
    """`port` None means the usual one, or a free one when that is taken."""

    data_dir: str
    program: str
    port: int | None = None


async def main(setup: Setup) -> None:
    """Listen, do as told, end with standard input."""
    settings = engine_settings(Path(setup.data_dir), SETTLE_INTERVAL_S)
    async with Accrue.open(settings, program=setup.program) as accrue:
        with calm():
            async with _listening(accrue, setup.port) as found:
                say(found)
                words = await standard_input()
                while word := await words.readline():
                    if word.strip() == SETTLE.encode():
                        await accrue.settle()
                        say(Settled())


@asynccontextmanager
async def _listening(accrue: Accrue, port: int | None) -> AsyncIterator[Listening]:
    taken = None
    wanted = DEFAULT_PORT if port is None else port
    if port is None and await _is_taken(wanted):
        wanted, taken = 0, wanted
    async with listening(accrue, ServerConfig(port=wanted)) as url:
        yield Listening(url, taken)


async def _is_taken(port: int) -> bool:
    """Whether somebody has the port already."""
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", port)
    except OSError:
        return True
    server.close()
    await server.wait_closed()
    return False


if __name__ == "__main__":
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    try:
        run(main(msgspec.json.decode(sys.argv[1], type=Setup)))
    except AccrueError as error:
        say(Broken(error.detail))
        sys.exit(2)
