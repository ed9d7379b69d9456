"""The contract of a book that is only read, as it stood at one moment: for whoever checks it or copies from it.

Whole tables come as plain rows in the order of their keys, so that two books of any size are compared in bounded
memory, and so that a table which a later version adds is compared without anybody having to remember it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from accrue.book.base import Checkpoint, Segment, Start, TallyRow

Cell = int | bytes | None
"""Text comes as its bytes in UTF-8: they order as the book orders them, and damaged text is still a value."""

Row = tuple[Cell, ...]

APART = frozenset({"migrations", "partitions", "heartbeats", "workers", "deployment", "repeats", "archive_segments"})
"""Tables that are not rows to be compared: the checkpoint, the index of ids (which is cut where settlements fell) and
the archive are looked at in ways of their own, the schema is checked when the book is opened, and who owns what is no
part of what was counted."""


class Shape(Struct, frozen=True):
    """A table: its columns, which of them are the key, and which of them hold text."""

    name: str
    columns: tuple[str, ...]
    key: tuple[int, ...]
    text: tuple[bool, ...]


class Snapshot(Protocol):
    """What can be asked of it. Every answer is of the same moment, whatever is written meanwhile."""

    async def checkpoint(self, partition: int) -> Checkpoint | None:
        """How far the book had come; None when nobody ever claimed the partition."""
        ...

    async def start(self, partition: int) -> Start:
        """See `Book.start`."""
        ...

    def segments(self, partition: int) -> AsyncIterator[Segment]:
        """See `Book.segments`."""
        ...

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        """See `Book.tallies`."""
        ...

    async def shapes(self) -> list[Shape]:
        """Every table but those of `APART`, by name."""
        ...

    def rows(self, shape: Shape) -> AsyncIterator[list[Row]]:
        """A whole table in the order of its key, in batches. One table at a time."""
        ...

    async def damage(self) -> list[str]:
        """What the database itself finds wrong with what it holds, one clause each; nothing when it is sound."""
        ...

    async def close(self) -> None:
        """Let go of the moment. Harmless to repeat."""
        ...
