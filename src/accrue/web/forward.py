"""Handing a request on: another process knows the answer, and ours passes it to the client as it is.

    client --> gateway --> Forwarder --(Accrue-Forwarded: the gateway)--> the worker that owns the tenant
                  ^            |
                  +------------+ status, headers, body

A request is handed on once. A process that gets one which was handed on already, and would hand it on again, says 503
and whom it takes for the right one (`Accrue-Misdirected`): while a partition changes hands two may point at each other.
The first takes that for no answer, as it does silence: it looks who has the partition now (ladder.py), or falls back to
what it has itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from accrue.connect.http import CONNECTIONS_MAX, Answer, NotReached, Peers
from accrue.errors import Elsewhere, Unavailable
from accrue.web.address import raw_path
from accrue.web.body import Message, Receive, Scope, Send, has_body, read_body
from accrue.web.parameters import FORWARDED
from accrue.web.problems import Headers, Malformed, answer_of

MISDIRECTED = b"accrue-misdirected"

CONNECT_S_MAX = 0.5
WHOLE_S_MAX = 5.0
"""From the request to the end of its answer; of one that is sent on in pieces to its first, and then for each."""

WHOLE_SIZE_BYTES_MAX = 1 << 20
"""An answer that announces no more than this is read to its end before any of it is sent on, so that one which breaks
off can still be replaced by another."""


class Forwarder:
    """Hands requests on to other processes, while its block runs. `name` is what they are told of this one."""

    def __init__(
        self,
        name: str,
        *,
        connections_max: int = CONNECTIONS_MAX,
        connect_s: float = CONNECT_S_MAX,
        whole_s: float = WHOLE_S_MAX,
    ) -> None:
        self._name, self._whole_s = name, whole_s
        self._peers = Peers(connections_max=connections_max, connect_s=connect_s, piece_s=whole_s)

    async def __aenter__(self) -> Self:
        await self._peers.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._peers.__aexit__(kind, error, trace)

    async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with what the process at `address` (`http://host:port`) answers, whatever that is.

        1. refuse what was handed on before; 2. read the body; 3. ask, a GET or HEAD once more when the connection was
        refused or reset before any answer; 4. send the answer on.

        Raises `Unavailable` when there is no answer, `Elsewhere` when that process would hand it on, too; nothing was
        sent then, and the caller may answer otherwise (the body is read: see `replaying`). Raises what `read_body`
        raises, and `BrokenOff` in the middle of an answer of many pieces, which must reach the server so that it breaks
        off ours too.
        """
        headers = dict(scope["headers"])
        if FORWARDED in headers:
            await self._refuse(headers[FORWARDED].decode("latin-1"), address, send)
            return
        body = await read_body(receive, headers) if has_body(headers) else b""
        again = scope["method"] in ("GET", "HEAD")
        try:
            async with asyncio.timeout(self._whole_s) as limit:
                while True:
                    try:
                        await self._ask(address, scope, body, receive, send, limit)
                        return
                    except NotReached:
                        if not again:
                            raise
                        again = False
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Unavailable(f"{address} did not answer in {self._whole_s:g} s.") from error

    async def _ask(
        self, address: str, scope: Scope, body: bytes, receive: Receive, send: Send, limit: asyncio.Timeout
    ) -> None:
        path, query = raw_path(scope), scope["query_string"].decode("latin-1")
        if not (path.isascii() and query.isascii()):
            raise Malformed("The address is not percent-encoded.", field="path")
        headers = [*_passed(scope["headers"]), (FORWARDED.decode(), self._name)]
        async with self._peers.ask(scope["method"], address, path, query, headers=headers, body=body) as answer:
            self._check(answer, address)
            if answer.size_bytes is not None and answer.size_bytes <= WHOLE_SIZE_BYTES_MAX:
                whole = await answer.read()
                limit.reschedule(None)  # what is left is up to our client
                await send(_start(answer))
                await send({"type": "http.response.body", "body": whole})
            else:
                await self._pass_pieces(answer, receive, send, limit)

    async def _pass_pieces(self, answer: Answer, receive: Receive, send: Send, limit: asyncio.Timeout) -> None:
        """As fast as our client takes them, and no further once it has left."""
        async with aclosing(answer.pieces()) as pieces:
            piece = await anext(pieces, b"")
            limit.reschedule(None)  # from here on each piece has its own
            await send(_start(answer))
            while piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if await _gone(receive):
                    return
                piece = await anext(pieces, b"")
        await send({"type": "http.response.body", "body": b""})

    def _check(self, answer: Answer, address: str) -> None:
        """Raises `Unavailable` when this is no answer to our question, `Elsewhere` when it is another's to answer."""
        if not 200 <= answer.status < 600:
            raise Unavailable(f"{address} answers with status {answer.status}, which there is not.")
        other = dict(answer.headers).get(MISDIRECTED)
        if other is not None:
            raise Elsewhere(
                f"{self._name} takes {address} for the process to ask, which takes {_shown(other)} for it: "
                "the partition is changing hands."
            )

    async def _refuse(self, by: str, address: str, send: Send) -> None:
        said = Unavailable(
            f"{by} takes {self._name} for the process to ask, which takes {address} for it: the partition is changing "
            "hands. Nothing is handed on twice."
        )
        status, headers, body = answer_of(said)
        named = (MISDIRECTED, address.encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, named]})
        await send({"type": "http.response.body", "body": body})


_OF_THE_CONNECTION = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)
"""RFC 9110, 7.6.1: what is meant for the next on the way only. So is what `Connection` names."""

_TENANT = b"accrue-tenant"
"""Never left out, whatever `Connection` says: without it the other process would answer for the default tenant."""

_ASKED = _OF_THE_CONNECTION | {b"host", b"content-length", b"expect", FORWARDED}
_ANSWERED = _OF_THE_CONNECTION | {b"date", b"server"}
"""Also left out: what whoever sends the message on writes anew."""

_NO_CONTROLS = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch


def _passed(headers: Headers) -> Iterator[tuple[str, str]]:
    """The headers that are handed on. One that is not UTF-8 is left out, but for the tenant: that would be another."""
    dropped = (_ASKED | _named(headers)) - {_TENANT}
    for name, value in headers:
        if name in dropped:
            continue
        try:
            yield name.decode("ascii"), value.decode()
        except UnicodeDecodeError:
            if name == _TENANT:
                raise Malformed("The header Accrue-Tenant is not UTF-8.", field="Accrue-Tenant") from None


def _start(answer: Answer) -> Message:
    dropped = _ANSWERED | _named(answer.headers)
    headers = [
        (name, value) for name, value in answer.headers if name not in dropped and _NO_CONTROLS(value) is not None
    ]
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


def _named(headers: Headers) -> frozenset[bytes]:
    """What `Connection` says is of the connection."""
    for name, value in headers:
        if name == b"connection":
            return frozenset(part.strip().lower() for part in value.split(b","))
    return frozenset()


def _shown(value: bytes) -> str:
    return value[:100].decode("latin-1")


async def _gone(receive: Receive) -> bool:
    """Whether the client has left, without waiting for it: a server that knows says so at once."""
    try:
        async with asyncio.timeout(0):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
