"""A circuit breaker: what does not answer is not asked by every request again, each waiting until its time is up.

               Unavailable, failures_max times in a row
      closed ------------------------------------------> open <-----------------+
         ^                                                | retry_s later       | Unavailable
         |                     it answered                v                     |
         +-------------------------------------------- half-open: one asks -----+

While it is open, and while the one that tries is under way, everybody else is refused at once, so that a read falls
back to what it has instead of waiting. An answer counts as one even when it says no, or that another knows
(`Elsewhere`): any other `Unavailable` is a failure.

Written here because of what the libraries leave out: pybreaker and circuitbreaker ask the machine's clock, and let
all who come once `retry_s` is over try at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from accrue.clock import Clock
from accrue.errors import AccrueError, Elsewhere, Unavailable

State = Literal["closed", "open", "half-open"]

FAILURES_MAX = 1
RETRY_S = 1.0
CIRCUITS_MAX = 1_000


class CircuitBreaker:
    """Stands before one thing that may not answer: a server, a process. `what` names it in errors.

    For one event loop. It sets no time limit: whatever is asked must end by itself, or nobody tries again.
    """

    def __init__(self, what: str, clock: Clock, *, failures_max: int = FAILURES_MAX, retry_s: float = RETRY_S) -> None:
        self._what, self._now_s = what, clock.monotonic_s
        self._failures_max, self._retry_s = failures_max, retry_s
        self._state: State = "closed"
        self._failures = 0
        self._retry_at_s = 0.0
        # Counts the changes of state. Who was let through before one says nothing about the state after it.
        self._changes = 0
        self.opened = 0

    @property
    def state(self) -> State:
        """As of the last who asked: time alone changes nothing."""
        return self._state

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask in this block, and nothing else: an `Unavailable` that leaves it opens the circuit, unless `Elsewhere`.

        Raises `Unavailable` without running the block while the circuit is open.
        """
        since = self._admit()
        try:
            yield
        except AccrueError as error:
            if isinstance(error, Unavailable) and not isinstance(error, Elsewhere):
                self._failed(since)
            else:
                self._answered(since)
            raise
        except BaseException:  # cancelled, or a mistake of ours: nothing is known of the other side
            self._left(since)
            raise
        else:
            self._answered(since)

    def _admit(self) -> int:
        if self._state == "open" and self._now_s() >= self._retry_at_s:
            self._become("half-open")
            return self._changes
        if self._state != "closed":
            left_s = self._retry_at_s - self._now_s() if self._state == "open" else self._retry_s
            raise Unavailable(f"{self._what} did not answer; it is asked again soon.", retry_after_s=left_s)
        return self._changes

    def _failed(self, since: int) -> None:
        if since != self._changes:
            return
        self._failures += 1
        if self._failures >= self._failures_max:  # which a half-open circuit still has
            self._retry_at_s = self._now_s() + self._retry_s
            self.opened += self._state == "closed"
            self._become("open")

    def _answered(self, since: int) -> None:
        if since != self._changes:
            return
        self._failures = 0
        if self._state == "half-open":
            self._become("closed")

    def _left(self, since: int) -> None:
        """Who was to try does not know: the next one tries, without waiting again."""
        if since == self._changes and self._state == "half-open":
            self._become("open")

    def _become(self, state: State) -> None:
        self._state = state
        self._changes += 1


class Circuits:
    """One breaker for each of many things, by name. Processes come and go, each with an address of its own: of more
    than `CIRCUITS_MAX` the oldest is forgotten."""

    def __init__(self, clock: Clock, *, retry_s: float = RETRY_S) -> None:
        self._clock, self._retry_s = clock, retry_s
        self._all: dict[str, CircuitBreaker] = {}

    def of(self, what: str) -> CircuitBreaker:
        """The one that stands before this."""
        if what not in self._all:
            if len(self._all) >= CIRCUITS_MAX:
                del self._all[next(iter(self._all))]
            self._all[what] = CircuitBreaker(what, self._clock, retry_s=self._retry_s)
        return self._all[what]
