"""A wire to a PostgreSQL server that a test cuts at an exact word, such as the COMMIT of a settlement."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress

COMMIT = b"COMMIT\x00"
"""The end of the message that asks for it."""

PIECE_BYTES = 1 << 16


class Wire:
    """Listens on a port of its own and passes everything on to the server's. `fault` is what becomes, once, of the next
    message that holds `word`:

    `before`  the connection is cut, and the server never sees it
    `after`   the server gets it and answers, and the connection is cut before the client has the answer
    `late`    the client's end is cut at once, and the server gets it when `let_go` is set
    `stuck`   nothing comes through any more, and both ends stay connected until `let_go` is set

    `struck` is set when that has happened. While it is `refusing`, who connects is hung up on.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port: int = self._listening.getsockname()[1]
        self.word = COMMIT
        self.fault = ""
        self.refusing = False
        self.refuses_afterwards = False
        self.let_go = asyncio.Event()
        self.struck = asyncio.Event()

    def open(self) -> None:
        """Begin to listen."""
        self._begin(self._listen())

    async def close(self) -> None:
        """Cut everything."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(self._listening)
            client.setblocking(False)
            self._begin(self._connected(client))

    async def _connected(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with client, socket.socket() as server, suppress(OSError):
            if self.refusing:
                return
            server.setblocking(False)
            await loop.sock_connect(server, self._server)
            back = asyncio.create_task(_pass_on(server, client))
            try:
                while data := await loop.sock_recv(client, PIECE_BYTES):
                    if self.fault and self.word in data:
                        await _stopped(back)
                        await self._strike(data, client, server)
                        return
                    await loop.sock_sendall(server, data)
            finally:
                await _stopped(back)

    async def _strike(self, data: bytes, client: socket.socket, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        fault, self.fault = self.fault, ""
        self.refusing = self.refuses_afterwards
        if fault == "late":
            client.close()
        if fault in ("late", "stuck"):
            self.struck.set()
            await self.let_go.wait()
        if fault in ("late", "after"):
            await loop.sock_sendall(server, data)
            await loop.sock_recv(server, PIECE_BYTES)  # it has answered
        self.struck.set()


async def _pass_on(server: socket.socket, client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await loop.sock_recv(server, PIECE_BYTES):
            await loop.sock_sendall(client, data)
        client.shutdown(socket.SHUT_RDWR)  # the server has hung up


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
