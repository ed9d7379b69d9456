"""A log in memory: the same promises as any other, except that nothing outlives the process.

For embedding where a restart may forget, for simulations and for tests.
"""

from __future__ import annotations

import asyncio

from accrue.errors import Full, Unavailable
from accrue.log.base import RECORD_SIZE_BYTES_MAX, Position, Retention
from accrue.log.tail import Tail, cost_bytes

LOG_SIZE_BYTES_MAX = 1 << 30
"""Memory that all partitions together may take before `append` raises `Full`; trimming makes room."""


class MemoryLog:
    """See `Log`. `identity` is the caller's: a new log is a new identity."""

    def __init__(self, *, identity: str, size_bytes_max: int = LOG_SIZE_BYTES_MAX) -> None:
        self._identity = identity
        self._size_bytes_max = size_bytes_max
        self._tails: dict[int, Tail] = {}
        self._closed = False

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def durability(self) -> str:
        return "memory"

    @property
    def record_size_bytes_max(self) -> int:
        return RECORD_SIZE_BYTES_MAX

    async def append(self, partition: int, record: bytes) -> Position:
        tail = self._tail(partition)
        if sum(each.size_bytes for each in self._tails.values()) + cost_bytes(record) > self._size_bytes_max:
            raise Full(f"The memory log holds its {self._size_bytes_max} bytes. Trimming makes room.")
        position = tail.last + 1
        tail.add(position, record)
        # A log that writes lets the event loop go on here; one that never did would starve everybody else.
        await asyncio.sleep(0)
        return position

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        while True:
            tail = self._tail(partition)
            tail.check(after)
            if after < tail.last:
                return tail.since(after, size_bytes_max)
            await tail.news()

    async def trim(self, partition: int, *, up_to: Position) -> None:
        tail = self._tail(partition)
        tail.trim(min(up_to, tail.last))

    async def begin(self, partition: int) -> Position:
        return self._tail(partition).trimmed + 1

    async def end(self, partition: int) -> Position:
        return self._tail(partition).last

    async def retention(self) -> Retention:
        return Retention()

    async def close(self) -> None:
        self._closed = True
        for tail in self._tails.values():
            tail.wake()

    def _tail(self, partition: int) -> Tail:
        if self._closed:
            raise Unavailable("The memory log is closed.")
        tail = self._tails.get(partition)
        if tail is None:
            tail = Tail(last=0, trimmed=0, size_bytes_max=self._size_bytes_max)
            self._tails[partition] = tail
        return tail
