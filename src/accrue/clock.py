"""The only place that asks what time it is.

Everything below takes time as a value: integer microseconds since 1970-01-01 UTC (`_us`). Tests pass their own clock.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for stamping, monotonic time for waiting."""

    def now_us(self) -> int:
        """Wall time, integer microseconds since 1970-01-01 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to; for tests and simulations."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def monotonic_s(self) -> float:
        return self._now_us / 1_000_000

    def advance(self, *, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now_us += round(seconds * 1_000_000)
