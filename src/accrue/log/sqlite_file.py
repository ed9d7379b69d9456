"""The file of the embedded log: made whole or not at all, and recognised before it is touched.

Opening a SQLite file for writing may already change it, so the header is read as plain bytes first (its layout
is fixed by https://www.sqlite.org/fileformat.html, section 1.3). A new file is built beside its place and renamed
into it: what stands there under the log's name is either complete or not ours.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from accrue import crashpoints
from accrue.connect.sqlite import SqliteThread
from accrue.errors import Corrupt, Misconfigured

APPLICATION_ID = 0x41434C47
"""`ACLG` in the header says that the file is a log of Accrue."""

FORMAT = 1
"""The `user_version` in the header. A file of another format is refused."""

HEADER_SIZE_BYTES = 100
MAGIC = b"SQLite format 3\0"

SCHEMA = (
    """
    CREATE TABLE records (
        place     INTEGER PRIMARY KEY,  -- partition * 2^43 + position
        record    BLOB NOT NULL,        -- as core/record.py encodes it
        partition INTEGER GENERATED ALWAYS AS (place >> 43) VIRTUAL,
        position  INTEGER GENERATED ALWAYS AS (place & 8796093022207) VIRTUAL
    )
    """,
    "CREATE TABLE partitions (partition INTEGER PRIMARY KEY, trimmed INTEGER NOT NULL)",
    "CREATE TABLE meta (identity TEXT NOT NULL, faults INTEGER NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)


async def ensure(path: Path, *, identity: str) -> None:
    """See that a log of this format is at `path`; create it with this identity when nothing is there.

    Raises `Corrupt` when something else is there, which stays as it is, `Misconfigured` when it cannot be read.
    """
    header = read_header(path)
    if header:
        check_header(path, header)
        return
    orphan = Path(f"{path}-wal")
    if orphan.exists() and orphan.stat().st_size > 0:
        raise Corrupt(
            f"{path} is gone, but {orphan.name}, which holds its last records, is still there. "
            "Put the log back beside it, or move it away to begin a new log."
        )
    await create(path, identity=identity)


def read_header(path: Path) -> bytes:
    """The first bytes of the file; none when it is absent or empty."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER_SIZE_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}). Check the path and its owner.") from error


def check_header(path: Path, header: bytes) -> None:
    """Raises `Corrupt` unless these are the first bytes of a log that this version can read."""
    if len(header) < HEADER_SIZE_BYTES or not header.startswith(MAGIC):
        raise Corrupt(f"{path} is not a log of Accrue, not even a SQLite file. Nothing was changed.")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise Corrupt(f"{path} is a SQLite file of something else, not a log of Accrue. Nothing was changed.")
    format_found = int.from_bytes(header[60:64], "big")
    if format_found > FORMAT:
        raise Corrupt(
            f"{path} has log format {format_found}, made by a newer version of Accrue; this one reads "
            f"format {FORMAT}. Nothing was changed. Start the newer version."
        )
    if format_found < FORMAT:
        raise Corrupt(f"{path} has log format {format_found}, which no version of Accrue wrote. Nothing was changed.")


async def create(path: Path, *, identity: str) -> None:
    """Build an empty log beside `path`, then move it there and make the move durable."""
    beside = Path(f"{path}.new")
    for leftover in (beside, Path(f"{beside}-wal"), Path(f"{beside}-shm")):
        leftover.unlink(missing_ok=True)

    def build(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO meta (identity, faults) VALUES (?, 0)", (identity,))
        connection.execute("COMMIT")

    thread = SqliteThread(beside)
    try:
        await thread.open()
        await thread.run(build)
    finally:
        await thread.close()
    crashpoints.point("create 1: log built beside its place")
    os.replace(beside, path)
    crashpoints.point("create 2: log moved there, folder not synced")
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
