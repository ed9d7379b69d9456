"""Requests are counted once, where the client asked, and under the names that a process alone gives them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest

from accrue.config import Config
from accrue.engine import Accrue
from accrue.server import create_app
from accrue.web.body import Receive, Scope, Send
from accrue.web.counted import Counted
from accrue.web.traffic import Request, Traffic
from pipeline.nodes import PROGRAM, servers, until
from unit.web.loopback import served, talking

ASKED = (
    ("PUT", "/v1/admin/program"),
    ("GET", "/v1/admin/program"),
    ("DELETE", "/v1/events"),
    ("POST", "/v1/events"),
    ("HEAD", "/v1/users/a%2Fb"),
    ("GET", "/v1/users/a/b"),
    ("GET", "/v1/boards/writers?limit=1"),
    ("GET", "/v1/boards/none"),
    ("GET", "/v1/boards/writers/around/ada"),
    ("POST", "/v1/boards/writers/scores"),
    ("GET", "/v1/failed"),
    ("GET", "/v1/failed/1"),
    ("POST", "/v1/failed/replay"),
    ("GET", "/v1/none"),
    ("GET", "/docs"),
    ("GET", "/healthz"),
    ("GET", "/"),
)


async def counts(client: httpx.AsyncClient) -> list[str]:
    """What /metrics counts."""
    text = (await client.get("/metrics")).text
    return sorted(line for line in text.splitlines() if line.startswith("accrue_http_requests_total"))


async def asked(client: httpx.AsyncClient) -> list[str]:
    """What it counts once all of it was asked."""
    for method, path in ASKED:
        body = PROGRAM if method == "PUT" else "{}"
        media = "application/toml" if method == "PUT" else "application/json"
        await client.request(method, path, content=body, headers={"content-type": media})
    return await counts(client)


async def test_a_process_among_several_counts_as_one_that_is_alone(tmp_path: Path) -> None:
    async with Accrue.open(Config(data_dir=None)) as accrue, served(create_app(accrue)) as url, talking(url) as alone:
        expected = await asked(alone)
    assert len(expected) >= 14
    async with servers(tmp_path) as engines, engines.served() as worker:
        await until(lambda: len(worker.node.live.statuses()) == 2)
        async with engines.served(works=False) as gateway:
            assert await asked(gateway.client) == expected
            assert await counts(worker.client) == []  # it answered, but no client asked it


async def test_what_ends_without_an_answer_is_a_500() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    traffic = Traffic(counted_outside=True)
    app = Counted(broken, traffic, ["/v1/users/{id:str}"])
    scope = {"type": "http", "method": "BREW", "path": "/v1/users/ada", "headers": []}
    with pytest.raises(RuntimeError):
        await app(scope, None, None)  # type: ignore[arg-type]  # it looks at neither
    assert traffic.requests == Counter({Request("other", "/v1/users/{id}", 500): 1})
