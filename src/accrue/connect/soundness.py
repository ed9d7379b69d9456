"""Is a SQLite file whole? Asked at start, because damage is otherwise found only when the damaged page is read.

`PRAGMA quick_check` walks every page of the file and says which trees, rows and columns are not what they must be.
It costs about as much as reading the file once: 0.4 s a gigabyte that the system still has in memory, 5 s from a
disk that gives 190 MB/s. A flipped byte inside a value that stays a value is not damage to SQLite.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from accrue.connect.sqlite import translated
from accrue.errors import Corrupt

CHECKED_SIZE_BYTES_MAX = 1 << 30
"""A larger file is not walked at start; damage in it is found when it is read."""


async def check_sound(path: Path) -> None:
    """See that the file is whole, without changing it. Raises `Corrupt` naming the file and the first fault."""
    if path.exists() and path.stat().st_size <= CHECKED_SIZE_BYTES_MAX:
        await asyncio.to_thread(_check, path)


def looked_at(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. Without a WAL beside it the file is all there is, and reading it as immutable
    leaves no new files behind."""
    alone = not path.with_name(path.name + "-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _check(path: Path) -> None:
    try:
        with closing(looked_at(path)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error
    if said != "ok":
        fault = " ".join(said.removeprefix("*** in database main ***").split())
        raise Corrupt(f"{path} is damaged ({fault}). Nothing was changed. Put a backup of the data directory back.")
