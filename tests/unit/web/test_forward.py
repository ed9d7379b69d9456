"""Handing requests on to another process, over real sockets: what arrives there, what comes back, what may go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from accrue.core.event import BODY_SIZE_BYTES_MAX
from accrue.errors import AccrueError, Unavailable
from accrue.web.body import App, Message, Receive, Scope, Send, read_body, replaying
from accrue.web.forward import Forwarder
from accrue.web.problems import Malformed, answer_of
from unit.web.loopback import free_port, raw, served, talking

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
async def forwarder() -> AsyncIterator[Forwarder]:
    async with Forwarder("gateway-1") as forwarder:
        yield forwarder


def gateway(forwarder: Forwarder, address: str) -> App:
    """What only hands on; what it raises becomes a problem, as it does in the server."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await forwarder.forward(address, scope, receive, send)
        except AccrueError as error:
            status, headers, body = answer_of(error)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


@asynccontextmanager
async def asking(forwarder: Forwarder, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that asks the process at `address`."""
    async with served(gateway(forwarder, address)) as front, talking(front) as client:
        yield client


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    body = await read_body(receive, {})
    said = {
        "method": scope["method"],
        "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await answering(send, msgspec.json.encode(said))


async def answering(send: Send, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    whole = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": whole})
    await send({"type": "http.response.body", "body": body})


async def sent(url: str, *parts: bytes) -> bytes:
    """What comes back when these bytes are sent: for requests that no client would make."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"".join(parts))
    answer = await reader.read()
    writer.close()
    return answer


async def mirrored(url: str, request: bytes) -> dict[str, Any]:
    answer = await sent(url, request)
    said: dict[str, Any] = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
    return said


SCOPE: Scope = {
    "type": "http",
    "method": "GET",
    "path": "/v1/users/ada",
    "raw_path": b"/v1/users/ada",
    "query_string": b"",
    "headers": [],
}


async def nothing(*_: object) -> Any:
    raise AssertionError("nothing is read or sent")


async def staying() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody leaves")


async def failing(
    forwarder: Forwarder, address: str, *, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None
) -> Unavailable:
    """What it raises, without having sent anything."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    with pytest.raises(Unavailable) as raised:
        await forwarder.forward(address, SCOPE | {"method": method, "headers": headers or []}, receive, nothing)
    return raised.value


# --- what arrives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/v1/users/a%2Fb?period=day&x=%2B+1",
        "/v1/users/..?",
        "/v1/users/%2e%2E/./b?",
        "//v1//users?",
        "/v1/users/%zz%?%zz",
        "/v1/users/a;b'\"|~?y=\"'",
    ],
)
async def test_an_address_arrives_byte_by_byte(forwarder: Forwarder, target: str) -> None:
    async with served(mirror) as worker, served(gateway(forwarder, worker)) as front:
        request = f"GET {target} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n".encode("latin-1")

        assert (await mirrored(front, request))["target"] == target


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_request_arrives_as_it_was_sent(forwarder: Forwarder, method: str) -> None:
    async with served(mirror) as worker, asking(forwarder, worker) as client:
        headers = {"accrue-tenant": "forum", "content-type": "application/json", "accept": "*/*", "via": "1.1 x"}
        said = (await client.request(method, "/v1/users/ada", content=b"{\x00}", headers=headers)).json()

    assert said["method"] == method
    assert said["body"] == "{\x00}"
    arrived = dict(said["headers"])
    assert {name: arrived[name] for name in headers} == headers
    assert arrived["accrue-forwarded"] == "gateway-1"
    assert arrived["host"] == worker.removeprefix("http://")
    assert "connection" not in arrived


async def test_what_is_of_the_connection_stays_there_but_the_tenant_never_does(forwarder: Forwarder) -> None:
    async with served(mirror) as worker, served(gateway(forwarder, worker)) as front:
        said = await mirrored(
            front,
            b"GET /v1/users/ada HTTP/1.1\r\nhost: front\r\nkeep-alive: 5\r\nte: trailers\r\nx-hop: 1\r\nx-end: 2\r\n"
            b"accrue-tenant: forum\r\nconnection: close, X-Hop, accrue-tenant\r\n\r\n",
        )

    assert {name for name, _ in said["headers"]} == {"host", "x-end", "accrue-tenant", "accrue-forwarded"}
    assert ["accrue-tenant", "forum"] in said["headers"]
    assert ["x-end", "2"] in said["headers"]


async def test_a_header_that_is_not_utf_8_is_left_out_and_refused_as_a_tenant(forwarder: Forwarder) -> None:
    start = b"GET /v1/users/ada HTTP/1.1\r\nhost: front\r\nconnection: close\r\n"
    async with served(mirror) as worker, served(gateway(forwarder, worker)) as front:
        utf_8 = await mirrored(front, start + b"accrue-tenant: caf\xc3\xa9\r\nx-city: K\xf6ln\r\n\r\n")
        other = await sent(front, start + b"accrue-tenant: caf\xe9\r\n\r\n")

    assert ["accrue-tenant", "caf\xc3\xa9"] in utf_8["headers"]
    assert "x-city" not in dict(utf_8["headers"])
    assert other.startswith(b"HTTP/1.1 400 ")
    assert b'"field":"Accrue-Tenant"' in other


@pytest.mark.parametrize("part", ["raw_path", "query_string"])
async def test_an_address_that_is_not_percent_encoded_is_refused(forwarder: Forwarder, part: str) -> None:
    """Our server refuses it before; another one may hand it to us."""
    with pytest.raises(Malformed):
        await forwarder.forward("http://127.0.0.1:1", SCOPE | {part: b"/caf\xc3\xa9"}, nothing, nothing)


async def test_a_body_is_read_within_the_limit_before_anybody_is_asked(forwarder: Forwarder) -> None:
    async with raw(OK) as worker, asking(forwarder, worker.url) as client:
        large = await client.post("/v1/boards/b/ranks", content=b"x" * (BODY_SIZE_BYTES_MAX + 1))
        packed = await client.post("/v1/boards/b/ranks", content=b"x", headers={"content-encoding": "gzip"})

    assert (large.status_code, packed.status_code) == (413, 415)
    assert worker.connections == 0


async def test_the_place_that_the_gateway_is_mounted_at_is_not_part_of_the_address(forwarder: Forwarder) -> None:
    got: list[Message] = []

    async def send(message: Message) -> None:
        got.append(message)

    mounted = {"path": "/accrue/v1/users/a/b", "raw_path": b"/accrue/v1/users/a%2Fb", "root_path": "/accrue"}
    async with served(mirror) as worker:
        await forwarder.forward(worker, SCOPE | mounted, nothing, send)

    assert msgspec.json.decode(got[1]["body"])["target"] == "/v1/users/a%2Fb?"


async def test_a_body_that_was_read_can_be_read_again() -> None:
    async def left() -> Message:
        return {"type": "http.disconnect"}

    receive = replaying(b"{}", left)

    assert await read_body(receive, {}) == b"{}"
    assert await receive() == {"type": "http.disconnect"}


# --- what comes back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 302, 404, 422, 500, 503])
async def test_an_answer_comes_back_whatever_it_says(forwarder: Forwarder, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extra = [(b"etag", b'"1"'), (b"location", b"/docs"), (b"x-hop", b"1"), (b"connection", b"close, x-hop")]
        await answering(send, b"packed?", *extra, (b"content-encoding", b"gzip"), status=status)

    async with served(app) as worker, served(gateway(forwarder, worker)) as front:
        answer = await sent(front, b"GET /docs HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body == b"packed?"
    assert sorted(names) == [b"connection", b"content-encoding", b"content-length", b"date", b"etag", b"location"]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(forwarder: Forwarder, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b'"1"')]})
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as worker, served(gateway(forwarder, worker)) as front:
        answer = await sent(front, b"GET / HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length" not in answer
    assert b"transfer-encoding" not in answer


async def test_head_has_the_headers_of_get_and_no_body(forwarder: Forwarder) -> None:
    async with served(mirror) as worker, asking(forwarder, worker) as client:
        for _ in range(2):  # on one connection, which a body in between would spoil
            answer = await client.head("/v1/users/ada")

    assert int(answer.headers["content-length"]) > 0
    assert answer.content == b""


async def test_a_cookie_of_one_answer_is_not_in_the_next_question(forwarder: Forwarder) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert b"cookie" not in dict(scope["headers"])
        await answering(send, b"{}", (b"set-cookie", b"a=1"))

    async with served(app) as worker, served(gateway(forwarder, worker)) as front:
        for _ in range(2):
            async with talking(front) as client:
                answer = await client.get("/v1/users/ada")

    assert answer.status_code == 200
    assert answer.headers["set-cookie"] == "a=1"


async def test_many_pieces_are_sent_on_as_they_come(forwarder: Forwarder) -> None:
    seen = asyncio.Event()
    rest = [b"%d" % number * 50_000 for number in range(60)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
        await seen.wait()
        for piece in rest:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with (
        served(app) as worker,
        asking(forwarder, worker) as client,
        client.stream("GET", "/v1/tallies/points") as answer,
    ):
        pieces = answer.aiter_raw()
        first = await anext(pieces)
        seen.set()
        others = b"".join([piece async for piece in pieces])

    assert first == b"first\n"
    assert others == b"".join(rest)


async def test_a_large_answer_of_known_size_keeps_it(forwarder: Forwarder) -> None:
    body = b"0123456789abcdef" * 200_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(send, body)

    async with served(app) as worker, asking(forwarder, worker) as client:
        answer = await client.get("/v1/tallies/points")

    assert answer.headers["content-length"] == str(len(body))
    assert answer.content == body


async def test_pieces_that_break_off_are_not_taken_for_an_end(forwarder: Forwarder) -> None:
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n6\r\nfirst\n\r\n"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await forwarder.forward(worker.url, scope, receive, send)

    async with raw(begun, OK) as worker, served(app) as front, talking(front) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/v1/tallies/points")
        assert (await client.get("/v1/users/ada")).json() == {}


async def test_when_the_client_leaves_the_other_process_may_stop(forwarder: Forwarder) -> None:
    stopped = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive, {})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left = asyncio.ensure_future(receive())
        while not left.done():
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            await asyncio.sleep(0)
        stopped.set()

    async with served(app) as worker, asking(forwarder, worker) as client:
        async with client.stream("GET", "/v1/tallies/points") as answer:
            await anext(answer.aiter_raw())
        async with asyncio.timeout(10):
            await stopped.wait()


# --- when there is no answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
@pytest.mark.parametrize("pooled", [False, True])
async def test_a_connection_that_is_closed_without_an_answer_is_tried_once_more_for_a_get(
    forwarder: Forwarder, method: str, times: int, pooled: bool
) -> None:
    answers = [OK, None] if pooled else [None]
    async with raw(*answers) as worker:
        if pooled:
            async with asking(forwarder, worker.url) as client:
                await client.get("/v1/users/ada")

        await failing(forwarder, worker.url, method=method, headers=[(b"content-length", b"2")])

    assert len(worker.requests) == times + pooled


async def test_the_second_try_may_bring_the_answer(forwarder: Forwarder) -> None:
    async with raw(None, OK) as worker, asking(forwarder, worker.url) as client:
        assert (await client.get("/v1/users/ada")).json() == {}


async def test_where_nobody_listens_there_is_no_answer(forwarder: Forwarder) -> None:
    address = f"http://127.0.0.1:{free_port()}"

    raised = await failing(forwarder, address)

    assert address in raised.detail


async def test_an_answer_that_takes_too_long_is_none_and_not_asked_for_again() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)
        await over.wait()

    asked: list[Scope] = []
    over = asyncio.Event()
    async with Forwarder("gateway-1", whole_s=0.05) as forwarder, served(app) as worker:
        raised = await failing(forwarder, worker)
        over.set()

    assert "in 0.05 s" in raised.detail
    assert len(asked) == 1


@pytest.mark.parametrize("length", [b"content-length: 2", b"transfer-encoding: chunked"])
async def test_a_client_may_take_its_time_once_the_answer_is_there(
    forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch, length: bytes
) -> None:
    loop, got = asyncio.get_running_loop(), []

    async def slowly(message: Message) -> None:
        now_s = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now_s + 60)
        for _ in range(5):  # whatever has a limit that is over now is told so
            await asyncio.sleep(0)
        got.append(message)

    body = b"2\r\n{}\r\n0\r\n\r\n" if b"chunked" in length else b"{}"
    async with raw(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n" + body) as worker:
        await forwarder.forward(worker.url, SCOPE, staying, slowly)

    assert b"".join(message["body"] for message in got[1:]) == b"{}"


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a status there is not": b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "shorter than it says": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}",
    "broken in its first piece": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\nconnection: close\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_answer_is_said_to_be_none(forwarder: Forwarder, answer: bytes) -> None:
    async with raw(answer) as worker:
        await failing(forwarder, worker.url)


async def test_a_header_that_no_server_would_send_on_is_left_out(forwarder: Forwarder) -> None:
    odd = b"HTTP/1.1 200 OK\r\nx-odd: a\x01b\r\nx-fine: \xe9\r\ncontent-length: 2\r\n\r\n{}"
    async with raw(odd) as worker, served(gateway(forwarder, worker.url)) as front:
        answer = await sent(front, b"GET / HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"x-odd" not in answer
    assert b"x-fine: \xe9" in answer


async def test_no_more_connections_than_allowed_are_opened() -> None:
    here = most = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal here, most
        here += 1
        most = max(most, here)
        await asyncio.sleep(0.01)
        here -= 1
        await answering(send, b"{}")

    async with (
        Forwarder("gateway-1", connections_max=2) as forwarder,
        served(app) as worker,
        asking(forwarder, worker) as client,
    ):
        answers = await asyncio.gather(*[client.get("/v1/users/ada") for _ in range(8)])

    assert [answer.status_code for answer in answers] == [200] * 8
    assert most == 2


# --- loops --------------------------------------------------------------------------------------------------------


async def test_what_was_handed_on_once_is_refused_with_who_thought_what() -> None:
    async with Forwarder("worker-2") as forwarder, raw(OK) as third, asking(forwarder, third.url) as client:
        answer = await client.get("/v1/users/ada", headers={"accrue-forwarded": "gateway-1"})

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" in answer.headers
    said = answer.json()["detail"]
    assert said.startswith(f"gateway-1 takes worker-2 for the process to ask, which takes {third.url} for it")
    assert third.connections == 0


async def test_two_that_point_at_each_other_end_and_the_first_may_answer_otherwise(forwarder: Forwarder) -> None:
    async with Forwarder("worker-2") as other, served(gateway(other, "http://127.0.0.1:1")) as second:
        raised = await failing(forwarder, second)

    assert raised.detail.startswith(f"gateway-1 takes {second} for the process to ask, which takes http://127.0.0.1:1")
