"""The file of the embedded log: what is in it, and how a new one comes to stand in its place."""

from __future__ import annotations

import os
from pathlib import Path

from accrue import crashpoints
from accrue.connect import own_file
from accrue.connect.own_file import Kind, build_beside, read_header, sync_folder
from accrue.errors import Corrupt

APPLICATION_ID = 0x41434C47
"""`ACLG` in the header says that the file is a log of Accrue."""

FORMAT = 1
"""The `user_version` in the header. A file of another format is refused."""

KIND = Kind("log", APPLICATION_ID, FORMAT)

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
)
FIRST_ROW = "INSERT INTO meta (identity, faults) VALUES (?, 0)"


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


def check_header(path: Path, header: bytes) -> None:
    """Raises `Corrupt` unless these are the first bytes of a log that this version can read."""
    own_file.check_header(path, header, KIND)


async def create(path: Path, *, identity: str) -> None:
    """Build an empty log beside `path`, then move it there and make the move durable."""
    beside = await build_beside(path, KIND, [*((statement, ()) for statement in SCHEMA), (FIRST_ROW, (identity,))])
    crashpoints.point("create 1: log built beside its place")
    os.replace(beside, path)
    crashpoints.point("create 2: log moved there, folder not synced")
    sync_folder(path.parent)
