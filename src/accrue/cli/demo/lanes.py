"""The lanes: connections that take the traffic to the server, and hand what was acked to the naive count.

    community --> lane 0 .. 7, a bounded queue each --> single POSTs and NDJSON batches --> acks --> naive

A lane sends its next request when the one before is answered, so the order inside a lane is the order of the log.
"""

from __future__ import annotations

import asyncio
from collections import deque

from msgspec import Struct

from accrue.cli.demo.acks import Acks
from accrue.cli.demo.community import LANES, Community, Sent
from accrue.cli.demo.connection import Answer, Connection
from accrue.cli.demo.messages import Progress
from accrue.cli.demo.naive import Naive
from accrue.cli.demo.receipts import received
from accrue.clock import Clock

EVENTS_PATH = "/v1/events"
TICK_S = 0.02
BATCH_EVENTS_MAX = 500
SINGLES_PER_TICK = 2
"""So many events of each turn of a lane are posted one by one, the rest together."""

QUEUE_EVENTS_MAX = 4_000
"""What may wait over all lanes. When the server is slower than the rate asked for, traffic is made more slowly."""


class Counts(Struct):
    """Of events, by what the server answered at the door. `to_be_rejected` is how many it should have: the malformed
    ones, and those that contradict another one of the same request. `resent` are those of requests sent twice."""

    sent: int = 0
    accepted: int = 0
    repeated: int = 0
    rejected: int = 0
    to_be_rejected: int = 0
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
            await asyncio.gather(self._make(rate, seconds), *(self._send(lane) for lane in range(LANES)))
        finally:
            for connection in self._connections:
                await connection.close()

    def progress(self, *, per_s: float, finished: bool = False) -> Progress:
        """How it goes, for the terminal."""
        naive, counts, viral = self.naive, self.counts, self._community.viral
        time_ms = self.acks.in_all_ms if finished else self.acks.lately_ms
        return Progress(
            seconds=self.seconds,
            sent=counts.sent,
            accepted=naive.distinct,
            repeated=naive.repeated + counts.repeated,
            conflicting=naive.conflicting,
            rejected=counts.rejected,
            crawled=naive.crawled_in_all,
            per_s=per_s,
            p50_ms=time_ms(0.50),
            p99_ms=time_ms(0.99),
            requests=self.acks.requests,
            position=self.position,
            naive_rows=naive.row_writes,
            viral=viral.id if viral else None,
            viral_owner=viral.owner if viral else None,
            finished=finished,
        )

    # --- making ---------------------------------------------------------------------------------------------------

    async def _make(self, rate: int, seconds: float | None) -> None:
        now_s, now_us = self._clock.monotonic_s, self._clock.now_us
        for sent in self._community.opening():
            self._put(sent)
        began_s, credit = now_s(), 0.0
        last_s = began_s
        while not self.stopping.is_set() and (seconds is None or now_s() - began_s < seconds):
            passed_s, last_s = now_s() - last_s, now_s()
            credit = min(credit + passed_s * rate, rate / 4 + 1) if rate else float(QUEUE_EVENTS_MAX)
            time_us = now_us()
            while credit >= 1 and self._waiting < QUEUE_EVENTS_MAX:
                made = self._community.next(time_us)
                credit -= len(made)
                for sent in made:
                    self._put(sent)
            for ready in self._ready:
                ready.set()
            self.seconds = now_s() - began_s
            await asyncio.sleep(TICK_S if rate else 0)
        self._ended = True
        for ready in self._ready:
            ready.set()

    def _put(self, sent: Sent) -> None:
        self._queues[sent.lane].append(sent)
        self._waiting += 1

    # --- sending --------------------------------------------------------------------------------------------------

    async def _send(self, lane: int) -> None:
        queue, ready = self._queues[lane], self._ready[lane]
        while True:
            if not queue:
                if self._ended:
                    return
                ready.clear()
                await ready.wait()
                continue
            for _ in range(min(SINGLES_PER_TICK, len(queue))):
                await self._request(lane, [queue.popleft()])
            some = [queue.popleft() for _ in range(min(BATCH_EVENTS_MAX, len(queue)))]
            if some:
                await self._request(lane, some)

    async def _request(self, lane: int, some: list[Sent]) -> None:
        kind = "application/json" if len(some) == 1 else "application/x-ndjson"
        body = b"\n".join([sent.line for sent in some])
        began_s = self._clock.monotonic_s()
        answer = await self._connections[lane].post(EVENTS_PATH, body, kind)
        if answer.attempts == 1:
            self.acks.add(self._clock.monotonic_s() - began_s)
        else:
            self.counts.resent += len(some)
        self._waiting -= len(some)
        self._take(some, answer)

    def _take(self, some: list[Sent], answer: Answer) -> None:
        """Count what was accepted, in the order in which it stands in the log."""
        position, statuses = received(answer, len(some))
        self.position = max(self.position, position)
        counts, naive = self.counts, self.naive
        counts.sent += len(some)
        said: dict[int, bytes] = {}
        for sent, status in zip(some, statuses, strict=True):
            if sent.what == "malformed":
                counts.to_be_rejected += 1
            else:
                counts.to_be_rejected += said.setdefault(sent.happening.number, sent.line) != sent.line
            if status == "accepted":
                counts.accepted += 1
                naive.fold(sent.happening, altered=sent.what == "conflict")
            elif status == "repeated":
                counts.repeated += 1
            else:
                counts.rejected += 1
