"""What a fold from the start needs besides the archive: places for its books, and the settings it is done with."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from accrue.boards.base import Boards
from accrue.book.base import Book
from accrue.book.snapshot import Snapshot
from accrue.clock import Clock
from accrue.process.worker import Limits
from accrue.process.world import Memory


class Scratch(Protocol):
    """A folder for books that are thrown away."""

    async def fresh(self, name: str) -> Book:
        """A new and empty book of that name. Whoever asked closes it."""
        ...

    async def snapshot(self, name: str) -> Snapshot:
        """That book as it is now. Whoever asked closes it."""
        ...


class Workshop(Struct, frozen=True, kw_only=True):
    """`memory` has to be that of the server whose book it is: what is forgotten decides what counts again."""

    scratch: Scratch
    boards: Boards
    clock: Clock
    memory: Memory
    limits: Limits
