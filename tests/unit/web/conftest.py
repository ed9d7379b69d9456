"""An engine in memory with its HTTP face, and two ways to ask: httpx, and bare ASGI for what no client would send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import httpx
import msgspec
import pytest

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.config import Config
from accrue.server import Front, create_app

PROGRAM = """
[tenant]
timezone = "America/New_York"
[metrics.points]
[metrics.distance]
scale = 2
[metrics.views]
of = "object"
[[rules]]
on = "comment.created"
give = [{ to = "actor", metric = "points", amount = 5 }, { to = "object", metric = "views" }]
[boards.writers]
metric = "points"
periods = ["all", "day"]
[boards.runners]
metric = "distance"
"""


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


Call = Callable[..., Awaitable[Answer]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_795_237_200_000_000)  # 2026-11-21T05:00:00Z, midnight in New York


@pytest.fixture
async def accrue(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Accrue]:
    program = tmp_path / "program.toml"
    program.write_text(PROGRAM)
    async with Accrue.open(Config(data_dir=None), program=program, clock=clock) as accrue:
        yield accrue


@pytest.fixture
def app(accrue: Accrue) -> Front:
    return create_app(accrue, read_wait_s_max=0.01)


@pytest.fixture
async def client(app: Front) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://accrue") as client:
        yield client


@pytest.fixture
def call(app: Front) -> Call:
    """Call the app as a server would, with any bytes at all. `parts` are the body's pieces; None is a hang-up."""

    async def call(
        method: str,
        path: bytes,
        *,
        query: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        parts: Sequence[bytes | None] = (b"",),
        root_path: str = "",
    ) -> Answer:
        waiting = [
            {"type": "http.disconnect"}
            if part is None
            else {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
            for index, part in enumerate(parts)
        ]
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "server": ("accrue", 80),
            "client": ("test", 1),
            "method": method,
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": root_path,
            "headers": list(headers),
        }
        await app(scope, receive, send)
        start, *bodies = sent
        body = b"".join(message.get("body", b"") for message in bodies)
        return Answer(start["status"], dict(start["headers"]), body)

    return call
