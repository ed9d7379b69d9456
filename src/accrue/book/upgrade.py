"""Which steps of its schema a book has had, and the others applied: for an operator who upgrades.

Opening a book does the same; this is for doing it before, once, and seeing what it would be.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from accrue.book.migrate import pending
from accrue.book.schema import Migration, shipped
from accrue.book.sqlite import APPLICATION_ID, SqliteBook
from accrue.connect.soundness import looked_at
from accrue.connect.sqlite import translated


class Schema(Struct, frozen=True):
    """The steps that this version ships, in order. A book lacks the last `missing` of them, or none."""

    steps: list[Migration]
    missing: int

    @property
    def had(self) -> int:
        """How many it has had."""
        return len(self.steps) - self.missing


async def look(place: str | Path) -> Schema:
    """At the book of this URL, or in this file, which need not be there. Changes nothing.

    Raises `Corrupt` and `Misconfigured` for what opening it would be refused for, and `Unavailable`.
    """
    if isinstance(place, Path):
        steps = shipped()
        return Schema(steps, await asyncio.to_thread(_missing, place, steps))
    from accrue.book import postgres_migrate  # its driver is an extra

    steps = shipped(postgres_migrate.FOLDER)
    return Schema(steps, len(await postgres_migrate.missing(place)))


async def upgrade(place: str | Path) -> None:
    """Apply what it lacks, each step in one transaction. Nobody else may have a file. Raises as `look`."""
    if isinstance(place, Path):
        await (await SqliteBook.open(place)).close()
        return
    from accrue.book import postgres_migrate

    await postgres_migrate.migrate(place)


def _missing(path: Path, steps: list[Migration]) -> int:
    if not path.exists():
        return len(steps)
    try:
        with closing(looked_at(path)) as connection:
            return len(pending(connection, steps, APPLICATION_ID))
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error
