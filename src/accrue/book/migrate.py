"""Bringing a SQLite file's schema up to date: numbered SQL files, applied in order, each in one transaction.

    0001_first.sql, 0002_....sql      what a version ships
    migrations(number, name, digest)  what a file has had

A file that does not fit is refused before it is opened for writing, and stays as it is, byte for byte.
Why not a library: docs/internals/decisions/0001-migration-runner.md.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from msgspec import Struct

from accrue import crashpoints
from accrue.connect.soundness import looked_at
from accrue.connect.sqlite import translated
from accrue.errors import Corrupt, Misconfigured

RECORD_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
  -- Which changes of the schema this file has had. `digest` is the SHA-256 of the change's text.
  number  INTEGER NOT NULL PRIMARY KEY,
  name    TEXT    NOT NULL,
  digest  TEXT    NOT NULL
) STRICT
"""


class Migration(Struct, frozen=True):
    """One step of the schema. `number` starts at 1; `sql` is a script without BEGIN and COMMIT."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def shipped() -> list[Migration]:
    """The migrations of this version, in order."""
    found = sorted(files("accrue.book").joinpath("migrations").iterdir(), key=lambda file: file.name)
    return [
        Migration(number=int(file.name[:4]), name=file.name[5:-4], sql=file.read_text("utf-8"))
        for file in found
        if file.name.endswith(".sql")
    ]


def check_file(path: Path, migrations: Sequence[Migration], *, application_id: int) -> None:
    """Look at a file without changing it. Raises as `migrate`; a file that is not there yet is fine."""
    if not path.exists():
        return
    try:
        with closing(looked_at(path)) as connection:
            _pending(connection, migrations, application_id)
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration], *, application_id: int) -> None:
    """Apply what the file has not had yet. The connection must be in autocommit mode.

    Raises `Corrupt` for a file that is not ours, has a gap, a changed migration, or more than this version knows,
    and `Misconfigured` when `migrations` itself has a gap. Then nothing is changed.
    """
    for migration in _pending(connection, migrations, application_id):
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


def _pending(
    connection: sqlite3.Connection, migrations: Sequence[Migration], application_id: int
) -> Sequence[Migration]:
    """The migrations to apply, after everything that could speak against it was checked."""
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise Misconfigured("The installation is incomplete: a migration is missing. Install Accrue again.")
    (stamp,) = connection.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if stamp != application_id:
        if stamp or tables:
            raise Corrupt("The file is not this kind of Accrue file. Nothing was changed: give another path.")
        return migrations  # a new file
    if "migrations" not in tables:
        raise Corrupt("The file has lost its table of migrations. Nothing was changed: restore a backup.")
    applied = connection.execute("SELECT number, digest FROM migrations ORDER BY number").fetchall()
    for expected, (number, digest) in enumerate(applied, start=1):
        if number != expected:
            raise Corrupt(f"The file never had migration {expected}. Nothing was changed: restore a backup.")
        if number > len(migrations):
            raise Corrupt(
                f"The file has had migration {number}; this version knows {len(migrations)}. "
                "Nothing was changed: install the version of Accrue that wrote it, or a newer one."
            )
        if digest != migrations[number - 1].digest:
            raise Corrupt(
                f"The file has had another migration {number} than this version ships. "
                "Nothing was changed: install the version of Accrue that wrote it."
            )
    return migrations[len(applied) :]
