"""Books in a folder of their own, to be thrown away. Nothing in them is synced."""

from __future__ import annotations

from pathlib import Path

from accrue.book.sqlite import SqliteBook
from accrue.book.sqlite_snapshot import SqliteSnapshot


class SqliteScratch:
    """Whoever made the folder removes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fresh(self, name: str) -> SqliteBook:
        """A new and empty book of that name. Whoever asked closes it."""
        return await SqliteBook.open(self._folder / f"{name}.db", synchronous="OFF")

    async def snapshot(self, name: str) -> SqliteSnapshot:
        """That book as it is now. Whoever asked closes it."""
        return await SqliteSnapshot.open(self._folder / f"{name}.db")
