"""Running the engine for a bench: through its public face, in one event loop, with the server's collector settings."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

from accrue.cli.bench.report import Miscounted
from accrue.cli.options import closing_nothing
from accrue.config import DEFAULT_TENANT, BookConfig, Config, ProcessConfig
from accrue.engine import Accrue

Result = TypeVar("Result")

BATCHES_IN_FLIGHT = 8
"""Requests that wait for their answer at the same time: enough for one to be checked while another is synced."""

APPLIED_WAIT_S_MAX = 600.0


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end in an event loop of the kind the server has."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def run_on_time(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end in an event loop that wakes when it is due: the others do a millisecond late, or two, which a
    client that measures latency would charge to the server. It is for few connections (`select`)."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(work)


@asynccontextmanager
async def engine(
    data_dir: Path, program: str, *, settle_interval_s: float, book_url: str = ""
) -> AsyncIterator[Accrue]:
    """An engine with one of the programs that come with the benches. Its book is in the directory unless at a URL."""
    settings = msgspec.structs.replace(engine_settings(data_dir, settle_interval_s), book=BookConfig(url=book_url))
    with as_file(program_file(program)) as file:
        async with Accrue.open(settings, program=file) as accrue:
            yield accrue


def engine_settings(data_dir: Path | None, settle_interval_s: float) -> Config:
    """The settings by default, but for where and how often; and no period ends, not even at midnight."""
    return closing_nothing(Config(data_dir=data_dir, process=ProcessConfig(settle_interval_s=settle_interval_s)))


def program_file(name: str) -> Traversable:
    """Where a program of the benches is."""
    return files("accrue.cli.bench").joinpath("programs", f"{name}.toml")


async def pour(accrue: Accrue, bodies: Iterable[bytes]) -> int:
    """Send every body, a few at a time, and return the last position once all are durable."""
    waiting = iter(bodies)

    async def send() -> int:
        last = 0
        for body in waiting:
            receipt = await accrue.send(body)
            if receipt.position is None or receipt.accepted != len(receipt.results):
                raise Miscounted("An event of the bench was refused.")
            last = max(last, receipt.position)
        return last

    return max(await asyncio.gather(*(send() for _ in range(BATCHES_IN_FLIGHT))))


async def queryable(accrue: Accrue, position: int) -> None:
    """Return once reads show everything up to the position, after one read that does."""
    await accrue.parts.live.applied(DEFAULT_TENANT, position, timeout_s=APPLIED_WAIT_S_MAX)
    await accrue.board("writers").top(10)
