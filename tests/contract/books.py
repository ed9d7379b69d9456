"""A book under test, its checkpoints, and rows that more than one suite needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from accrue.book.base import Book, Checkpoint, FailedRow, Segment, Settlement
from accrue.book.snapshot import Snapshot

T = "community"
SEQUENCE_MAX = 2**63 - 1


class Books:
    """Opens the one book of a test, again and again, and closes all of it at the end."""

    def __init__(
        self, opener: Callable[[], Awaitable[Book]], snapshot_opener: Callable[[], Awaitable[Snapshot]]
    ) -> None:
        self._opener = opener
        self._snapshot_opener = snapshot_opener
        self._opened: list[Book | Snapshot] = []

    async def open(self) -> Book:
        book = await self._opener()
        self._opened.append(book)
        return book

    async def snapshot(self) -> Snapshot:
        """The book as it is now."""
        snapshot = await self._snapshot_opener()
        self._opened.append(snapshot)
        return snapshot

    async def close(self) -> None:
        for book in self._opened:
            await book.close()


async def claimed(book: Book, partition: int = 0, owner: str = "one") -> Checkpoint:
    return await book.claim(partition, owner=owner, log_identity="log-a")


def moved(before: Checkpoint, *, log_time_us: int = 0) -> Checkpoint:
    return replace(
        before,
        position=before.position + 10,
        log_time_us=log_time_us or before.log_time_us + 1,
        facts=f'{{"said": "it\'s {before.position}"}}',
    )


async def settled(book: Book, before: Checkpoint, *, log_time_us: int = 0, **rows: Any) -> Checkpoint:
    after = moved(before, log_time_us=log_time_us)
    await book.settle(Settlement(before=before, after=after, **rows))
    return after


def failed(sequence: int, *, tenant: str = T, type: str = "e", reason: str = "divided by zero") -> FailedRow:
    return FailedRow(tenant, sequence, f"e{sequence}", reason, "{}", type, 1_000, "{}")


def segment(partition: int, first: int) -> Segment:
    return Segment(partition, first, first + 9, 3, b"d" * 32, b"p" * 32, b"\0data\xff")
