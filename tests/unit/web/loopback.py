"""Servers on loopback: a real one for any application, and one that sends whatever bytes it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from accrue.web.body import App


@asynccontextmanager
async def served(app: App, *, port: int = 0) -> AsyncIterator[str]:
    """Serve an application while the block runs, as server.py does; gives the URL."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    # Its own `serve` looks for the end ten times a second, which is most of the time that a test here would take.
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown(sockets=[listener])


class Raw:
    """What a `raw` server saw: a request's first bytes each, and how many connections were opened."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[bytes] = []
        self.connections = 0


@asynccontextmanager
async def raw(*answers: bytes | None) -> AsyncIterator[Raw]:
    """Answer the first request with the first bytes, and so on; the last ones are for all that follow.

    `None` closes the connection instead, and so do bytes with `connection: close`, once they are sent.
    """
    seen = Raw()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                answer = answers[min(len(seen.requests), len(answers) - 1)]
                seen.requests.append(head)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        server.close()


def talking(url: str) -> httpx.AsyncClient:
    """A client of one server. Without TLS, whose certificates take longer to load than a test to run."""
    return httpx.AsyncClient(base_url=url, verify=False, trust_env=False)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
