"""What the HTTP face counts about itself: requests by route and status, and how long acks took.

The hot route counts with one dictionary entry and one list cell a request; everything else is done when somebody
reads /metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import NamedTuple, Protocol

ACK_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper ends. Finest around the promise: the 99th percentile under 5 ms."""


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})
"""Those that have lines of their own; any other is `other`."""

NO_ROUTE = "none"


class Request(NamedTuple):
    """`route` is the template (`/v1/users/{id}`), never the address, so that there are few of them."""

    method: str
    route: str
    status: int


class CacheFigures(Protocol):
    """What a cache of answers counts: reads answered with what was kept, with an answer that somebody else had asked
    for just then, and by asking."""

    hits: int
    shared: int
    misses: int
    size_bytes: int


class Traffic:
    """Counts since the start. `stale` reads were answered from the book alone, `forwarded` requests by another process;
    `cache` is None where there is none.

    Whoever answers counts the request, unless an answer may not reach the client (`counted_outside`): then it is
    counted where it leaves the process (counted.py).
    """

    def __init__(self, *, counted_outside: bool = False) -> None:
        self._counted_outside = counted_outside
        self.requests: Counter[Request] = Counter()
        self.acks = [0] * (len(ACK_BUCKETS_S) + 1)
        self.acks_s = 0.0
        self.stale = 0
        self.forwarded = 0
        self.cache: CacheFigures | None = None

    def answered(self, request: Request) -> None:
        """Somebody here made an answer to this."""
        if not self._counted_outside:
            self.requests[request] += 1

    def acked(self, seconds: float) -> None:
        """The events of one request became durable, this long after its headers reached us."""
        self.acks[bisect_left(ACK_BUCKETS_S, seconds)] += 1
        self.acks_s += seconds
