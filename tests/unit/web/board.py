"""An application that can be held up and made to fail, and clients that ask it through a cache, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from accrue.web.body import App, Message, Receive, Scope, Send

Headers = Sequence[tuple[bytes, bytes]]


class Board:
    """An application whose answers differ each time, that can be held up, and that knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Scope] = []
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing: list[int] = []
        self.parts: list[bytes] | None = None
        self.whole = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope)
        scope["path_template"] = "/v1/users/{id}"
        number = len(self.asked)
        body = self.parts or [b"answer %d" % number]
        await self.gate.wait()
        if number in self.failing:
            raise RuntimeError("broken")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(b"".join(body)))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for index, part in enumerate(body):
            more = index + 1 < len(body) or not self.whole
            await send({"type": "http.response.body", "body": part, "more_body": more})


class Got:
    """An answer as a client has it."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        status: int = self.messages[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        pairs = self.messages[0]["headers"]
        assert len(dict(pairs)) == len(pairs), "a header stands twice"
        return dict(pairs)

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])


async def never() -> Any:
    await asyncio.Event().wait()


def asked(path: bytes, *, method: str = "GET", query: bytes = b"", headers: Headers = ()) -> Got:
    decoded = path.replace(b"%2F", b"/").decode()
    fields = {"method": method, "path": decoded, "raw_path": path, "query_string": query, "headers": [*headers]}
    return Got({"type": "http", "root_path": "", **fields})


async def get(app: App, path: bytes = b"/v1/users/ada", **how: Any) -> Got:
    got = asked(path, **how)
    await app(got.scope, never, got.send)
    return got


def getting(app: App, count: int, **how: Any) -> list[asyncio.Task[Got]]:
    return [asyncio.create_task(get(app, **how)) for _ in range(count)]


async def turns() -> None:
    """Let everybody go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)
