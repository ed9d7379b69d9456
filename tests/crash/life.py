"""One life of an engine: it opens, takes requests from several at once, and ends as it was told, or is killed.

Runs in a process of its own, made by `os.fork` from one that has imported everything and started no thread. What the
clients of the engine know is written to a pipe, a line each, with one system call: begun before a request is sent,
acked after it was answered. So when the process is gone the other end knows exactly what had been promised.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

import structlog
from msgspec import Struct

import accrue.process.closer
from accrue import crashpoints
from accrue.clock import SystemClock
from accrue.config import Config, ProcessConfig, ServerConfig
from accrue.connect.sqlite import SqliteThread
from accrue.engine import Accrue
from accrue.server import serve
from crash.unsynced import Disk
from crash.workload import PROGRAMS, Requests

SENDERS = 4
LIFE_S_MAX = 20.0
"""Only so that a life that neither ends nor is killed ends its test."""

BEGUN, ACKED, OPEN, LEAVING = b"B", b"A", b"O", b"L"


class Plan(Struct, frozen=True, kw_only=True):
    """How a life goes.

    `campaign` says what the requests hold, and `first` is the number of the first new one; those in `again` are sent
    first, those in `acked` now and then. `side` is where the layer that loses what was not synced keeps its ledger;
    None is without it. `point` kills at a crash point. `requests` is when to leave in order; 0 is never.
    `slow_us` is how far the engine's clock is behind. `synchronous` is not the product's setting when it is given.
    `http` serves, and says the URL; requests come from outside then.
    """

    campaign: int
    seed: int
    data_dir: Path
    begin_us: int
    first: int
    again: list[int]
    acked: list[int]
    side: Path | None = None
    early: float = 0.0
    point: str | None = None
    hits: int = 1
    requests: int = 0
    settle_interval_s: float = 0.02
    program: int = 0
    slow_us: int = 0
    synchronous: str | None = None
    http: bool = False


def begin(plan: Plan, say: int, complaints: int, ending: Callable[[], None] = lambda: None) -> int:
    """Start a life and return its process id. It says what happens to `say`, a pipe, and what is wrong to
    `complaints`."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(complaints, 2)
        signal.alarm(round(LIFE_S_MAX))
        live(plan, say)
        ending()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def live(plan: Plan, say: int) -> None:
    """The life itself, in this process."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    accrue.process.closer.CHECK_S = 0.01
    if plan.point is not None:
        crashpoints.arm(plan.point, hits=plan.hits)
    if plan.synchronous is not None:
        override_synchronous(plan.synchronous)
    if plan.side is not None:
        Disk(plan.side, seed=plan.seed, early=plan.early).install()
    config = settings(plan)
    if plan.http:
        asyncio.run(serve(config, on_ready=lambda url: _say(say, OPEN, url)))
    else:
        asyncio.run(_library(plan, config, say))


def override_synchronous(level: str) -> None:
    """From now on this process opens SQLite files with another setting than the product's."""
    SqliteThread.__init__.__kwdefaults__["synchronous"] = level


def settings(plan: Plan) -> Config:
    """The engine's settings for a plan: everything happens often."""
    program = plan.data_dir.parent / f"program-{plan.program}.toml"
    program.write_text(PROGRAMS[plan.program])
    return Config(
        data_dir=plan.data_dir,
        program=program,
        server=ServerConfig(port=0),
        process=ProcessConfig(tick_ms=1, settle_interval_s=plan.settle_interval_s, close_grace_min=0.00001),
    )


class SlowClock(SystemClock):
    """The machine's clock, so far behind: it was set back while the engine was down."""

    def __init__(self, slow_us: int) -> None:
        self._slow_us = slow_us

    def now_us(self) -> int:
        return super().now_us() - self._slow_us


class Sender:
    """What the clients send: new requests, those again that nobody answered, and at times something twice, or
    another body under an old id."""

    def __init__(self, plan: Plan) -> None:
        self._requests = Requests(plan.campaign, begin_us=plan.begin_us)
        self._random = Random(plan.seed)
        self._again = list(plan.again)
        self._numbers = itertools.count(plan.first)
        self._acked = list(plan.acked)

    def next(self) -> tuple[int | None, bytes]:
        """A request's number and its body. None for one whose answer promises nothing new."""
        if self._again:
            number = self._again.pop()
            return number, self._requests.body(number)
        if self._acked and (chance := self._random.random()) < 0.15:
            return None, self._requests.body(self._random.choice(self._acked), changed=chance < 0.05)
        number = next(self._numbers)
        return number, self._requests.body(number)

    def answered(self, number: int | None) -> None:
        """A request was acked."""
        if number is not None:
            self._acked.append(number)


async def _library(plan: Plan, config: Config, say: int) -> None:
    sender, left = Sender(plan), itertools.count(1)
    async with Accrue.open(config, clock=SlowClock(plan.slow_us)) as engine:
        _say(say, OPEN)
        enough = asyncio.Event()

        async def send() -> None:
            while not enough.is_set():
                number, body = sender.next()
                if number is not None:
                    _say(say, BEGUN, number)
                receipt = await engine.send(body)
                if receipt.accepted != len(receipt.results):
                    raise AssertionError(f"refused: {receipt.results}")
                if number is not None:
                    _say(say, ACKED, number)
                sender.answered(number)
                if next(left) == plan.requests:
                    enough.set()

        await asyncio.gather(*(send() for _ in range(SENDERS)))
        _say(say, LEAVING)


def _say(pipe: int, what: bytes, more: object = "") -> None:
    os.write(pipe, b"%b%b\n" % (what, str(more).encode()))
