"""The newest records of one partition in memory, and the readers that wait for the next one.

A fold follows right behind the appends. Handing it the very bytes that were just appended keeps it away from
the storage, so that reading never slows an append. The memory log is a tail that forgets only when trimmed.

Positions here have no gaps, so `first..last` says exactly what is held.
"""

from __future__ import annotations

import asyncio

from accrue.errors import Corrupt
from accrue.log.base import Position

ENTRY_SIZE_BYTES = 128
"""What one record costs in memory besides its own bytes: its header and its place in the dictionary."""


class Tail:
    """Records `first..last`, at most `size_bytes_max` of memory: past it the oldest are forgotten.

    `last` is the last position handed out and `trimmed` the last one trimmed; `first` is `last + 1` when it
    holds nothing. For one event loop only.
    """

    def __init__(self, *, last: Position, trimmed: Position, size_bytes_max: int) -> None:
        self.last = last
        self.trimmed = trimmed
        self.first = last + 1
        self.size_bytes = 0
        self._size_bytes_max = size_bytes_max
        self._records: dict[Position, bytes] = {}
        self._news = asyncio.Event()

    def add(self, position: Position, record: bytes) -> None:
        """Hold the record just appended and wake who waits. Nothing to do when `catch_up` came first."""
        if position <= self.last:
            return
        self._records[position] = record
        self.last = position
        self.size_bytes += cost_bytes(record)
        while self.size_bytes > self._size_bytes_max:
            self._forget_first()
        self.wake()

    def catch_up(self, last: Position) -> None:
        """The storage turned out to hold records up to `last` that never came through `add`."""
        if last > self.last:
            self._records.clear()
            self.size_bytes = 0
            self.last = last
            self.first = last + 1
        self.wake()

    def trim(self, up_to: Position) -> None:
        """Forget everything up to `up_to`, which must not be past `last`."""
        self.trimmed = max(self.trimmed, up_to)
        while self.first <= self.trimmed and self._records:
            self._forget_first()

    def check(self, after: Position) -> None:
        """Raises `Corrupt` when reading from `after` would miss records or is past the end."""
        check_after(after, trimmed=self.trimmed, last=self.last)

    def since(self, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """The held records after a position: one at least, then what fits. `after + 1` must be held."""
        records = [(after + 1, self._records[after + 1])]
        size_bytes = len(records[0][1])
        for position in range(after + 2, self.last + 1):
            record = self._records[position]
            size_bytes += len(record)
            if size_bytes > size_bytes_max:
                break
            records.append((position, record))
        return records

    async def news(self) -> None:
        """Return at the next change: a record, or the end. The caller looks again."""
        await self._news.wait()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self._news.set()
        self._news.clear()

    def _forget_first(self) -> None:
        self.size_bytes -= cost_bytes(self._records.pop(self.first))
        self.first += 1


def cost_bytes(record: bytes) -> int:
    """What holding the record takes in memory."""
    return len(record) + ENTRY_SIZE_BYTES


def check_after(after: Position, *, trimmed: Position, last: Position) -> None:
    """Raises `Corrupt` when reading from `after` would miss records or is past the end."""
    if after < trimmed:
        raise Corrupt(
            f"The log begins after position {trimmed}, but it is to be read from {after}: "
            "records in between are gone. Use the book that belongs to this log (or, if another worker has taken "
            "this partition over meanwhile, leave it to that one)."
        )
    if after > last:
        raise Corrupt(
            f"The log ends at position {last}, but it is to be read from {after}: "
            "this looks like an older log put back. Use the log that belongs to the book."
        )
