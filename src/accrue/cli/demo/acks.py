"""How long acks took: the last ones for the live view, all of them for the summary, in a fixed amount of memory."""

from __future__ import annotations

from collections import deque

STEP_MS = 0.05
STEPS = 40_000
"""Up to two seconds; what took longer counts as that."""

LAST = 1_000


class Acks:
    """A count for each twentieth of a millisecond."""

    def __init__(self) -> None:
        self.requests = 0
        self._counts = [0] * STEPS
        self._last: deque[float] = deque(maxlen=LAST)

    def add(self, seconds: float) -> None:
        """One request was answered after so long."""
        self.requests += 1
        self._last.append(seconds)
        self._counts[min(int(seconds * 1e3 / STEP_MS), STEPS - 1)] += 1

    def lately_ms(self, share: float) -> float:
        """The time within which this share of the last requests was answered."""
        times = sorted(self._last)
        return times[min(int(len(times) * share), len(times) - 1)] * 1e3 if times else 0.0

    def in_all_ms(self, share: float) -> float:
        """The same of all requests, rounded up to the next step."""
        wanted, found = self.requests * share, 0
        for step, count in enumerate(self._counts):
            found += count
            if count and found >= wanted:
                return (step + 1) * STEP_MS
        return 0.0
