"""What several want to know at the same time is asked once.

Together     whoever comes first asks, and who comes meanwhile waits for the same answer
Looks        who comes meanwhile waits for the next look, because the one under way may have been too early
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from accrue.clock import Clock
from accrue.errors import AccrueError, Unavailable

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Together(Generic[Key, Answer]):
    """Questions under way, by what they are about. When whoever asks is cancelled, the next one asks. It sets no time
    limit."""

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight[Answer]] = {}

    async def ask(self, key: Key, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """What the question comes to. Raises what it raises; who waited for somebody else's gets an `Unavailable`."""
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.answers:
                return flight.answers[0]
            if flight.failed:
                raise Unavailable(flight.failed)
        flight = self._flights[key] = _Flight()
        try:
            answer = await question()
            flight.answers.append(answer)
            return answer
        except AccrueError as error:
            flight.failed = error.detail
            raise
        finally:
            del self._flights[key]
            flight.landed.set()


class _Flight(Generic[Answer]):
    """Once it has landed there is one answer; or why there is none; or neither, when whoever asked is gone."""

    def __init__(self) -> None:
        self.landed = asyncio.Event()
        self.answers: list[Answer] = []
        self.failed = ""


class Looks:
    """Looks something up for all who want it: one look at a time, and none within `every_s` of the one before. Whoever
    wants it gets one that begins later, so that it shows what was there by then."""

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Clock, *, every_s: float) -> None:
        self._look, self._now_s, self._every_s = look, clock.monotonic_s, every_s
        self._turn = asyncio.Lock()
        self._begun = self._landed = 0
        self._failed: AccrueError | None = None
        self._not_before_s = self._now_s()

    async def look(self) -> None:
        """Return when it was looked up. Raises what that raises."""
        wanted = self._begun + 1
        async with self._turn:
            if self._landed < wanted:
                await asyncio.sleep(self._not_before_s - self._now_s())
                self._begun += 1
                self._not_before_s = self._now_s() + self._every_s
                self._failed = None
                try:
                    await self._look()
                except AccrueError as error:
                    self._failed = error
                self._landed = self._begun
            if self._failed is not None:
                raise Unavailable(self._failed.detail) from self._failed
