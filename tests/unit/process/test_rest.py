"""How long a publisher rests, on a clock of its own."""

from __future__ import annotations

import asyncio

import pytest

from accrue.clock import ManualClock
from accrue.process.rest import PUBLISH_REST_S_MAX, TIMES, Rest

TICK_S = 0.025
DAY_S = 86_400


class Publishing:
    """A publication of so many events, and what is folded a second while the publisher rests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, folded_per_s: int) -> None:
        self.clock, self.folded, self._per_s = ManualClock(), 0.0, folded_per_s
        sleep = asyncio.sleep

        async def passes(delay_s: float) -> None:
            self.clock.advance(seconds=delay_s)
            self.folded += delay_s * self._per_s
            await sleep(0)

        monkeypatch.setattr("accrue.process.rest.asyncio.sleep", passes)
        self.rest = Rest(self.clock, lambda: int(self.folded), tick_s=TICK_S, is_shared=False)

    async def of(self, events: int, *, takes_s: float) -> float:
        """Publish, and return how long the rest was."""
        self.folded += events
        self.rest.begin()
        self.clock.advance(seconds=takes_s)
        began_s = self.clock.monotonic_s()
        await self.rest.over()
        return self.clock.monotonic_s() - began_s


async def test_while_as_much_comes_as_was_published_the_rest_is_a_multiple(monkeypatch: pytest.MonkeyPatch) -> None:
    publishing = Publishing(monkeypatch, folded_per_s=1_000_000)
    assert await publishing.of(10_000, takes_s=1) == pytest.approx(TIMES, abs=TICK_S)


async def test_when_a_burst_is_over_nobody_waits_for_its_sake(monkeypatch: pytest.MonkeyPatch) -> None:
    publishing = Publishing(monkeypatch, folded_per_s=1_000)
    assert await publishing.of(400_000, takes_s=1) == pytest.approx(TICK_S, abs=0.001)


async def test_what_comes_back_soon_gets_a_share_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    publishing = Publishing(monkeypatch, folded_per_s=50)
    assert TICK_S < await publishing.of(100, takes_s=0.1) < 0.1 * TIMES


async def test_a_machine_that_slept_while_publishing_publishes_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is measured by what publishing took, and a stopped process or a frozen machine takes days."""
    publishing = Publishing(monkeypatch, folded_per_s=1_000_000)
    assert await publishing.of(1, takes_s=DAY_S) == pytest.approx(PUBLISH_REST_S_MAX, abs=TICK_S)
