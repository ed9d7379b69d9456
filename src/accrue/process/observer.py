"""The observer: looks now and then at what /metrics says and nobody counts anyway, so that a scrape asks nothing.

    the log      every LOOK_S       where each partition that is worked on here begins and ends
    the book     every LOOK_S       whether anything of what was folded came there
    the boards   every LOOK_S       a few tenants, the next ones each time; the largest are remembered

What does not answer is left out until it does: being watched must not become a way to fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from accrue.boards.base import Boards, Usage
from accrue.clock import Clock
from accrue.errors import AccrueError
from accrue.log.base import Log, Retention
from accrue.process.base import Seat, Seen, Status
from accrue.process.directory import Directory

LOOK_S = 5.0
ANSWER_S_MAX = 5.0
WEIGHED_PER_LOOK = 20
"""10,000 tenants are weighed once in 42 minutes; each takes Redis two round trips and up to 64 samples."""
TENANTS_SHOWN_MAX = 20
"""So many tenants have a line of their own for what their boards take."""

logger = structlog.get_logger("accrue.process")


class Observer:
    """`Observed` of one process, while `run` runs. `directory` is None in a process that is the only one."""

    def __init__(
        self,
        log: Log,
        boards: Boards,
        clock: Clock,
        *,
        statuses: Callable[[], dict[int, Status]],
        directory: Directory | None,
    ) -> None:
        self._log, self._boards, self._clock = log, boards, clock
        self._directory = directory
        self._seen: dict[int, Seen] = {}
        self._settled: dict[int, tuple[int, float]] = {}  # the settled position, and since when it is that
        self._retention = Retention()
        self._largest: dict[str, Usage] = {}
        self._to_weigh: list[str] = []
        self.statuses = statuses

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once at everything there is to be looked at."""
        statuses = self.statuses()
        for gone in self._seen.keys() - statuses:
            del self._seen[gone], self._settled[gone]
        for partition in statuses:
            await self._attempt(self._look_at(partition))
        await self._attempt(self._weigh(statuses))

    def partitions(self) -> Mapping[int, Seen]:
        return self._seen

    def retention(self) -> Retention:
        return self._retention

    def boards(self) -> Mapping[str, Usage]:
        return self._largest

    def seats(self) -> Sequence[Seat]:
        return self._directory.seats() if self._directory is not None else ()

    async def _look_at(self, partition: int) -> None:
        if not self._seen:
            self._retention = await self._log.retention()
        begin, end = await self._log.begin(partition), await self._log.end(partition)
        status = self.statuses().get(partition)
        if status is None:
            return
        now_s = self._clock.monotonic_s()
        settled, since_s = self._settled.get(partition, (-1, now_s))
        if status.settled != settled or status.position == status.settled:
            since_s = now_s
        self._settled[partition] = status.settled, since_s
        behind_s = 0.0
        if end > status.position and status.log_time_us:
            behind_s = max(0.0, (self._clock.now_us() - status.log_time_us) / 1e6)
        self._seen[partition] = Seen(begin=begin, end=end, behind_s=behind_s, unsettled_s=now_s - since_s)

    async def _weigh(self, statuses: Mapping[int, Status]) -> None:
        if not self._to_weigh:
            self._to_weigh = [tenant for status in statuses.values() for tenant in status.events]
            for gone in self._largest.keys() - set(self._to_weigh):
                del self._largest[gone]
        weighing, self._to_weigh = self._to_weigh[:WEIGHED_PER_LOOK], self._to_weigh[WEIGHED_PER_LOOK:]
        for tenant in weighing:
            self._largest[tenant] = await self._boards.usage(tenant)
        largest = sorted(self._largest.items(), key=lambda item: (-item[1].size_bytes, item[0]))
        self._largest = dict(largest[:TENANTS_SHOWN_MAX])

    async def _attempt(self, looking: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                await looking
        except (AccrueError, TimeoutError):
            pass  # whoever needs the log or the boards says so
        except Exception:  # a defect of ours in watching is no reason to stop what is watched
            logger.exception("observing failed")
