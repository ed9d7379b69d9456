"""SQLite: one connection in a thread of its own, and its errors translated.

A connection is used by one thread only, so calls queue up behind each other in order. SQLite lets go of the
interpreter lock while it works, so the event loop goes on; a caller that has much to write passes it in few,
large statements, because every statement has to take that lock back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from accrue.errors import AccrueError, Corrupt, Full, InUse, Misconfigured, Unavailable

Result = TypeVar("Result")

BUSY_WAIT_MS_MAX = 2_000


class SqliteThread:
    """A connection to one file. `run` executes a function in its thread and returns what that returned."""

    def __init__(self, path: Path | str, *, synchronous: str = "FULL", read_only: bool = False) -> None:
        self._path = str(path)
        self._synchronous = synchronous
        self._read_only = read_only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{Path(self._path).stem}")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Connect. Raises `Misconfigured`, `InUse` or `Corrupt`."""
        await self._submit(self._open)

    async def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `work(connection)` in the thread. Driver errors come out translated, with a rollback done."""
        return await self._submit(lambda: self._guarded(work))

    async def close(self) -> None:
        """Close the connection and end the thread, after the calls before it. Harmless to repeat."""
        try:
            await self._submit(self._close)
        except Unavailable:
            return
        self._thread.shutdown(wait=True)

    async def _submit(self, call: Callable[[], Result]) -> Result:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, call)
        except RuntimeError as error:  # the executor was shut down
            raise Unavailable(f"{self._path} is closed.") from error
        return await future

    def _open(self) -> None:
        try:
            uri = Path(self._path).absolute().as_uri() + ("?mode=ro" if self._read_only else "")
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_WAIT_MS_MAX}")
            if not self._read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
        self._connection = connection

    def _guarded(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._connection
        if connection is None:
            raise Unavailable(f"{self._path} is closed.")
        try:
            return work(connection)
        except sqlite3.Error as error:
            _roll_back(connection)
            raise translated(error, self._path) from error
        except BaseException:
            _roll_back(connection)
            raise

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.rollback()


def translated(error: sqlite3.Error, path: str) -> AccrueError:
    """The error in Accrue's words."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Full(f"No room left on the disk of {path}.", retry_after_s=10)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt(f"{path} is not a sound SQLite file ({error}). Nothing was changed.")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return Misconfigured(f"{path} cannot be opened for writing ({error}). Check the path and its owner.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return InUse(f"{path} is locked by another process ({error}).")
    return Unavailable(f"{path}: {error}.")
