"""`accrue bench ack`: durable posts of one event over HTTP, against the same server without a log.

    this process (one core)                 a server process (another core)
    load client  --keep-alive connections-->  floor    checks, goes nowhere
                                              durable  checks, log synced, then answered; folds, publishes, settles
                                              echo     nothing at all: what the client can do

Floor and durable take turns, so that a disturbance of the machine meets both.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from accrue.cli.bench.ack_client import Load, Requests, Window
from accrue.cli.bench.drive import run
from accrue.cli.bench.place import directory
from accrue.cli.bench.report import Miscounted, bounded, machine, show
from accrue.cli.options import AsJson
from accrue.cli.terminal import err
from accrue.clock import Clock, SystemClock
from accrue.collector import calm
from accrue.errors import Unavailable

TURNS_MAX = 10
SUBJECTS = 100_000
CEILING_S_MAX = 2.0
CEILING_SHARE_MIN = 1.3
"""So many times the floor the client has to manage by itself; else it, not the server, may be what is measured."""

WARM_UP_S_MAX = 1.0
SETTLEMENTS_PER_WINDOW = 4
OFFERED_SHARE = 0.5
"""The moderate load: so much of what the closed loop had achieved."""

LEAVE_S_MAX = 60.0


class Figures(Struct, frozen=True, kw_only=True):
    """Rates are answers 202 a second, in closed loop over `connections`; `ratio` is durable against floor.

    `p50_ms` and `p99_ms` are in closed loop over `latency_connections`; `offered_p50_ms` and `offered_p99_ms` at
    `offered_per_s` over as many, from when an event was due. `settlements` counts those inside the durable windows,
    `settlements_least` those of the one that saw the fewest. `client_ceiling_per_s` is the client against an echo.
    Unless `client_is_cheaper`, it says how fast the client is, or that something else had the cores, and no more.
    """

    connections: int
    floor_per_s: float
    durable_per_s: float
    ratio: float
    floor_windows: list[float]
    durable_windows: list[float]
    latency_connections: int
    p50_ms: float
    p99_ms: float
    offered_per_s: float
    offered_p50_ms: float
    offered_p99_ms: float
    floor_p50_ms: float
    floor_p99_ms: float
    settlements: int
    settlements_least: int
    errors: int
    events: int
    client_ceiling_per_s: float
    client_is_cheaper: bool
    pinned: bool


class Cores(Struct, frozen=True):
    """Which core has whom; None where there is no choice."""

    server: int | None = None
    client: int | None = None


def ack(
    connections: Annotated[int, typer.Option("--connections", help="Connections, for the rates.")] = 128,
    latency_connections: Annotated[int, typer.Option("--latency-connections", help="The same, for times.")] = 32,
    seconds: Annotated[float, typer.Option("--seconds", help="How long each window is.")] = 10.0,
    turns: Annotated[int, typer.Option("--turns", help="How often floor and durable take turns.")] = 2,
    place: Annotated[Path | None, typer.Option("--dir", help="Where to keep the data meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """How many durable single events a second one server core acknowledges, and how fast.

    Each answer means: on disk. Meanwhile the server folds, publishes and settles about four times a window.

    \b
    Example:
      accrue bench ack --seconds 4 --json
    """
    bounded("--connections", connections, 1, 1_000)
    bounded("--latency-connections", latency_connections, 1, 1_000)
    bounded("--seconds", seconds, 0.1, 600)
    bounded("--turns", turns, 1, TURNS_MAX)
    clock = SystemClock()
    requests = Requests(subjects=SUBJECTS, end_us=clock.now_us())
    cores = _cores()
    with directory(place) as data_dir, calm(), _pinned(cores.client):
        bench = Bench(data_dir, requests, clock, cores, seconds)
        figures = run(bench.measure(connections, latency_connections, turns))
        facts = machine(data_dir)
    if not figures.client_is_cheaper:
        err().print("The load client was not clearly faster than the server: run this on a quieter machine.")
    show("ack", figures, facts, as_json=as_json)


class Bench:
    """One run: its windows, and what they came to so far."""

    def __init__(self, data_dir: Path, requests: Requests, clock: Clock, cores: Cores, seconds: float) -> None:
        self._data_dir = data_dir
        self._requests = requests
        self._clock = clock
        self._cores = cores
        self._seconds = seconds
        self._settlements: list[int] = []
        self._errors = 0
        self._events = 0

    async def measure(self, connections: int, latency_connections: int, turns: int) -> Figures:
        """1. What the client can do. 2. Floor and durable in turns. 3. Times, at fewer connections."""
        # 1.
        ceiling = (await self._alone("echo", connections, seconds=min(self._seconds, CEILING_S_MAX)))[0].per_s
        # 2.
        floor: list[float] = []
        durable: list[float] = []
        for _ in range(turns):
            floor.append((await self._alone("floor", connections))[0].per_s)
            durable.append((await self._alone("durable", connections))[0].per_s)
        # 3.
        least = await self._alone("floor", latency_connections)
        offered_per_s = max(OFFERED_SHARE * min(durable), 1.0)
        closed, offered = await self._alone("durable", latency_connections, then_offered_per_s=offered_per_s)
        return Figures(
            connections=connections,
            floor_per_s=sum(floor) / turns,
            durable_per_s=sum(durable) / turns,
            ratio=sum(durable) / sum(floor),
            floor_windows=floor,
            durable_windows=durable,
            latency_connections=latency_connections,
            p50_ms=closed.p50_ms,
            p99_ms=closed.p99_ms,
            offered_per_s=offered.per_s,
            offered_p50_ms=offered.p50_ms,
            offered_p99_ms=offered.p99_ms,
            floor_p50_ms=least[0].p50_ms,
            floor_p99_ms=least[0].p99_ms,
            settlements=sum(self._settlements),
            settlements_least=min(self._settlements),
            errors=self._errors,
            events=self._events,
            client_ceiling_per_s=ceiling,
            client_is_cheaper=ceiling >= CEILING_SHARE_MIN * max(floor),
            pinned=self._cores.server is not None,
        )

    async def _alone(
        self, kind: str, connections: int, *, seconds: float | None = None, then_offered_per_s: float | None = None
    ) -> list[Window]:
        """Start a server, load it in closed loop, then perhaps at a rate, and stop it. A durable one is asked
        afterwards whether it counted exactly what it acknowledged. Raises `Miscounted`."""
        rates = [None] if then_offered_per_s is None else [None, then_offered_per_s]
        windows: list[Window] = []
        async with _server(kind, self._data_dir, self._seconds / SETTLEMENTS_PER_WINDOW, self._cores.server) as server:
            for rate in rates:
                load = Load(server.port, self._requests, self._clock, connections=connections)
                before = await server.ask("now")
                window = await load.run(
                    seconds=self._seconds if seconds is None else seconds,
                    warm_up_s=min(self._seconds / 4, WARM_UP_S_MAX),
                    offered_per_s=rate,
                )
                after = await server.ask("now")
                windows.append(window)
                self._errors += window.errors
                if kind == "durable":
                    self._settlements.append(after.settlements - before.settlements)
            if kind == "durable":
                acked, sent = sum(window.acked for window in windows), sum(window.sent for window in windows)
                self._events += acked
                counted = await server.ask("applied")
                if not acked <= counted.applied <= sent or counted.events != counted.applied:
                    raise Miscounted(f"{acked} of {sent} events were acknowledged, and {counted.applied} applied.")
        return windows


class Condition(Struct, frozen=True):
    """What a server process says of itself; see ack_server.py."""

    settlements: int
    applied: int
    events: int


class Server:
    """A server process that listens."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def ask(self, question: str) -> Condition:
        """How it is: `now`, or once everything is `applied`."""
        assert self._process.stdin is not None
        self._process.stdin.write(question.encode() + b"\n")
        return msgspec.json.decode(await _line(self._process), type=Condition)


@asynccontextmanager
async def _server(kind: str, data_dir: Path, settle_interval_s: float, core: int | None) -> AsyncIterator[Server]:
    """Start one with a directory of its own; end it by closing its input, and wait for that."""
    with directory(data_dir) as own:
        arguments = [kind, str(own / "data"), str(settle_interval_s), *([] if core is None else [str(core)])]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}.ack_server", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            port = msgspec.json.decode(await _line(process), type=dict[str, int])["port"]
            yield Server(process, port)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(LEAVE_S_MAX):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise Unavailable("The server process of the bench has ended; what it said is above.")
    return line


def _cores() -> Cores:
    """One core each, where there are two and the system lets us choose."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores()
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[0], cores[1]) if len(cores) > 1 else Cores()


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Keep this process on one core meanwhile."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
