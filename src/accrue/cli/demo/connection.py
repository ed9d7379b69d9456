"""One keep-alive connection to the server, with one request at a time: what a client does, and no more.

A request whose answer did not come is sent again as it is, on a new connection, and so is one that was answered with
"later" (503, 507). That is safe because an event's id counts once.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from urllib.parse import urlencode

from accrue.errors import Unavailable

ATTEMPTS_MAX = 20
RETRY_S = 0.25
LATER = (503, 507)


class Answer(NamedTuple):
    """`attempts` beyond 1 mean that the server may have seen the request more than once."""

    status: int
    body: bytes
    attempts: int = 1


class Connection:
    """A connection to a port of this machine, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, content_type: str, *, key: str | None = None) -> Answer:
        """Send a body; `key` becomes the Idempotency-Key. Raises `Unavailable` when no attempt got an answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        if key is not None:
            head += f"Idempotency-Key: {key}\r\n"
        return await self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def get(self, path: str, **parameters: str | int | None) -> Answer:
        """Ask for a page; `path` is percent-encoded already, parameters that are None are left out."""
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return await self._ask(f"GET {path}{'?' if query else ''}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    async def close(self) -> None:
        """Hang up. Harmless to repeat."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes) -> Answer:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                answer = await self._once(request)
            except (OSError, EOFError, ValueError):
                await self.close()
            else:
                if answer.status not in LATER or attempt == ATTEMPTS_MAX:
                    return answer._replace(attempts=attempt)
            await asyncio.sleep(RETRY_S)
        raise Unavailable(f"The server on port {self._port} does not answer any more.")

    async def _once(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return Answer(int(head[9:12]), await reader.readexactly(length))
