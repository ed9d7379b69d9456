"""HTTP to the other processes of a deployment: pooled connections, and their errors in our tree.

aiohttp, because the gateway's reads of profiles all go through here: in the same run on one core, 32 at a time, 600
bytes an answer, httpx asked 890 times a second, httpcore 1,250 and aiohttp 12,900.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from accrue.errors import AccrueError, Misconfigured, Unavailable

try:
    import aiohttp
    from yarl import URL
except ImportError as error:
    raise Misconfigured("Asking other processes needs aiohttp: pip install 'accrue[gateway]'.") from error

CONNECTIONS_MAX = 64
"""To one address. A process that stands still cannot use up the connections of the others."""

PIECE_SIZE_BYTES = 64 << 10


class NotReached(Unavailable):
    """The connection was refused, or was closed before anything of an answer came."""


class BrokenOff(AccrueError):
    """The answer ended in the middle, when a part of it was given on already: its reader must not see an end."""


class Answer:
    """What another process answers: the head is there, the body is read while its `ask` block runs."""

    def __init__(self, response: aiohttp.ClientResponse, address: str) -> None:
        self._response, self._address = response, address
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.raw_headers]
        self.size_bytes = response.content_length
        """As announced; None when it was not."""

    async def read(self) -> bytes:
        """The whole body. Raises `Unavailable` when it breaks off."""
        try:
            return await self._response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"The answer of {self._address} broke off: {error!r}.") from error

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, none of it empty. Raises `BrokenOff`."""
        try:
            async for piece in self._response.content.iter_any():
                if piece:
                    yield piece
        except (aiohttp.ClientError, OSError) as error:  # its time-outs are both
            raise BrokenOff(f"The answer of {self._address} broke off: {error!r}.") from error


class Peers:
    """Connections to other processes, open while the block runs. Follows no redirect, keeps no cookie.

    `connect_s` bounds connecting, `piece_s` every wait for a further piece of an answer.
    """

    def __init__(self, *, connections_max: int = CONNECTIONS_MAX, connect_s: float, piece_s: float) -> None:
        self._connections_max = connections_max
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=piece_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=self._connections_max),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
            read_bufsize=PIECE_SIZE_BYTES,
        )
        # It would send a PUT again after a reset; who calls decides that. A test holds this private name.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def ask(
        self, method: str, address: str, path: str, query: str, *, headers: Iterable[tuple[str, str]], body: bytes
    ) -> AsyncIterator[Answer]:
        """Send a request and give its answer while the block runs. `address` is `http://host:port`; `path` and `query`
        are sent as they are. An answer that was not read to its end costs the connection.

        Raises `NotReached`, and `Unavailable` when what comes back is too late or is no HTTP.
        """
        if self._session is None:
            raise Unavailable("The connections to other processes are closed.")
        base = URL(address)
        url = URL.build(scheme=base.scheme, authority=base.authority, path=path, query_string=query, encoded=True)
        try:
            response = await self._session.request(
                method, url, headers=list(headers), data=body or None, allow_redirects=False
            )
        except TimeoutError as error:
            raise Unavailable(f"{address} did not answer in time.") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise NotReached(f"{address} does not answer: {error or repr(error)}.") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Unavailable(f"What {address} answers is not HTTP: {_line(error)}") from error
        try:
            yield Answer(response, address)
        finally:
            response.release()


def _line(error: Exception) -> str:
    """An error of the parser on one line, cut: it shows the bytes it did not like, over several."""
    return re.sub(r"\s+", " ", str(error))[:200]
