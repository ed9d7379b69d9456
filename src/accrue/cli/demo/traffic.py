"""The traffic process of the demo: python -m accrue.cli.demo.traffic, with its task as the first line it reads.

It makes the traffic, sends it, counts it the naive way, and in the end compares. It says how it goes four times a
second, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from pathlib import Path
from typing import Protocol

import msgspec

from accrue.cli.bench.drive import run
from accrue.cli.demo.check import check
from accrue.cli.demo.community import Community
from accrue.cli.demo.lanes import Lanes
from accrue.cli.demo.messages import CHECK, STOP, Broken, Progress, Task, Verdict, say, standard_input
from accrue.cli.demo.naive import day_in_paris
from accrue.cli.demo.replay import Replay
from accrue.clock import Clock, SystemClock
from accrue.errors import AccrueError

TELL_S = 0.25
WAVE_S = 30
WAVE_EVENTS = 150_000
"""How long a wave is when it cannot be as long as the run."""

RATE_OVER_S = 2.0


class Source(Protocol):
    """What sends events and can say whether they were counted."""

    stopping: asyncio.Event

    async def run(self, *, rate: int, seconds: float | None) -> None:
        """Send until told to stop, the time is over or nothing is left. Raises `Unavailable`."""
        ...

    def progress(self, *, per_s: float, finished: bool = False) -> Progress:
        """How it goes."""
        ...

    async def check(self) -> Verdict:
        """Compare what the server says with what was sent. Raises `Unavailable`."""
        ...


async def main(clock: Clock) -> None:
    """Read the task, do it, and obey words."""
    words = await standard_input()
    task = msgspec.json.decode(await words.readline(), type=Task)
    source = _source(task, clock)
    done = asyncio.Event()

    async def send() -> None:
        try:
            await source.run(rate=task.rate, seconds=task.seconds)
        finally:
            done.set()

    async def obey() -> None:
        """`stop` ends sending, `check` compares and ends everything, and so does the end of the words."""
        while word := (await words.readline()).decode().strip():
            if word == STOP:
                source.stopping.set()
            elif word == CHECK:
                say(await source.check())
                return
        raise Unwanted

    await asyncio.gather(send(), _tell(source, clock, done), obey())


class Unwanted(AccrueError):
    """Nobody listens any more."""

    def __init__(self) -> None:
        super().__init__("The terminal process has ended.")


class Made:
    """A community's traffic as a source."""

    def __init__(self, task: Task, clock: Clock) -> None:
        wave_events = round(task.rate * (task.seconds or WAVE_S)) or WAVE_EVENTS
        self._port, self._clock = task.port, clock
        self._lanes = Lanes(
            task.port, Community(seed=task.seed, wave_events=wave_events, began_us=clock.now_us()), clock
        )
        self.stopping = self._lanes.stopping
        self.run = self._lanes.run
        self.progress = self._lanes.progress

    async def check(self) -> Verdict:
        """Every value of every user and post."""
        lanes = self._lanes
        today = day_in_paris(self._clock.now_us())
        return await check(self._port, lanes.naive, lanes.counts, position=lanes.position, today=today)


def _source(task: Task, clock: Clock) -> Source:
    return Replay(task.port, Path(task.file), clock) if task.file is not None else Made(task, clock)


async def _tell(source: Source, clock: Clock, done: asyncio.Event) -> None:
    """Say how it goes until it is done, and then once more."""
    began_s = clock.monotonic_s()
    told: deque[tuple[float, int]] = deque([(began_s, 0)], maxlen=round(RATE_OVER_S / TELL_S))
    while not done.is_set():
        now_s, sent = clock.monotonic_s(), source.progress(per_s=0.0).sent
        before_s, before = told[0]
        told.append((now_s, sent))
        say(source.progress(per_s=(sent - before) / max(now_s - before_s, 1e-6)))
        try:
            async with asyncio.timeout(TELL_S):
                await done.wait()
        except TimeoutError:
            continue
    last = source.progress(per_s=0.0, finished=True)
    say(msgspec.structs.replace(last, per_s=last.sent / max(last.seconds, 1e-6)))


if __name__ == "__main__":
    try:
        run(main(SystemClock()))
    except Unwanted:
        sys.exit(1)
    except AccrueError as error:
        say(Broken(error.detail))
        sys.exit(2)
