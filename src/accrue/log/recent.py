"""What came by lately of one partition, and the bell that says there is more.

A reader in the process that appends gets the bytes from here instead of asking the server for them. Others append to
the partition, too, so there may be holes: only what follows `after` without one is given, because a position that is
known to be the next cannot have another before it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from accrue.log.base import Position

ENTRY_SIZE_BYTES = 128
"""What one record costs in memory besides its own bytes."""


class Recent:
    """At most `size_bytes_max` of memory, and none until somebody here reads. For one event loop only."""

    def __init__(self, size_bytes_max: int) -> None:
        self.is_read = False
        self.heard = 0
        self._size_bytes_max = size_bytes_max
        self._size_bytes = 0
        self._records: dict[Position, bytes] = {}
        self._news = asyncio.Event()

    def add(self, position: Position, record: bytes) -> None:
        """Note a record that is in the log now, and ring."""
        if self.is_read and position not in self._records:
            self._records[position] = record
            self._size_bytes += len(record) + ENTRY_SIZE_BYTES
            while self._size_bytes > self._size_bytes_max:
                oldest = next(iter(self._records))
                self._size_bytes -= len(self._records.pop(oldest)) + ENTRY_SIZE_BYTES
        self.ring()

    def following(self, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """The records from `after + 1` on, up to the first hole: one at least when it is here, then what fits."""
        found: list[tuple[Position, bytes]] = []
        size_bytes = 0
        position = after + 1
        while (record := self._records.get(position)) is not None:
            size_bytes += len(record)
            if found and size_bytes > size_bytes_max:
                break
            found.append((position, record))
            position += 1
        return found

    def forget(self, up_to: Position) -> None:
        """Drop what was trimmed."""
        for position in [each for each in self._records if each <= up_to]:
            self._size_bytes -= len(self._records.pop(position)) + ENTRY_SIZE_BYTES

    def ring(self) -> None:
        """Let everyone who waits look again."""
        self.heard += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, heard: int, wait_s_max: float) -> bool:
        """Return when it has rung since `heard` was read, or after `wait_s_max`: whether it has."""
        news = self._news
        if self.heard == heard:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s_max):
                    await news.wait()
        return self.heard != heard
