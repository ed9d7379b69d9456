"""The lanes: connections that take the traffic to the server, and hand what was acked to the naive count.

    community --> due events --> lane 0 .. 7, a bounded queue each --> single POSTs and NDJSON batches --> acks --> naive

A lane sends its next request when the one before is answered, so the order inside a lane is the order of the log.
"""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec
from msgspec import Struct

from accrue.cli.demo.acks import Acks
from accrue.cli.demo.community import LANES, Community, Sent
from accrue.cli.demo.connection import Answer, Connection
from accrue.cli.demo.messages import Progress
from accrue.cli.demo.naive import Naive
from accrue.clock import Clock
from accrue.errors import Unavailable

EVENTS_PATH = "/v1/events"
TICK_S = 0.02
BATCH_EVENTS_MAX = 500
SINGLES_PER_TICK = 2
"""So many events of each turn of a lane are posted one by one, the rest together."""

QUEUE_EVENTS_MAX = 4_000
"""What may wait over all lanes. When the server is slower than the rate asked for, traffic is made more slowly."""


class _Result(Struct):
    status: str


class _Answer(Struct):
    """Of a 202, or of a problem document: then there is no position."""

    position: int = 0
    results: list[_Result] = []  # noqa: RUF012 - msgspec copies an empty default


class Counts(Struct):
    """Of events, by what the server answered at the door."""

    sent: int = 0
    accepted: int = 0
    repeated: int = 0
    rejected: int = 0
    malformed: int = 0
    resent: int = 0


class Lanes:
    """Sends a community's traffic. `run` returns when it was told to stop, or the time is over, and all is answered."""

    def __init__(self, port: int, community: Community, clock: Clock) -> None:
        self.counts = Counts()
        self.acks = Acks()
        self.naive = Naive()
        self.position = 0
        self.stopping = asyncio.Event()
        self.seconds = 0.0
        self._community = community
        self._clock = clock
        self._connections = [Connection(port) for _ in range(LANES)]
        self._queues: list[deque[Sent]] = [deque() for _ in range(LANES)]
        self._ready = [asyncio.Event() for _ in range(LANES)]
        self._waiting = 0
        self._ended = False

    async def run(self, *, rate: int, seconds: float | None) -> None:
        """Make and send events, `rate` a second (0: as fast as it goes). Raises `Unavailable`."""
        try:
            async with asyncio.TaskGroup() as group:
                _all(group, self._make(rate, seconds), *(self._send(lane) for lane in range(LANES)))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            for connection in self._connections:
                await connection.close()
