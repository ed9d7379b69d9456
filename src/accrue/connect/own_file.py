"""A SQLite file of ours: made whole or not at all, and recognised before it is touched.

Opening a SQLite file for writing may already change it, so the header is read as plain bytes first (its layout
is fixed by https://www.sqlite.org/fileformat.html, section 1.3). A new file is built beside its place and renamed
into it: what stands there under our name is either complete or not ours.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from accrue.connect.sqlite import SqliteThread
from accrue.errors import Corrupt, Misconfigured

HEADER_SIZE_BYTES = 100
MAGIC = b"SQLite format 3\0"

Statement = tuple[str, tuple[object, ...]]
"""SQL, and what goes in the place of its question marks."""


class Kind(Struct, frozen=True):
    """What a file is: a word for it, its `application_id`, and the `user_version` that this version reads."""

    name: str
    application_id: int
    format: int


def read_header(path: Path) -> bytes:
    """The first bytes of the file; none when it is absent or empty. Raises `Misconfigured`."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER_SIZE_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}). Check the path and its owner.") from error


def check_header(path: Path, header: bytes, kind: Kind) -> None:
    """Raises `Corrupt` unless these are the first bytes of such a file that this version can read."""
    if len(header) < HEADER_SIZE_BYTES or not header.startswith(MAGIC):
        raise Corrupt(f"{path} is not a {kind.name} of Accrue, not even a SQLite file. Nothing was changed.")
    if int.from_bytes(header[68:72], "big") != kind.application_id:
        raise Corrupt(f"{path} is a SQLite file of something else, not a {kind.name} of Accrue. Nothing was changed.")
    found = int.from_bytes(header[60:64], "big")
    if found > kind.format:
        raise Corrupt(
            f"{path} has {kind.name} format {found}, made by a newer version of Accrue; this one reads "
            f"format {kind.format}. Nothing was changed. Start the newer version."
        )
    if found < kind.format:
        raise Corrupt(f"{path} has {kind.name} format {found}, which no version of Accrue wrote. Nothing was changed.")


async def build_beside(path: Path, kind: Kind, statements: Sequence[Statement]) -> Path:
    """Build the file of this kind that is to stand at `path`, complete and synced, and return where it is now.

    Renaming it there is left to the caller, and `sync_folder` after it."""
    beside = Path(f"{path}.new")
    for leftover in (beside, Path(f"{beside}-wal"), Path(f"{beside}-shm")):
        leftover.unlink(missing_ok=True)

    def build(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        for statement, values in statements:
            connection.execute(statement, values)
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        connection.execute(f"PRAGMA user_version = {kind.format}")
        connection.execute("COMMIT")

    thread = SqliteThread(beside)
    try:
        await thread.open()
        await thread.run(build)
    finally:
        await thread.close()
    return beside


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
