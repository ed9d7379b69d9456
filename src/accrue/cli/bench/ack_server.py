"""The server process of `accrue bench ack`: python -m accrue.cli.bench.ack_server KIND DIR INTERVAL_S [CORE]

    durable   the server as it is: log, fold, boards, settlements
    floor     the same server and the same checks, but an event goes nowhere and is answered at once
    echo      no server at all: any bytes get the same answer; what the load client can do at most

It writes one JSON line when it listens, and one for each line it reads; `applied` waits for the fold first. It ends
when its standard input does, so it never outlives the bench.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import as_file
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

from accrue.backends import PARTITION
from accrue.cli.bench.drive import APPLIED_WAIT_S_MAX, engine_settings, program_file, run
from accrue.collector import calm
from accrue.config import DEFAULT_TENANT, ServerConfig
from accrue.core.record import Batch
from accrue.engine import Accrue
from accrue.ingest.accept import Acceptor
from accrue.ingest.commit import Accepted, CommitLimits, GroupCommit
from accrue.server import listening

PROGRAM = "community"
ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Listening(Struct, frozen=True):
    """The first line."""

    port: int


class Condition(Struct, frozen=True):
    """Every other line: settlements so far, and events applied and seen, without the program's own."""

    settlements: int
    applied: int
    events: int


async def main(kind: str, data_dir: Path, settle_interval_s: float) -> None:
    """Listen, answer questions, and end with standard input."""
    async with AsyncExitStack() as stack:
        if kind == "echo":
            port, accrue = await stack.enter_async_context(_echo()), None
        else:
            accrue = await stack.enter_async_context(_engine(kind, data_dir, settle_interval_s))
            stack.enter_context(calm())
            url = await stack.enter_async_context(listening(accrue, ServerConfig(port=0)))
            port = int(url.rpartition(":")[2])
        _say(Listening(port))
        questions = await _standard_input()
        while question := await questions.readline():
            _say(await _condition(accrue, wait=question == b"applied\n"))


class AnsweringAtOnce(GroupCommit):
    """The group commit without a log behind it: whatever is submitted is lost, and said to be durable."""

    async def submit(self, batch: Batch) -> Accepted:
        return _NOWHERE


_NOWHERE = Accepted(1, 0, 0)


@asynccontextmanager
async def _engine(kind: str, data_dir: Path, settle_interval_s: float) -> AsyncIterator[Accrue]:
    """The engine; for the floor with another way in, and nothing on disk."""
    floor = kind == "floor"
    settings = engine_settings(None if floor else data_dir, settle_interval_s)
    with as_file(program_file(PROGRAM)) as program:
        async with Accrue.open(settings, program=program) as accrue:
            yield _without_log(accrue) if floor else accrue


def _without_log(accrue: Accrue) -> Accrue:
    parts = accrue.parts
    commit = AnsweringAtOnce(parts.log, parts.clock, partition=PARTITION, last_log_time_us=0, limits=CommitLimits())
    acceptor = Acceptor(commit, parts.live, parts.kept, parts.clock, durability=lambda: "nowhere")
    return Accrue(msgspec.structs.replace(parts, acceptor=acceptor), DEFAULT_TENANT)


async def _condition(accrue: Accrue | None, *, wait: bool) -> Condition:
    if accrue is None:
        return Condition(0, 0, 0)
    parts = accrue.parts
    if wait:
        await parts.live.applied(DEFAULT_TENANT, await parts.log.end(PARTITION), timeout_s=APPLIED_WAIT_S_MAX)
    status = parts.live.statuses()[PARTITION]
    counts = status.events[DEFAULT_TENANT]
    return Condition(status.settlements, counts.applied - 1, counts.events - 1)


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # of a stream it is one; uvloop's only says so

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER)


@asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(answer: Struct) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    kind, data_dir, interval_s, *core = sys.argv[1:]
    if core:
        os.sched_setaffinity(0, {int(core[0])})
    run(main(kind, Path(data_dir), float(interval_s)))
