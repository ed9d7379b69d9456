r"""A log that did not answer when its process started. The process starts all the same, where it can do without.

    run --> open, again and again --> the log of this deployment: from here on this is that log
                                  \-> another one, or one that is refused: the process ends, nothing was appended

Which log it has to be is known from the book. Until it is there everything asked of it is `Unavailable`, so a gateway
spools. What a process is refused for at its start, wrong credentials or versions or another log, ends it later instead;
but only when that lasts, because a server that is starting may refuse for a moment what it takes afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from accrue.errors import Absent, AccrueError, Misconfigured, Unavailable
from accrue.log.base import Log, Position, Retention

RETRY_S = 0.2
RETRY_S_MAX = 2.0
REFUSED_S_MAX = 30.0
"""A log that is refused for longer than this ends the process."""

SAFE_SIZE_BYTES_MAX = 256 << 10
"""The record size to stay under while nobody knows the log's own: less than that of any broker in use."""

logger = structlog.get_logger("accrue.log")


class LateLog:
    """See `Log`. `opening` opens the log, `identity` is which one it has to be, and `reason` why it is late. One task
    runs `run`; without it the log never comes."""

    def __init__(self, opening: Callable[[], Awaitable[Log]], *, identity: str, reason: str) -> None:
        self._opening = opening
        self._identity = identity
        self._log: Log | None = None
        self.reason = reason

    async def run(self) -> None:
        """Open the log; after that do nothing, until cancelled. Raises what it is refused for."""
        loop = asyncio.get_running_loop()
        logger.warning("the log does not answer; starting without it", reason=self.reason)
        pause_s, refused_since_s = RETRY_S, None
        while self._log is None:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S_MAX)
            try:
                self._log = await self._checked()
            except (Unavailable, Absent) as error:
                self.reason, refused_since_s = error.detail, None
            except AccrueError as error:
                logger.error("the log answers, and cannot be used", reason=error.detail)
                self.reason = error.detail
                refused_since_s = refused_since_s or loop.time()
                if loop.time() - refused_since_s >= REFUSED_S_MAX:
                    raise
        logger.info("the log answers")
        await loop.create_future()

    async def _checked(self) -> Log:
        log = await self._opening()
        if log.identity == self._identity:
            return log
        await log.close()
        raise Misconfigured(
            f"The book belongs to a deployment with the log {self._identity!r}, but the log here is {log.identity!r}. "
            "Nothing was appended to it: put the right log back. What is spooled stays for it."
        )

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def durability(self) -> str:
        return self._there().durability

    @property
    def record_size_bytes_max(self) -> int:
        return SAFE_SIZE_BYTES_MAX if self._log is None else self._log.record_size_bytes_max

    async def append(self, partition: int, record: bytes) -> Position:
        return await self._there().append(partition, record)

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        return await self._there().read(partition, after=after, size_bytes_max=size_bytes_max)

    async def trim(self, partition: int, *, up_to: Position) -> None:
        await self._there().trim(partition, up_to=up_to)

    async def begin(self, partition: int) -> Position:
        return await self._there().begin(partition)

    async def end(self, partition: int) -> Position:
        return await self._there().end(partition)

    async def retention(self) -> Retention:
        return await self._there().retention()

    async def close(self) -> None:
        if self._log is not None:
            await self._log.close()

    def _there(self) -> Log:
        if self._log is None:
            raise Unavailable(f"The log is not there yet: {self.reason}")
        return self._log
