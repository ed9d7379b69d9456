"""The contract of a log. One suite tests every backend: tests/contract/test_log.py."""

from __future__ import annotations

from typing import Protocol

Position = int
"""A place in one partition. Starts at 1 and only grows; gaps are allowed. 0 means 'before everything'."""


class Log(Protocol):
    """Ordered, durable records in partitions. One writer and any number of readers a partition."""

    @property
    def identity(self) -> str:
        """A random name given when the log was created. A checkpoint belongs to one identity."""
        ...

    @property
    def durability(self) -> str:
        """What `append` returning means: `disk` (fsync) or `memory` (nothing)."""
        ...

    async def append(self, partition: int, record: bytes) -> Position:
        """Store one record and return its position once it is durable.

        Calls for one partition must not overlap: batching is the caller's business.
        Raises `Full` when the disk has no room and `Unavailable` on other faults. A record whose append failed
        is not in the log; where that cannot be known the backend closes itself and raises `Unavailable`.
        """
        ...

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """The records after a position, in order: at least one, then as many as fit in `size_bytes_max`.

        Waits while there is none. Raises `Corrupt` when a record after `after` was already trimmed,
        or when `after` is past everything that was ever handed out.
        """
        ...

    async def trim(self, partition: int, *, up_to: Position) -> None:
        """Allow records up to and including `up_to` to be dropped. Advisory, and harmless to repeat."""
        ...

    async def end(self, partition: int) -> Position:
        """The last position handed out, 0 when none was. Stays after a trim to empty."""
        ...

    async def close(self) -> None:
        """Give everything back. Readers that wait get `Unavailable`. Harmless to repeat."""
        ...
