"""The contract of a log. One suite tests every backend: tests/contract/test_log.py."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from accrue.errors import Misconfigured

Position = int
"""A place in one partition. Starts at 1 and only grows; gaps are allowed. 0 means 'before everything'."""

RECORD_SIZE_BYTES_MAX = 16 << 20
"""The record size to stay under where the backend has no smaller bound of its own."""

RETENTION_H_MIN = 24
RETENTION_SIZE_BYTES_MIN = 1 << 30
"""A partition whose records a server may drop earlier than this is refused: the worker may not have settled them."""


class Retention(Struct, frozen=True, kw_only=True):
    """What the server drops by itself, trimmed or not: records older than `age_s`, or beyond `size_bytes` a partition.
    None is no bound."""

    age_s: int | None = None
    size_bytes: int | None = None


class Log(Protocol):
    """Ordered, durable records in partitions. Any number of processes append to and read a partition."""

    @property
    def identity(self) -> str:
        """A random name given when the log was created, kept in the log itself and the same for everyone who opens it.
        A checkpoint belongs to one identity."""
        ...

    @property
    def durability(self) -> str:
        """What `append` returning means: `disk` (fsync by one machine), `confirmed` (what the broker's confirm
        promises, see the backend) or `memory` (nothing)."""
        ...

    @property
    def record_size_bytes_max(self) -> int:
        """The record size to stay under. A larger one may still be taken; else `append` raises `TooLarge`."""
        ...

    async def append(self, partition: int, record: bytes) -> Position:
        """Store one record and return its position once it is durable.

        Calls of one process for one partition must not overlap: batching is the caller's business. Records of
        several processes interleave.

        Raises `TooLarge`, `Full` when the disk has no room, and `Unavailable` on other faults. On a remote log a record
        whose append raised `Unavailable` or was cancelled may be in the log, or appear there later: send it again
        with the same event ids. A remote log reconnects by itself when it is used again. (The embedded log promises
        more: what failed is not in it, and where it cannot know that it closes itself.)
        """
        ...

    async def read(self, partition: int, *, after: Position, size_bytes_max: int) -> list[tuple[Position, bytes]]:
        """The records after a position, in order: at least one, then as many as fit in `size_bytes_max` (from a broker:
        as far as they have arrived).

        Once a position was read by anyone, no lower one appears any more. Waits while there is no record. A lost
        connection is made again meanwhile, for so long as the backend says; then `Unavailable`: ask again. Raises
        `Corrupt` when a record after `after` was already trimmed or has expired, or when `after` is past everything
        that was ever handed out.
        """
        ...

    async def trim(self, partition: int, *, up_to: Position) -> None:
        """Allow records up to and including `up_to` to be dropped. Advisory, and harmless to repeat."""
        ...

    async def begin(self, partition: int) -> Position:
        """The first position that is still there or, when there is none, a bound below every one to come: no record
        after `begin - 1` is gone. For alarms: retention has come too near when it approaches the checkpoint."""
        ...

    async def end(self, partition: int) -> Position:
        """The last position handed out, 0 when none was: every append that returned before is counted, whoever made
        it. Stays after a trim to empty."""
        ...

    async def retention(self) -> Retention:
        """What the server drops by itself."""
        ...

    async def close(self) -> None:
        """Give everything back. Readers that wait get `Unavailable`. Harmless to repeat."""
        ...


def check_retention(retention: Retention, what: str, how: str) -> None:
    """Raises `Misconfigured` where records may be dropped before they are settled; `how` says what to change."""
    age_s, size_bytes = retention.age_s, retention.size_bytes
    if age_s is not None and age_s < RETENTION_H_MIN * 3600:
        raise Misconfigured(
            f"{what} drops records after {age_s} s, which may be before they are settled. "
            f"At least {RETENTION_H_MIN} hours are needed: {how}"
        )
    if size_bytes is not None and size_bytes < RETENTION_SIZE_BYTES_MIN:
        raise Misconfigured(
            f"{what} drops records beyond {size_bytes} bytes, which may be before they are settled. "
            f"At least {RETENTION_SIZE_BYTES_MIN} bytes are needed: {how}"
        )
