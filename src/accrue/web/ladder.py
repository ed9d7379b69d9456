"""Who answers a request in a process among several: the first rung of the ladder that can.

    of the tenant's worker, here                    own
    a board, when the boards are shared             own; what it says is `Elsewhere`: the worker
    anything else of a tenant elsewhere             its worker, through the forwarder; where it has moved, the new one
    a read, when nobody of these answers            the book: `stale`

Events, scores and programs enter the log here, whoever the worker is. A rung that answers 503 did not answer: nothing
of it reaches the client while there is another rung. A read that asks for `after` must not be stale, so it has no last
rung.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Protocol
from urllib.parse import parse_qs

from msgspec import Struct

from accrue.clock import Clock
from accrue.config import DEFAULT_TENANT
from accrue.errors import AccrueError, Elsewhere, Unavailable
from accrue.web.address import sent_path
from accrue.web.body import App, Message, Receive, Scope, Send, has_body, read_body, replaying
from accrue.web.circuit import Circuits
from accrue.web.problems import ELSEWHERE, answer_of
from accrue.web.traffic import Traffic

WORKER_RETRY_S = 2.0

Rung = App
"""Raises `Unavailable` when it has not answered."""


class Forwards(Protocol):
    """See `Forwarder`, which this does not import: its HTTP client is an extra."""

    async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the process at `address` answers. Raises `Unavailable` when there is no answer, `Elsewhere`
        when another process has the tenant by now."""
        ...


class Neighbours(Struct, frozen=True, kw_only=True):
    """What is known of the other processes. `address_of` is that of the tenant's worker, empty when nobody knows, and
    `look` has it looked up anew: `Unavailable` when nobody can say.
    `find` looks for a tenant that may have come through another process; `Unavailable` when nobody can say."""

    is_here: Callable[[str], bool]
    address_of: Callable[[str], str]
    look: Callable[[], Awaitable[None]]
    forwarder: Forwards
    clock: Clock
    find: Callable[[str], Awaitable[None]]


class Ladder:
    """See above. `shares_boards` says whether all processes read the same boards; `traffic` counts what was answered
    elsewhere."""

    def __init__(
        self, own: App, stale: App, neighbours: Neighbours, *, shares_boards: bool, traffic: Traffic | None = None
    ) -> None:
        self._own, self._book, self._neighbours, self._shares_boards = own, stale, neighbours, shares_boards
        self._traffic = Traffic() if traffic is None else traffic
        self._circuits = Circuits(neighbours.clock, retry_s=WORKER_RETRY_S)  # nobody waits for who does not answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = sent_path(scope) if scope["type"] == "http" else ""
        if not path.startswith("/v1/"):
            await self._own(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            tenant = _tenant_in(scope)
            await self._find(tenant, scope["method"])
            asked = _asked(tenant, path, scope)
            if asked is None:
                await self._own(scope, receive, send)
            else:
                await self._climb(self._rungs(asked), scope, receive, sending)
        except AccrueError as error:
            if begun:  # half an answer: the server breaks it off, so that nobody takes it for a whole one
                raise
            status, headers, body = answer_of(error)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _find(self, tenant: str, method: str) -> None:
        try:
            await self._neighbours.find(tenant)
        except Unavailable:
            if method != "PUT":  # that is a program, which may be the tenant's first
                raise

    async def _climb(self, rungs: list[Rung], scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what the last rung raises."""
        body: bytes | None = None
        if len(rungs) > 1:
            headers = dict(scope["headers"])
            if scope["method"] == "POST" or has_body(headers):  # each rung may read it
                body = await read_body(receive, headers)
        while True:
            rung = rungs.pop(0)
            try:
                await rung(scope, receive if body is None else replaying(body, receive), send)
                return
            except Unavailable as error:
                if not rungs:
                    raise
                if rung == self._attempt and not isinstance(error, Elsewhere):
                    rungs = rungs[-1:]  # the worker reads the same boards

    def _rungs(self, asked: _Asked) -> list[Rung]:
        is_here, is_shared = self._neighbours.is_here(asked.tenant), asked.is_board and self._shares_boards

        async def forward(scope: Scope, receive: Receive, send: Send) -> None:
            address = self._neighbours.address_of(asked.tenant)
            try:
                await self._ask(address, asked, scope, receive, send)
            except Elsewhere:  # it has moved
                await self._neighbours.look()
                newer = self._neighbours.address_of(asked.tenant)
                if newer == address or has_body(dict(scope["headers"])):  # which was read
                    raise
                await self._ask(newer, asked, scope, receive, send)
            self._traffic.forwarded += 1

        own: Rung = self._attempt
        rungs: list[Rung] = [own] if is_here else [own, forward] if is_shared else [forward]
        if asked.may_be_stale:
            rungs.append(self._stale)
        elif len(rungs) == 1 and is_here:
            rungs = [self._own]  # whatever it says is the answer
        return rungs

    async def _ask(self, address: str, asked: _Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer of the worker at an address. Raises what `Forwards.forward` raises, and without an address."""
        if not address:
            raise Unavailable("No worker has this tenant just now.", retry_after_s=2)
        # How long a worker takes to come to a position says nothing of those who want what it has.
        with nullcontext() if asked.waits else self._circuits.of(address).asking():
            await self._neighbours.forwarder.forward(address, scope, receive, send)

    async def _stale(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The book's answer."""
        self._traffic.stale += 1
        await self._book(scope, receive, send)

    async def _attempt(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Our own answer, unless it is a 503."""
        refused: Message | None = None

        async def unless_unavailable(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == 503:
                refused = message
            if refused is None:
                await send(message)

        await self._own(scope, receive, unless_unavailable)
        if refused is not None:
            elsewhere = any(name == ELSEWHERE for name, _ in refused["headers"])
            raise Elsewhere("Another process knows.") if elsewhere else Unavailable("The live boards do not answer.")


class _Asked(Struct, frozen=True):
    tenant: str
    is_board: bool
    may_be_stale: bool
    waits: bool


def _tenant_in(scope: Scope) -> str:
    header = dict(scope["headers"]).get(b"accrue-tenant", b"")
    return _query_of(scope).get("tenant", [header.decode("utf-8", "replace")])[0] or DEFAULT_TENANT


def _query_of(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1")) if scope["query_string"] else {}


def _asked(tenant: str, path: str, scope: Scope) -> _Asked | None:
    """What a request asks of a tenant; None for what is this process's own business."""
    method = scope["method"]
    is_read = method in ("GET", "HEAD") or (method == "POST" and path.endswith("/ranks"))
    if path in ("/v1/events", "/v1/admin/program") or path.endswith("/scores"):
        return None
    is_admin = path.startswith("/v1/admin/")
    waits = "after" in _query_of(scope)
    return _Asked(tenant, path.startswith("/v1/boards/"), is_read and not is_admin and not waits, waits)
