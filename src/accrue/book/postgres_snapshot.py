"""A book in PostgreSQL as it stood at one moment: one connection inside one transaction that changes nothing.

A standby will do. What it costs on the primary: rows that were replaced since are not cleared away until it is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from accrue.book.base import Checkpoint, Segment, Start, TallyRow
from accrue.book.postgres_migrate import FOLDER, pending, tables_of
from accrue.book.postgres_read import LARGE_READ_WAIT_S_MAX, PostgresReads
from accrue.book.queries import load_queries
from accrue.book.schema import shipped
from accrue.book.snapshot import APART, Row, Shape
from accrue.connect.postgres import Connection, Line, place
from accrue.errors import Misconfigured

ROWS_PER_BATCH = 2_000

SETTINGS = {
    "default_transaction_isolation": "repeatable read",
    "idle_in_transaction_session_timeout": "0",  # whoever compares thinks between two reads
    "statement_timeout": f"{LARGE_READ_WAIT_S_MAX:.0f}s",
    "jit": "off",
}


class PostgresSnapshot:
    """See `Snapshot`. Made by `open`; whoever opens it closes it. When the connection is lost, so is the moment: every
    later question is `Unavailable`, and a new snapshot has to be opened."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._book = PostgresReads(line)  # its reads go through the one connection, so they see the moment too

    @classmethod
    async def open(cls, url: str) -> PostgresSnapshot:
        """The book as it is now. Changes nothing. Raises `Corrupt` for tables that are foreign or from a newer version,
        and `Misconfigured` for a book that is not there, or that an older version wrote and nobody opened since."""
        snapshot = cls(Line(url, settings=SETTINGS, prepare=partial(_begin, url=url), read_only=True, once=True))
        try:
            await snapshot.shapes()  # connects, and takes the moment
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
        return await self._line.run(_shapes, wait_s_max=LARGE_READ_WAIT_S_MAX)

    async def rows(self, shape: Shape) -> AsyncIterator[list[Row]]:
        query = _ordered(shape)
        cursor = await self._line.run(lambda c: c.cursor(query), wait_s_max=LARGE_READ_WAIT_S_MAX)
        while records := await self._line.run(lambda _: cursor.fetch(ROWS_PER_BATCH), wait_s_max=LARGE_READ_WAIT_S_MAX):
            yield [tuple(record) for record in records]

    async def damage(self) -> list[str]:
        return await self._line.run(_damage, wait_s_max=LARGE_READ_WAIT_S_MAX)

    async def close(self) -> None:
        await self._line.close()


_SQL = load_queries("postgres/snapshot.sql")


async def _begin(connection: Connection, *, url: str) -> None:
    """Take the moment: the first statement that reads fixes what all later ones see."""
    await connection.transaction(isolation="repeatable_read", readonly=True).start()
    migrations = shipped(FOLDER)
    todo = await pending(connection, url, migrations)
    if len(todo) == len(migrations):
        raise Misconfigured(f"There is no book in {place(url)}. Name the database that has it.")
    if todo:
        raise Misconfigured(
            f"The book in {place(url)} was written by an older version of Accrue. Bring it up to date with this one, "
            "once: accrue migrate, or a start of the server."
        )


async def _shapes(connection: Connection) -> list[Shape]:
    names = [name for name in tables_of(shipped(FOLDER)) if name not in APART]
    tables = [name for (name,) in await connection.fetch(_SQL["tables"], names)]
    return [_shape(name, await connection.fetch(_SQL["columns"], name)) for name in tables]


def _shape(name: str, columns: list[Any]) -> Shape:
    keyed = sorted((place, at) for at, (_, _, place) in enumerate(columns) if place)
    return Shape(
        name=name,
        columns=tuple(column for column, _, _ in columns),
        key=tuple(at for _, at in keyed),
        text=tuple(is_text for _, is_text, _ in columns),
    )


def _ordered(shape: Shape) -> str:
    """Names come from the database's own schema, and only from there. Text comes as its bytes."""
    names = [f'"{column}"' for column in shape.columns]
    cells = [f"convert_to({name}, 'UTF8')" if text else name for name, text in zip(names, shape.text, strict=True)]
    key = ", ".join(names[at] for at in shape.key)
    return _SQL["ordered"].format(columns=", ".join(cells), table=f'"{shape.name}"', key=key)


async def _damage(connection: Connection) -> list[str]:
    """Damaged rows are found when they are read: the server then refuses, and the error says so."""
    told = [f"the index {name} is not valid" for (name,) in await connection.fetch(_SQL["bad_indexes"])]
    if pages := await connection.fetchval(_SQL["bad_pages"]):
        told.append(f"{pages} pages were found with a wrong checksum")
    return told
