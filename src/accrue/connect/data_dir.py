"""The data directory: made when it is new, locked while a process uses it.

    accrue-data/
      log.db    the log      book.db   the book      lock    who has it      log.db.new*   a start that was cut off
      spool.db  what a gateway accepted while its log was out of reach

The lock goes with the process, however that ends (lock_file.py), so a crash leaves nothing to clean up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accrue.connect.lock_file import take
from accrue.errors import Corrupt, Misconfigured


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the directory. Raises `InUse` naming the process that has it, `Misconfigured` when it cannot be one and
    `Corrupt` when half of it is missing."""
    _check(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be used as a data directory: {error.strerror}.") from error
    handle = take(path / "lock", what=path, advice="Ask it over HTTP, stop it, or take another --data-dir.")
    try:
        yield
    finally:
        os.close(handle)


def _check(path: Path) -> None:
    """Look before anything is touched: is this ours, or empty, or not there yet?"""
    try:
        names = {entry.name for entry in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be used as a data directory: {error.strerror}.") from error
    begun = {name for name in names if name == "lock" or name.startswith(("log.db.new", "spool.db"))}
    if names - begun and not names & {"log.db", "book.db"}:
        raise Misconfigured(f"{path} is not empty and not a data directory of Accrue. Take another --data-dir.")
    if "book.db" in names and "log.db" not in names:
        raise Corrupt(f"{path} has a book but no log.db. Put the log back; nothing was changed.")
