"""The rest between two publications, so that under overload boards coalesce more instead of costing more.

After a publication that took t, rest a multiple of t; but when fewer events wait than that one held, the next one is
shorter, too, and a share of the rest is enough. So after a burst nobody waits for the burst's sake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from accrue.clock import Clock

TIMES = 5
"""In a process that has the boards in its own memory: publishing takes a sixth of its time at most."""
TIMES_SHARED = 1
"""With boards in a server most of that time is waiting for it: half of its time is others'."""
PUBLISH_REST_S_MAX = 10.0
"""A machine that was asleep in the middle of publishing must not rest for days afterwards."""


class Rest:
    """`folded` says how many events were folded since the start."""

    def __init__(self, clock: Clock, folded: Callable[[], int], *, tick_s: float, is_shared: bool) -> None:
        self._clock = clock
        self._folded = folded
        self._tick_s = tick_s
        self._times = TIMES_SHARED if is_shared else TIMES
        self._began_s = 0.0
        self._before = self._until = 0

    def begin(self) -> None:
        """A publication begins, of all that is folded now."""
        self._began_s = self._clock.monotonic_s()
        self._before, self._until = self._until, self._folded()

    async def over(self) -> None:
        """It has ended: return when the next one may begin, after a tick at least."""
        ended_s = self._clock.monotonic_s()
        whole_s = min(self._times * (ended_s - self._began_s), PUBLISH_REST_S_MAX)
        published = max(1, self._until - self._before)
        while True:
            await asyncio.sleep(self._tick_s)
            share = min(1.0, (self._folded() - self._until) / published)
            if self._clock.monotonic_s() - ended_s >= share * whole_s:
                return
