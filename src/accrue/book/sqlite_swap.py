"""Putting a rebuilt book in the place of the live one, so that at every instant there is a whole book under its name.

    book.db            the live one          book.new.db         the rebuilt one
    book.<position>.db the old one, kept

The data directory must be locked. Whoever has a book open by path keeps `-wal` and `-shm` files beside it, and SQLite
would lay such a file over whatever book has the name next. So both books are first taken out of write-ahead mode,
which needs them for oneself and leaves no file beside them.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from accrue.book.queries import load_queries
from accrue.connect.sqlite import translated
from accrue.errors import InUse

_SQL = load_queries("swap.sql")

NEW = "book.new.db"
BESIDE = ("", "-wal", "-shm", "-journal")


def clear_new(data_dir: Path) -> Path:
    """Where the rebuilt book goes; what an earlier attempt left there is removed."""
    for suffix in BESIDE:
        (data_dir / f"{NEW}{suffix}").unlink(missing_ok=True)
    return data_dir / NEW


def take_alone(data_dir: Path) -> None:
    """See to it, before much is done, that nobody has the live book open. Raises `InUse`.

    Whoever opens it from here on reads a plain file, which the swap leaves to them until they close it.
    """
    _alone(data_dir / "book.db")


def swap(data_dir: Path, *, position: int, epoch: int) -> Path:
    """Swap, and return where the old book is now. `epoch` is the old one's: the new one is not behind it.

    Raises `InUse` while somebody reads one of the books, and then nothing has changed.

    1. both books become single files; 2. the new one is synced; 3. the old one gets its second name, which is synced;
    4. the new one takes the first name in one step; 5. that is synced. After a crash at any step `book.db` is one of
    the two, whole; replaying again clears what is left over.
    """
    live, new = data_dir / "book.db", data_dir / NEW
    # 1.
    _alone(live)
    _alone(new, epoch=epoch, live=live)
    # 2.
    _sync(new)
    # 3.
    kept = _free_name(data_dir, live, position)
    if not kept.exists():
        os.link(live, kept)
    _sync(data_dir)
    # 4.
    os.replace(new, live)
    # 5.
    _sync(data_dir)
    return kept


def _alone(path: Path, *, epoch: int = 0, live: Path | None = None) -> None:
    """Fold the write-ahead log into the file and leave that mode. Nobody else may have the file open.

    A new book first takes over from the `live` one what no archive holds.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if live is not None:
                connection.execute(_SQL["raise_epoch"], {"epoch": epoch})
                connection.execute(_SQL["raise_heartbeat_epoch"], {"epoch": epoch})
                connection.execute(_SQL["attach"], {"live": str(live)})
                connection.execute(_SQL["copy_deployment"])
                connection.execute(_SQL["detach"])
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise InUse(f"{path} is open elsewhere. Close what reads it, then replay again.") from error
        raise translated(error, str(path)) from error
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error
    if mode != "delete":
        raise InUse(f"{path} is open elsewhere. Close what reads it, then replay again.")


def _free_name(data_dir: Path, live: Path, position: int) -> Path:
    """`book.<position>.db`; with a number behind it when another book has that name already."""
    number = 1
    path = data_dir / f"book.{position}.db"
    while path.exists() and not path.samefile(live):
        number += 1
        path = data_dir / f"book.{position}-{number}.db"
    return path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
