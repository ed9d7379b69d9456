"""A gateway's reads put together over real sockets: kept, else handed on to the engine, else something instead."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from accrue import Accrue
from accrue.clock import ManualClock
from accrue.errors import Unavailable
from accrue.server import create_app
from accrue.web.body import App, Receive, Scope, Send, read_body, replaying
from accrue.web.cached import Cached
from accrue.web.circuit import CircuitBreaker
from accrue.web.forward import Forwarder
from unit.web.loopback import served, talking


class Gateway:
    """Hands every request on to one worker; when there is no answer, `instead` answers."""

    def __init__(self, forwarder: Forwarder, worker: str, clock: ManualClock, instead: App) -> None:
        self._forwarder, self._worker, self._instead = forwarder, worker, instead
        self.breaker = CircuitBreaker(worker, clock)
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, {}) if scope["method"] == "POST" else b""
        try:
            with self.breaker.asking():
                self.asked += 1
                await self._forwarder.forward(self._worker, scope, replaying(body, receive), send)
        except Unavailable:
            await self._instead(scope, replaying(body, receive), send)


async def stale(scope: Scope, receive: Receive, send: Send) -> None:
    """What is answered instead: here, what was asked."""
    body = await read_body(receive, {})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"instead:" + body})


@pytest.fixture
async def engine(accrue: Accrue) -> Accrue:
    """An engine with two members on a board, one of them with a name that no path likes."""
    for actor in ("ada", "a/b?"):
        await accrue.track(type="comment.created", actor=actor, object="post-1", wait="applied")
    return accrue


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    async with Forwarder("gateway-1") as forwarder:
        yield forwarder


PATHS = ("boards/writers?limit=1", "users/a%2Fb%3F", "users/a/b%3F", "tallies/points/ada", "tallies/points")


async def test_a_client_cannot_tell_the_gateway_from_the_worker(
    engine: Accrue, forwarder: Forwarder, clock: ManualClock
) -> None:
    async with served(create_app(engine)) as worker, talking(worker) as straight:
        gateway = Gateway(forwarder, worker, clock, stale)
        async with served(Cached(gateway, clock)) as front, talking(front) as client:
            for path in (*PATHS, *PATHS, "boards/no-such"):
                answer, expected = await client.get(f"/v1/{path}"), await straight.get(f"/v1/{path}")
                assert (answer.status_code, answer.content) == (expected.status_code, expected.content), path
                assert answer.headers["content-type"] == expected.headers["content-type"]
            ranks = {"subjects": ["ada", "nobody"]}
            assert (await client.post("/v1/boards/writers/ranks", json=ranks)).json()["missing"] == ["nobody"]

    assert gateway.asked == len(PATHS) + 2


async def test_a_client_that_has_the_answer_gets_no_body_on_a_connection_that_goes_on(
    engine: Accrue, forwarder: Forwarder, clock: ManualClock
) -> None:
    async with served(create_app(engine)) as worker:
        gateway = Gateway(forwarder, worker, clock, stale)
        async with served(Cached(gateway, clock)) as front, talking(front) as client:
            first = await client.get("/v1/users/ada")
            same = await client.get("/v1/users/ada", headers={"if-none-match": first.headers["etag"]})
            head = await client.head("/v1/users/ada")
            last = await client.get("/v1/users/ada")

    assert [answer.status_code for answer in (first, same, head, last)] == [200, 304, 200, 200]
    assert same.content == head.content == b""
    assert int(head.headers["content-length"]) == len(first.content)
    assert last.content == first.content
    assert gateway.asked == 1


async def test_without_the_worker_something_else_answers_and_it_is_not_asked_each_time(
    engine: Accrue, forwarder: Forwarder, clock: ManualClock
) -> None:
    async with served(create_app(engine)) as worker:
        gateway = Gateway(forwarder, worker, clock, stale)
    async with served(Cached(gateway, clock, fresh_s=0)) as front, talking(front) as client:
        for _ in range(3):
            assert (await client.get("/v1/users/ada")).text == "instead:"
        answer: httpx.Response = await client.post("/v1/boards/writers/ranks", json={"subjects": []})

    assert answer.text == 'instead:{"subjects":[]}'
    assert gateway.asked == 1
    assert gateway.breaker.state == "open"
