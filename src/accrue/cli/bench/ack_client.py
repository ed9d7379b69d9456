"""The load of `accrue bench ack`: keep-alive connections that post one event at a time and count the answers.

It has to be cheaper than the server it loads, so it is no HTTP client: the requests are made beforehand, only the id
is written in, and of an answer it reads the status and where it ends.

    closed loop   every connection sends its next event when the answer to the one before is there
    offered       so many events a second are due, answers or not; an event's time runs from when it was due, so that
                  a server which stands still is charged for everything that should have been sent meanwhile
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from msgspec import Struct

from accrue.cli.bench import workload
from accrue.clock import Clock

TEMPLATES = 10_000
TICK_S = 0.0005
"""Events that are due within so much of each other are sent together. (A loop whose timers have whole milliseconds
makes one of it.)"""
DRAIN_S_MAX = 60.0


class Requests:
    """HTTP requests with one event each, of a stream with `TEMPLATES` or of a writers' community; no id twice."""

    def __init__(self, *, subjects: int, end_us: int, stream: workload.Stream | None = None) -> None:
        stream = stream or workload.community(events=TEMPLATES, subjects=subjects, end_us=end_us)
        self._templates = [_template(body) for body in workload.bodies(stream, batch=1)]
        self.made = 0

    def next(self) -> bytes:
        """The next one."""
        number = self.made
        self.made = number + 1
        return self.again(number)

    def again(self, number: int) -> bytes:
        """The one that was made with this number, counted from 0."""
        before, after = self._templates[number % TEMPLATES]
        return b"%b%012d%b" % (before, number, after)


class Window(Struct, frozen=True, kw_only=True):
    """What was seen while it was measured. `sent` counts the warm-up and what was under way at the end too."""

    per_s: float
    p50_ms: float
    p99_ms: float
    sent: int
    acked: int
    errors: int


class Load:
    """So many connections to one port. `run` opens them, loads for a while, and closes them."""

    def __init__(self, port: int, requests: Requests, clock: Clock, *, connections: int) -> None:
        self._port = port
        self._requests = requests
        self._connections = connections
        self._now_s = clock.monotonic_s
        self._idle: list[_Connection] = []
        self._due: deque[float] | None = None
        self._due_per_s = 0.0
        self._open = 0
        self._ending = False
        self._measuring = False
        self._spent_s: list[float] = []
        self._sent = self._acked = self._errors = 0
        self._all_idle = asyncio.Event()

    async def run(self, *, seconds: float, warm_up_s: float, offered_per_s: float | None = None) -> Window:
        """Load, and measure for `seconds` after the warm-up. Closed loop unless a rate is given."""
        loop = asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port))[1]
            for _ in range(self._connections)
        ]
        self._open = len(connections)
        if offered_per_s is not None:
            self._due, self._due_per_s = deque(), offered_per_s
            self._idle = list(connections)
            self._tick(loop, self._now_s())
        else:
            for connection in connections:
                connection.send(self._now_s())
        await asyncio.sleep(warm_up_s)
        self._measuring, began = True, self._now_s()
        await asyncio.sleep(seconds)
        self._measuring, spent = False, self._now_s() - began
        await self._end()
        for connection in connections:
            connection.close()
        times = sorted(self._spent_s) or [0.0]
        return Window(
            per_s=len(self._spent_s) / spent,
            p50_ms=1e3 * times[len(times) // 2],
            p99_ms=1e3 * times[len(times) * 99 // 100],
            sent=self._sent,
            acked=self._acked,
            errors=self._errors,
        )

    async def _end(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._ending = True
        self._due = None
        if len(self._idle) < self._open:
            self._all_idle.clear()
            async with asyncio.timeout(DRAIN_S_MAX):
                await self._all_idle.wait()

    # --- what connections call ------------------------------------------------------------------------------------

    def request(self) -> bytes:
        self._sent += 1
        return self._requests.next()

    def answered(self, connection: _Connection, *, accepted: bool, since_s: float) -> None:
        """Count an answer and let the connection go on, or rest."""
        now_s = self._now_s()
        if accepted:
            self._acked += 1
            if self._measuring:
                self._spent_s.append(now_s - since_s)
        else:
            self._errors += 1
        if self._ending:
            self._rest(connection)
        elif self._due is None:
            connection.send(now_s)
        elif self._due:
            connection.send(self._due.popleft())
        else:
            self._rest(connection)

    def lost(self, *, waiting: bool) -> None:
        """A connection closed before its time."""
        self._errors += waiting
        self._open -= 1
        if len(self._idle) >= self._open:
            self._all_idle.set()

    def _rest(self, connection: _Connection) -> None:
        self._idle.append(connection)
        if len(self._idle) >= self._open:
            self._all_idle.set()

    def _tick(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        """Send what has become due since the last tick, over connections that rest; the others wait their turn."""
        due = self._due
        if due is None:
            return
        now_s, step_s = self._now_s(), 1 / self._due_per_s
        while due_s <= now_s:
            due.append(due_s)
            due_s += step_s
        while due and self._idle:
            self._idle.pop().send(due.popleft())
        loop.call_later(max(TICK_S, due_s - self._now_s()), self._tick, loop, due_s)


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._since_s: float | None = None
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # of a stream it is one; uvloop's only says so

    def send(self, since_s: float) -> None:
        """Post the next event; its time runs from `since_s`."""
        self._since_s = since_s
        self._transport.write(self._load.request())

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if not _is_whole(data):
            self._received = data
            return
        self._received = b""
        since_s, self._since_s = self._since_s, None
        if since_s is not None:
            self._load.answered(self, accepted=data.startswith(b"HTTP/1.1 202 "), since_s=since_s)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._load.lost(waiting=self._since_s is not None)

    def close(self) -> None:
        self._closing = True
        self._transport.close()


_LENGTH = b"content-length: "


def _is_whole(data: bytes) -> bool:
    """Whether an answer is there to its end. The server always says how long its body is."""
    head = data.find(b"\r\n\r\n")
    at = data.find(_LENGTH)
    if head < 0 or at < 0:
        return False
    length = int(data[at + len(_LENGTH) : data.index(b"\r\n", at)])
    return len(data) >= head + 4 + length


def _template(event: bytes) -> tuple[bytes, bytes]:
    """A request up to the number in its id, and from there on."""
    end = len(workload.START) + workload.NUMBER_DIGITS
    return _HEAD % len(event) + workload.START, event[end:]


_HEAD = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
