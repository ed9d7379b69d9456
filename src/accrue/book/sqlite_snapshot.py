"""A book in a SQLite file as it stood at one moment: one read-only connection inside one transaction.

Safe beside a running server, because readers of a write-ahead log stop nobody. What it costs there: the file
`book.db-wal` keeps growing until the snapshot is closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from accrue.book.base import Checkpoint, Segment, Start, TallyRow
from accrue.book.migrate import check_file
from accrue.book.queries import load_queries
from accrue.book.schema import shipped
from accrue.book.snapshot import APART, Row, Shape
from accrue.book.sqlite import APPLICATION_ID, SqliteBook
from accrue.connect.sqlite import SqliteThread
from accrue.errors import Misconfigured

ROWS_PER_BATCH = 4_000
FAULTS_TOLD_MAX = 20
CACHE_KIB = 32 * 1024


class SqliteSnapshot:
    """See `Snapshot`. Made by `open`; whoever opens it closes it."""

    def __init__(self, thread: SqliteThread) -> None:
        self._thread = thread
        self._book = SqliteBook(thread, thread)  # its reads go through the one connection, so they see the moment too

    @classmethod
    async def open(cls, path: Path) -> SqliteSnapshot:
        """The book as it is now. Changes nothing. Raises `Corrupt` for a file that is foreign or from a newer version,
        and `Misconfigured` for one that is not there, or that an older version wrote and nobody opened since."""
        if not path.is_file():
            raise Misconfigured(f"There is no book at {path}. Say where the data directory is with --data-dir.")
        check_file(path, shipped(), application_id=APPLICATION_ID)
        snapshot = cls(SqliteThread(path, read_only=True))
        try:
            await snapshot._thread.open()
            await snapshot._thread.run(lambda c: _begin(c, path))
        except BaseException:
            await snapshot.close()
            raise
        return snapshot

    async def checkpoint(self, partition: int) -> Checkpoint | None:
        return await self._book.checkpoint(partition)

    async def start(self, partition: int) -> Start:
        return await self._book.start(partition)

    def segments(self, partition: int) -> AsyncIterator[Segment]:
        return self._book.segments(partition)

    def tallies(self, tenant: str, metric: str, period: str) -> AsyncIterator[list[TallyRow]]:
        return self._book.tallies(tenant, metric, period)

    async def shapes(self) -> list[Shape]:
        return await self._thread.run(_shapes)

    async def rows(self, shape: Shape) -> AsyncIterator[list[Row]]:
        cursor = await self._thread.run(lambda c: c.execute(_ordered(shape)))
        while batch := await self._thread.run(lambda c: _fetch(c, cursor)):
            yield batch

    async def damage(self) -> list[str]:
        told = await self._thread.run(lambda c: c.execute(_SQL["integrity"].format(faults=FAULTS_TOLD_MAX)).fetchall())
        return [] if told == [("ok",)] else [" ".join(str(fault).split()) for (fault,) in told]

    async def close(self) -> None:
        await self._thread.close()


_SQL = load_queries("snapshot.sql")


def _begin(connection: sqlite3.Connection, path: Path) -> None:
    """Take the moment: the first statement that reads fixes what all later ones see."""
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("BEGIN")
    (had,) = connection.execute(_SQL["migrations"]).fetchone()
    if had < len(shipped()):
        raise Misconfigured(
            f"{path} was written by an older version of Accrue. Start the server of this version on it once, "
            "which brings it up to date."
        )


def _shapes(connection: sqlite3.Connection) -> list[Shape]:
    names = [name for (name,) in connection.execute(_SQL["tables"]) if name not in APART]
    return [_shape(name, connection.execute(_SQL["columns"], {"table": name}).fetchall()) for name in names]


def _shape(name: str, columns: list[tuple[str, str, int]]) -> Shape:
    keyed = sorted((place, at) for at, (_, _, place) in enumerate(columns) if place)
    return Shape(
        name=name,
        columns=tuple(column for column, _, _ in columns),
        key=tuple(at for _, at in keyed),
        text=tuple(type == "TEXT" for _, type, _ in columns),
    )


def _ordered(shape: Shape) -> str:
    """Names come from the file's own schema, and only from there."""
    columns = ", ".join(f'"{column}"' for column in shape.columns)
    key = ", ".join(f'"{shape.columns[at]}"' for at in shape.key)
    return _SQL["ordered"].format(columns=columns, table=f'"{shape.name}"', key=key)


def _fetch(connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> list[Row]:
    before = connection.text_factory
    connection.text_factory = bytes
    try:
        return cursor.fetchmany(ROWS_PER_BATCH)
    finally:
        connection.text_factory = before
