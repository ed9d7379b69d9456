"""The numbered steps of the book's schema, and what speaks against taking them: the same for every database.

    0001_first.sql, 0002_....sql      what a version ships
    migrations(number, name, digest)  what a database has had

Why not a library: docs/internals/decisions/0001-migration-runner.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files

from msgspec import Struct

from accrue.errors import Corrupt, Misconfigured


class Migration(Struct, frozen=True):
    """One step of the schema. `number` starts at 1; `sql` is a script without BEGIN and COMMIT."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return sha256(self.sql.encode()).hexdigest()


def shipped(folder: str = "migrations") -> list[Migration]:
    """The migrations of this version, in order: those for SQLite, unless another folder of the package is named."""
    found = sorted(files("accrue.book").joinpath(folder).iterdir(), key=lambda file: file.name)
    return [
        Migration(number=int(file.name[:4]), name=file.name[5:-4], sql=file.read_text("utf-8"))
        for file in found
        if file.name.endswith(".sql")
    ]


def check_shipped(migrations: Sequence[Migration]) -> None:
    """Raises `Misconfigured` when what is shipped has a gap."""
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise Misconfigured("The installation is incomplete: a migration is missing. Install Accrue again.")


def to_come(applied: Sequence[tuple[int, str]], migrations: Sequence[Migration], *, what: str) -> Sequence[Migration]:
    """The migrations to apply, given (number, digest) of those that `what` has had, in order.

    Raises `Corrupt` for a gap, a changed migration, or more than this version knows.
    """
    for expected, (number, digest) in enumerate(applied, start=1):
        if number != expected:
            raise Corrupt(f"The {what} never had migration {expected}. Nothing was changed: restore a backup.")
        if number > len(migrations):
            raise Corrupt(
                f"The {what} has had migration {number}; this version knows {len(migrations)}. "
                "Nothing was changed: install the version of Accrue that wrote it, or a newer one."
            )
        if digest != migrations[number - 1].digest:
            raise Corrupt(
                f"The {what} has had another migration {number} than this version ships. "
                "Nothing was changed: install the version of Accrue that wrote it."
            )
    return migrations[len(applied) :]
