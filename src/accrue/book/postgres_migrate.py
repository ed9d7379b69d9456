"""Bringing a book's schema in PostgreSQL up to date: numbered SQL files, applied in order, each in one transaction.

A database that does not fit is refused and stays as it is. Processes that start at the same time take turns by an
advisory lock; the first does the work, the others find it done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from accrue import crashpoints
from accrue.book.queries import load_queries
from accrue.book.schema import Migration, check_shipped, shipped, to_come
from accrue.connect.postgres import Connection, Line, place, transaction
from accrue.errors import Corrupt, Misconfigured

MIGRATE_WAIT_S_MAX = 600.0
"""For all of it, others that do the same included: a migration may have to go through a large table."""

LOOK_WAIT_S_MAX = 30.0

LOCK = int.from_bytes(b"AccB", "big")
FOLDER = "migrations/postgres"
RECORD_COLUMNS = ["number", "name", "digest"]

_CREATED = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)


async def migrate(url: str, *, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what the database has not had yet, and return it. `migrations` are those that are shipped, unless given.

    Raises `Corrupt` for tables that are not ours, a gap, a changed migration, or more than this version knows; and
    `Misconfigured` for a database that cannot be used. Then nothing is changed.
    """
    steps = shipped(FOLDER) if migrations is None else migrations
    line = Line(url, settings={"synchronous_commit": "on"})
    try:
        return await line.run(lambda c: _migrate(c, url, steps), wait_s_max=MIGRATE_WAIT_S_MAX)
    finally:
        await line.close()


async def missing(url: str) -> Sequence[Migration]:
    """What the database has not had yet. Changes nothing. Raises as `migrate`."""
    line = Line(url, settings={"default_transaction_isolation": "repeatable read"})

    async def look(connection: Connection) -> Sequence[Migration]:
        async with transaction(connection):  # one moment, because somebody may be in the middle of migrating
            return await pending(connection, url, shipped(FOLDER))

    try:
        return await line.run(look, wait_s_max=LOOK_WAIT_S_MAX)
    finally:
        await line.close()


async def pending(connection: Connection, url: str, migrations: Sequence[Migration]) -> Sequence[Migration]:
    """The migrations to apply, after everything that could speak against it was checked. Changes nothing."""
    check_shipped(migrations)
    schema, encoding = await connection.fetchrow(_SQL["surroundings"]) or (None, None)
    if schema is None:
        raise Misconfigured(f"{place(url)}: the schema that search_path names does not exist. Create it.")
    if encoding != "UTF8":
        raise Misconfigured(
            f"{place(url)} stores text as {encoding}, which cannot hold every name. "
            "Create a database with ENCODING 'UTF8' TEMPLATE template0 and name that one."
        )
    columns = await connection.fetchval(_SQL["record_columns"])
    applied = []
    if columns is not None:
        if columns != RECORD_COLUMNS:
            raise _foreign(url, schema, ["migrations"])
        applied = [(row[0], row[1]) for row in await connection.fetch(_SQL["applied"])]
    if not applied:
        taken = [name for (name,) in await connection.fetch(_SQL["taken_names"], tables_of(migrations))]
        if taken:
            raise _foreign(url, schema, taken)
    return to_come(applied, migrations, what=f"book in {place(url)}")


def tables_of(migrations: Sequence[Migration]) -> list[str]:
    """The tables that they create."""
    return [name for migration in migrations for name in _CREATED.findall(migration.sql)]


async def _migrate(connection: Connection, url: str, migrations: Sequence[Migration]) -> list[Migration]:
    await connection.execute(_SQL["lock"], LOCK)  # before anything is looked at: somebody may be in the middle of it
    await connection.execute(_SQL["be_patient"])
    todo = list(await pending(connection, url, migrations))
    for migration in todo:
        crashpoints.point("migrate 1: before a migration")
        await connection.execute("BEGIN")
        await connection.execute(_SQL["create_record"])
        await connection.execute(_SQL["comment_record"])
        await connection.execute(migration.sql)
        await connection.execute(_SQL["record"], migration.number, migration.name, migration.digest)
        crashpoints.point("migrate 2: migrated, before the commit")
        await connection.execute("COMMIT")
        crashpoints.point("migrate 3: migration committed")
    return todo


_SQL = load_queries("postgres/schema.sql")


def _foreign(url: str, schema: str, names: list[str]) -> Corrupt:
    return Corrupt(
        f"{place(url)} has tables in the schema {schema!r} that are not of Accrue's book: {', '.join(names)}. Nothing "
        "was changed: give Accrue a database of its own, or a schema (CREATE SCHEMA accrue; ...?search_path=accrue)."
    )
