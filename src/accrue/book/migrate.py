"""Bringing a SQLite file's schema up to date: numbered SQL files, applied in order, each in one transaction.

A file that does not fit is refused before it is opened for writing, and stays as it is, byte for byte.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from accrue import crashpoints
from accrue.book.schema import Migration, check_shipped, to_come
from accrue.connect.soundness import looked_at
from accrue.connect.sqlite import translated
from accrue.errors import Corrupt

RECORD_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
  -- Which changes of the schema this file has had. `digest` is the SHA-256 of the change's text.
  number  INTEGER NOT NULL PRIMARY KEY,
  name    TEXT    NOT NULL,
  digest  TEXT    NOT NULL
) STRICT
"""


def check_file(path: Path, migrations: Sequence[Migration], *, application_id: int) -> None:
    """Look at a file without changing it. Raises as `migrate`; a file that is not there yet is fine."""
    if not path.exists():
        return
    try:
        with closing(looked_at(path)) as connection:
            pending(connection, migrations, application_id)
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], *, application_id: int) -> None:
    """Apply what the file has not had yet. The connection must be in autocommit mode.

    Raises `Corrupt` for a file that is not ours, has a gap, a changed migration, or more than this version knows,
    and `Misconfigured` when `migrations` itself has a gap. Then nothing is changed.
    """
    for migration in pending(connection, migrations, application_id):
        crashpoints.point("migrate 1: before a migration")
        connection.executescript(
            f"""
            BEGIN IMMEDIATE;
            PRAGMA application_id = {application_id};
            {RECORD_TABLE};
            {migration.sql};
            INSERT INTO migrations VALUES ({migration.number}, '{migration.name}', '{migration.digest}');
            """
        )
        crashpoints.point("migrate 2: migrated, before the commit")
        connection.execute("COMMIT")
        crashpoints.point("migrate 3: migration committed")


def pending(
    connection: sqlite3.Connection, migrations: Sequence[Migration], application_id: int
) -> Sequence[Migration]:
    """The migrations to apply, after everything that could speak against it was checked."""
    check_shipped(migrations)
    (stamp,) = connection.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if stamp != application_id:
        if stamp or tables:
            raise Corrupt("The file is not this kind of Accrue file. Nothing was changed: give another path.")
        return migrations  # a new file
    if "migrations" not in tables:
        raise Corrupt("The file has lost its table of migrations. Nothing was changed: restore a backup.")
    applied = connection.execute("SELECT number, digest FROM migrations ORDER BY number").fetchall()
    return to_come(applied, migrations, what="file")
