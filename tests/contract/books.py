"""A book under test, its checkpoints, and rows that more than one suite needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from accrue.book.base import Book, Checkpoint, FailedRow, Segment, Settlement

T = "community"
SEQUENCE_MAX = 2**63 - 1


class Books:
    """Opens the one book of a test, again and again, and closes all of it at the end."""

    def __init__(self, opener: Callable[[], Awaitable[Book]]) -> None:
        self._opener = opener
        self._opened: list[Book] = []

    async def open(self) -> Book:
        self._opened.append(await self._opener())
        return self._opened[-1]

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
