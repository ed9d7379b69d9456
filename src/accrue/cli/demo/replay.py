"""A real file instead of made traffic: NDJSON, plain or gzip, one event a line, under any program.

Nobody counts it a second time by hand, so the check is another one: what the server counted as new, repeated and
conflicting adds up to what it accepted, and playing the same lines again counts nothing, because all are repeats.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from accrue.cli.demo.acks import Acks
from accrue.cli.demo.connection import Connection
from accrue.cli.demo.figures import Figures, figures
from accrue.cli.demo.lanes import EVENTS_PATH
from accrue.cli.demo.messages import Progress, Verdict
from accrue.cli.demo.receipts import received
from accrue.clock import Clock
from accrue.core.event import BODY_SIZE_BYTES_MAX
from accrue.errors import Misconfigured, Unavailable

BATCH_EVENTS = 500


class Batch(Struct, frozen=True):
    """Some lines of the file. The same number always means the same lines."""

    number: int
    lines: list[bytes]


class Pass(Struct):
    """What the server said at the door, the first time or the second."""

    sent: int = 0
    accepted: int = 0
    repeated: int = 0
    rejected: int = 0
    batches: int = 0
    position: int = 0


class Replay:
    """Plays a file over one connection, in order, and then once more."""

    def __init__(self, port: int, file: Path, clock: Clock) -> None:
        self.stopping = asyncio.Event()
        self.seconds = 0.0
        self._connection = Connection(port)
        self._file = file
        self._clock = clock
        self._acks = Acks()
        self._first = Pass()
        self._before = Figures()

    async def run(self, *, rate: int, seconds: float | None) -> None:
        """Play the file, `rate` events a second at most. Raises `Unavailable`, and `Misconfigured` for the file."""
        self._before = await figures(self._connection)
        now_s = self._clock.monotonic_s
        began_s = now_s()
        for batch in batches(self._file):
            if self.stopping.is_set() or (seconds is not None and now_s() - began_s >= seconds):
                break
            await self._send(batch, self._first)
            self.seconds = now_s() - began_s
            if rate:
                await asyncio.sleep(max(self._first.sent / rate - self.seconds, 0.0))

    def progress(self, *, per_s: float, finished: bool = False) -> Progress:
        """How it goes, for the terminal."""
        time_ms, played = self._acks.in_all_ms if finished else self._acks.lately_ms, self._first
        return Progress(
            seconds=self.seconds,
            sent=played.sent,
            accepted=played.accepted,
            repeated=played.repeated,
            rejected=played.rejected,
            per_s=per_s,
            p50_ms=time_ms(0.50),
            p99_ms=time_ms(0.99),
            requests=self._acks.requests,
            position=played.position,
            finished=finished,
        )

    async def check(self) -> Verdict:
        """Play the same lines again, and see that nothing counts twice."""
        first, again = self._first, Pass()
        middle = await self._counted(first.position)
        for batch in batches(self._file):
            if batch.number >= first.batches:
                break
            await self._send(batch, again)
        after = await self._counted(again.position)
        await self._connection.close()
        one, two = _between(self._before, middle), _between(middle, after)
        compared = [
            ("new, repeated and conflicting events", first.accepted, one.new + one.repeated + one.conflicting),
            ("events accepted the second time", first.accepted, again.accepted),
            ("events rejected the second time", first.rejected, again.rejected),
            ("events that counted the second time", 0, two.new),
            ("conflicts the second time", one.conflicting, two.conflicting),
            ("repeats the second time", first.accepted - one.conflicting, two.repeated),
        ]
        differing = [f"{what}: {wanted} expected, {found} found" for what, wanted, found in compared if wanted != found]
        return Verdict(compared=len(compared), differing=len(differing), differences=differing)

    async def _send(self, batch: Batch, into: Pass) -> None:
        began_s = self._clock.monotonic_s()
        answer = await self._connection.post(
            EVENTS_PATH, b"\n".join(batch.lines), "application/x-ndjson", key=f"demo-{batch.number}"
        )
        self._acks.add(self._clock.monotonic_s() - began_s)
        position, statuses = received(answer, len(batch.lines))
        into.batches = batch.number + 1
        into.position = max(into.position, position)
        into.sent += len(batch.lines)
        into.accepted += statuses.count("accepted")
        into.repeated += statuses.count("repeated")
        into.rejected += statuses.count("rejected")

    async def _counted(self, position: int) -> Figures:
        """The figures once reads show everything up to a position."""
        answer = await self._connection.get("/v1/users/nobody", after=position)
        if answer.status != 200:
            raise Unavailable(f"The server answered {answer.status} to a read: {answer.body[:200]!r}.")
        return await figures(self._connection)


def batches(file: Path) -> Iterator[Batch]:
    """The lines of a file, empty ones left out, as requests. Raises `Misconfigured` when it cannot be read."""
    number, size_bytes = 0, 0
    lines: list[bytes] = []
    try:
        with _opened(file) as content:
            for whole in content:
                line = whole.strip()
                if not line:
                    continue
                if lines and (len(lines) == BATCH_EVENTS or size_bytes + len(line) >= BODY_SIZE_BYTES_MAX):
                    yield Batch(number, lines)
                    number, size_bytes, lines = number + 1, 0, []
                lines.append(line)
                size_bytes += len(line) + 1
    except (OSError, EOFError) as error:
        raise Misconfigured(f"{file} cannot be read: {error}.") from error
    if lines:
        yield Batch(number, lines)


def _opened(file: Path) -> gzip.GzipFile | BinaryIO:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def _between(before: Figures, after: Figures) -> Figures:
    """What was added."""
    return Figures(
        applied=after.applied - before.applied,
        repeated=after.repeated - before.repeated,
        conflicting=after.conflicting - before.conflicting,
        failed=after.failed - before.failed,
        unmatched=after.unmatched - before.unmatched,
    )
