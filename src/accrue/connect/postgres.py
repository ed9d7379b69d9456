"""PostgreSQL: connections opened and checked, and its errors translated.

A `Line` is one connection for one purpose. It is opened when it is first used and thrown away at the first doubt (an
error of the network, a time-out, a caller that gave up, a transaction that failed), so that nobody ever waits for a
server that will not answer: a paused one looks alive to the operating system. Never use asyncpg's
`async with connection.transaction()` here: leaving it after a time-out waits for a ROLLBACK. `Lines` are a few of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from accrue.errors import AccrueError, Corrupt, Full, Misconfigured, Unavailable

try:
    import asyncpg
except ImportError as missing:
    raise Misconfigured("PostgreSQL needs its driver: pip install 'accrue[postgres]'.") from missing

Result = TypeVar("Result")
Connection: TypeAlias = "asyncpg.Connection[Any]"

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The last one is also what the driver raises when the server has ended a connection that was at rest a moment ago."""

SERVER_VERSION_MIN = 13
CONNECT_WAIT_S_MAX = 5.0
BACK_OFF_S_MIN = 0.1
BACK_OFF_S_MAX = 2.0
"""After a failed attempt to connect the next one waits, twice as long each time up to this."""


class Line:
    """One connection to `url`, again and again. Its calls queue up behind each other.

    `settings` are the server's (`synchronous_commit` and so on); `prepare` is called with each new connection. With
    `read_only` a standby will do. With `once` a connection that was lost is not replaced: what it knew is lost with it.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: Mapping[str, str] | None = None,
        prepare: Callable[[Connection], Awaitable[None]] | None = None,
        read_only: bool = False,
        once: bool = False,
    ) -> None:
        self._url = url
        self._settings = dict(settings or {})
        self._prepare = prepare
        self._read_only = read_only
        self._once = once
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._back_off_s = 0.0
        self._not_before_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_closed()

    async def run(self, work: Callable[[Connection], Awaitable[Result]], *, wait_s_max: float) -> Result:
        """What `work(connection)` returns. Raises `Unavailable` after `wait_s_max`, waiting for the line included."""
        try:
            async with asyncio.timeout(wait_s_max), self._lock:
                connection = await self._connected()
                try:
                    return await work(connection)
                except BaseException as error:
                    if not isinstance(error, asyncpg.PostgresError | AccrueError) or _is_unusable(connection):
                        self._drop()
                    raise
        except TimeoutError as error:
            raise Unavailable(f"{place(self._url)} did not answer within {wait_s_max:.3g} s.") from error
        except (*DRIVER_ERRORS, OSError) as error:
            raise translated(error, self._url) from error

    async def close(self) -> None:
        """Hang up; whoever waits gets `Unavailable`. Harmless to repeat."""
        self._closed = True
        self._drop()
        await asyncio.sleep(0)  # sockets that were let go of are closed in the next turn of the event loop

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._drop()  # it ended while nobody used it
        if self._closed:
            raise Unavailable(f"The connection to {place(self._url)} was closed.")
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before_s:
            raise Unavailable(f"{place(self._url)} could not be reached a moment ago.", retry_after_s=BACK_OFF_S_MAX)
        try:
            connection = await connect(self._url, settings=self._settings, read_only=self._read_only)
            if self._prepare is not None:
                await _prepared(connection, self._prepare)
        except Exception:  # not when the caller gave up: that says nothing about the server
            self._back_off_s = min(max(2 * self._back_off_s, BACK_OFF_S_MIN), BACK_OFF_S_MAX)
            self._not_before_s = loop.time() + self._back_off_s
            raise
        self._back_off_s = self._not_before_s = 0.0
        if self._closed:
            connection.terminate()
            raise Unavailable(f"{place(self._url)} was closed here.")
        self._connection = connection
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._closed = self._closed or self._once
            with suppress(OSError, *DRIVER_ERRORS):
                connection.terminate()


class Lines:
    """Up to so many lines to `url` for one purpose, each opened when it is needed; the one used last is used next."""

    def __init__(
        self,
        url: str,
        *,
        connections_max: int,
        settings: Mapping[str, str] | None = None,
        prepare: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._all = [Line(url, settings=settings, prepare=prepare) for _ in range(connections_max)]
        self._free = list(self._all)
        self.is_closed = False
        self._turn = asyncio.Semaphore(connections_max)

    async def run(self, work: Callable[[Connection], Awaitable[Result]], *, wait_s_max: float) -> Result:
        """As `Line.run`, on a line that nobody uses. Waiting for one counts too.

        What was right at the start may be wrong later, because another server answers or a right was taken away, and it
        may pass: it is `Unavailable` here, and never `Misconfigured`.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + wait_s_max
        try:
            async with asyncio.timeout_at(give_up_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable(f"All {len(self._all)} connections to {place(self._url)} are busy.") from error
        line = self._free.pop()
        try:
            return await line.run(work, wait_s_max=give_up_s - loop.time())
        except Misconfigured as error:
            raise Unavailable(error.detail) from error
        finally:
            self._free.append(line)
            self._turn.release()

    async def check(self) -> None:
        """Open the first line, at start. Raises `Misconfigured` for what the operator has to change."""
        await self._all[0].run(lambda c: c.fetchval("SELECT 1"), wait_s_max=2 * CONNECT_WAIT_S_MAX)

    async def close(self) -> None:
        """Close every line. Harmless to repeat."""
        self.is_closed = True
        for line in self._all:
            await line.close()


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction that is rolled back when the block raises an error of Accrue's own; any other error ends the line
    that the connection belongs to, and the transaction with it."""
    await connection.execute("BEGIN")
    try:
        yield
    except AccrueError:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


def rows_touched(status: str) -> int:
    """How many rows a statement wrote or deleted, from what the server says at its end: `INSERT 0 7`, `DELETE 7`."""
    return int(status.rpartition(" ")[2])


def is_collision(error: AccrueError) -> bool:
    """Whether the server chose this transaction to give way to another one, so that it may be tried again at once."""
    return isinstance(error.__cause__, asyncpg.SerializationError | asyncpg.DeadlockDetectedError)


def _is_unusable(connection: Connection) -> bool:
    """Whether an error left nothing to go on with; the server rolls back what it had begun when it hangs up."""
    return connection.is_closed() or connection.is_in_transaction()


async def _prepared(connection: Connection, prepare: Callable[[Connection], Awaitable[None]]) -> None:
    try:
        await prepare(connection)
    except BaseException:
        connection.terminate()
        raise


async def connect(url: str, *, settings: Mapping[str, str] | None = None, read_only: bool = False) -> Connection:
    """A connection to a server, one that may be written to unless `read_only`. Raises `Misconfigured` for what the
    operator has to change, else `Unavailable`."""
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_WAIT_S_MAX,
            server_settings={"application_name": "accrue", **(settings or {})},
        )
    except TimeoutError as error:
        raise Unavailable(f"{place(url)} did not answer within {CONNECT_WAIT_S_MAX:g} s.") from error
    except (*DRIVER_ERRORS, OSError, ValueError) as error:
        raise translated(error, url) from error
    try:
        if connection.get_server_version().major < SERVER_VERSION_MIN:
            raise Misconfigured(
                f"{place(url)} is PostgreSQL {connection.get_server_version().major}; "
                f"at least {SERVER_VERSION_MIN} is needed."
            )
        if not read_only and await connection.fetchval("SELECT pg_is_in_recovery()", timeout=CONNECT_WAIT_S_MAX):
            raise Misconfigured(f"{place(url)} is a standby that can only be read. Name the primary.")
    except BaseException as error:
        connection.terminate()
        if isinstance(error, (*DRIVER_ERRORS, OSError)):
            raise translated(error, url) from error
        raise
    return connection


def place(url: str) -> str:
    """Where a URL points, without its user and password."""
    try:
        parts = urlsplit(url)
        return f"PostgreSQL at {parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return "PostgreSQL"


def translated(error: Exception, url: str) -> AccrueError:
    """The driver's error in Accrue's words."""
    where = place(url)
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return Misconfigured(f"{where} refused the user or the password. Check both in the URL.")
        case asyncpg.InvalidCatalogNameError():
            return Misconfigured(f"{where}: there is no such database. Create it, or correct the URL.")
        case asyncpg.InsufficientPrivilegeError():
            return Misconfigured(f"{where}: the user may not do that ({error}). Grant it, or name another user.")
        case asyncpg.DiskFullError():
            return Full(f"No room left on the disk of {where}.", retry_after_s=10)
        case asyncpg.DataCorruptedError() | asyncpg.IndexCorruptedError() | asyncpg.UndefinedTableError():
            return Corrupt(f"{where} is damaged: {error}. Nothing was changed.")
        case (
            asyncpg.IntegrityConstraintViolationError()
            | asyncpg.DataError()
            | asyncpg.CardinalityViolationError()
            | asyncpg.ProgramLimitExceededError()
        ):
            return Corrupt(f"{where} cannot hold what is written ({error}). Nothing was changed.")
        case asyncpg.ClientConfigurationError():
            return Misconfigured(f"The PostgreSQL URL cannot be used: {error}.")
        case ValueError():  # what it says may hold a part of the password
            return Misconfigured("The PostgreSQL URL cannot be used. It looks like postgresql://user:pw@host:5432/db.")
    said = str(error) or type(error).__name__
    return Unavailable(f"{where}: {said}")
