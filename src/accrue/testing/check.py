"""Check a program of yours: its events go through the engine under many schedules of faults, and every time the outcome
must be that of a plain run.

What is drawn from the seed: how events are cut into requests, what is sent again, when a settlement falls, when the
process dies or another takes its place, which calls of the log, the book and the boards fail, how little stays in
memory, how long a thread takes. The order of the events stays, because rules may follow it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from structlog.testing import capture_logs

from accrue.config import Config, ProcessConfig
from accrue.core.reader import read
from accrue.errors import Fenced, Rejected, Unavailable
from accrue.ingest.accept import Receipt
from accrue.testing.deployment import Deployment
from accrue.testing.faults import NEVER, Faults, Rates
from accrue.testing.loop import LoopClock, SimulatedLoop
from accrue.testing.outcome import Outcome, differences, outcome
from accrue.wiring import Alone

TENANT = "default"
RUNS = 20
"""Schedules of faults that a check goes through unless it is told otherwise."""
DIFFERENCES_MAX = 20
REST_S_MAX = 1_000.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_encoder = msgspec.json.Encoder(decimal_format="number")


class FaultsFound(AssertionError):
    """Under some schedule of faults the outcome was another one. The message names the seed and what differs."""


def check(
    program: Path | str,
    events: Iterable[Mapping[str, Any]],
    *,
    runs: int = RUNS,
    seed: int | None = None,
    rates: Rates | None = None,
) -> Outcome:
    """Run events under faults and compare; return the outcome they come to.

    `program` is a file, or the text of a program. An event is what `Accrue.send_many` takes; one without an id or a
    time gets one, a second after the one before. `seed` runs only that schedule. Raises `ProgramError`, `Rejected` for
    an event that would be refused, and `FaultsFound`.
    """
    text = program if isinstance(program, str) and "\n" in program else Path(program).read_text(encoding="utf-8")
    read(text, file="program" if text is program else str(program))
    lines, subjects, latest_us = _prepared(events)
    start_us = latest_us + 1
    plain = _run(0, NEVER, text, lines, subjects, start_us)
    for number in range(runs) if seed is None else [seed]:
        found = _run(number, rates or Rates(), text, lines, subjects, start_us)
        unlike = list(differences(found, plain))
        if unlike:
            shown = [*unlike[:DIFFERENCES_MAX], *(["..."] if len(unlike) > DIFFERENCES_MAX else [])]
            raise FaultsFound("\n".join([f"With seed={number} the outcome is not that of a plain run:", *shown]))
    return plain


class AccrueFaults:
    """What the pytest fixture `accrue_faults` is. `check` as the function of that name."""

    def check(
        self,
        program: Path | str,
        events: Iterable[Mapping[str, Any]],
        *,
        runs: int = RUNS,
        seed: int | None = None,
        rates: Rates | None = None,
    ) -> Outcome:
        """See `accrue.testing.check`."""
        return check(program, events, runs=runs, seed=seed, rates=rates)


def _prepared(events: Iterable[Mapping[str, Any]]) -> tuple[list[bytes], list[str], int]:
    """The events as they are sent, everybody they name, and the latest of their times."""
    lines: list[bytes] = []
    subjects: dict[str, None] = {}
    times_us = [0]
    for number, given in enumerate(events, start=1):
        event = {"id": f"event {number}", "time": EPOCH + timedelta(days=20_000, seconds=number), **given}
        lines.append(_encoder.encode(event))
        time = event["time"] if isinstance(event["time"], datetime) else datetime.fromisoformat(str(event["time"]))
        if time.tzinfo is None:
            raise Rejected("A time needs a time zone.", field="$.time")
        times_us.append((time - EPOCH) // timedelta(microseconds=1))
        subjects.update(dict.fromkeys(_texts(event)))
    return lines, sorted(subjects), max(times_us)


def _texts(value: object) -> Iterator[str]:
    """Every text in an event may name a subject."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _run(seed: int, rates: Rates, text: str, lines: Sequence[bytes], subjects: Sequence[str], start_us: int) -> Outcome:
    faults = Faults(seed, rates)
    loop = SimulatedLoop(faults.delay_s)
    with tempfile.TemporaryDirectory(prefix="accrue-testing-") as folder, capture_logs():
        client = _Client(Path(folder), loop, faults, start_us, plain=rates == NEVER)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(client.run(text, lines, subjects))


class _Client:
    """Sends everything in order, each request until it is answered."""

    def __init__(self, folder: Path, loop: SimulatedLoop, faults: Faults, start_us: int, *, plain: bool) -> None:
        self._random, self._faults, self._plain = faults.random, faults, plain
        clock = LoopClock(loop, start_us=start_us)
        self._deployment = Deployment(folder, self._config(), loop=loop, clock=clock, faults=faults)

    async def run(self, text: str, lines: Sequence[bytes], subjects: Sequence[str]) -> Outcome:
        try:
            receipt = await self._insist(lambda parts: parts.acceptor.program(TENANT, text, id="program"))
            await self._insist(lambda parts: _applied(parts, receipt.position))
            sent = 0
            while sent < len(lines):
                some = lines[sent : sent + self._random.choice((1, 2, 5, 20, 100))]
                self._something_happens()
                await self._send(some)
                sent += len(some)
                if self._faults.strikes("repeat"):
                    await self._send(self._random.sample(lines[:sent], min(sent, self._random.randint(1, 20))))
            self._faults.off = True
            await self._insist(_at_rest)
            found: Outcome = await self._insist(lambda parts: outcome(parts, TENANT, subjects))
            return found
        finally:
            self._faults.off = True
            await self._deployment.bury()

    def _something_happens(self) -> None:
        if self._faults.strikes("crash"):
            self._deployment.kill_after(self._random.randrange(1, 60))
        if self._faults.strikes("hand_over"):
            self._deployment.hand_over()
        if self._faults.strikes("settle_now"):
            self._deployment.settle_soon()

    async def _send(self, lines: Sequence[bytes]) -> None:
        receipt: Receipt = await self._insist(
            lambda parts: parts.acceptor.events(TENANT, b"\n".join(dict.fromkeys(lines)), "ndjson")
        )
        for result in receipt.results:
            if result.status == "rejected":
                raise Rejected(f"The event {result.id!r} is refused: {result.detail}", field=result.field)

    async def _insist(self, question: Callable[[Alone], Coroutine[Any, Any, Any]]) -> Any:
        while True:
            try:
                return await self._deployment.ask(question)
            except (Unavailable, Fenced):
                await asyncio.sleep(0.01)

    def _config(self) -> Config:
        if self._plain:
            return Config(data_dir=None)
        choice = self._random.choice
        process = ProcessConfig(
            tick_ms=choice((10, 50, 400)),
            settle_interval_s=choice((0.1, 2.0, 60.0)),
            settle_dirty_rows=choice((8, 100, 400_000)),
            entries_in_memory_max=choice((1, 50, 5_000_000)),
        )
        return Config(data_dir=None, process=process)


async def _applied(parts: Alone, position: int) -> None:
    await parts.worker.applied(position, timeout_s=REST_S_MAX)


async def _at_rest(parts: Alone) -> None:
    await _applied(parts, await parts.log.end(0))
