"""Who answers a request in a process among several: the first rung of the ladder that can.

    of the tenant's worker, here                    own
    a board, when the boards are shared             own; what it says is `Elsewhere`: the worker
    anything else of a tenant elsewhere             its worker, through the forwarder
    a read, when nobody of these answers            the book: `stale`

Events, scores and programs enter the log here, whoever the worker is. A rung that answers 503 did not answer: nothing
of it reaches the client while there is another rung. A read that asks for `after` must not be stale, so it has no last
rung.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol
from urllib.parse import parse_qs

from msgspec import Struct

from accrue.clock import Clock
from accrue.config import DEFAULT_TENANT
from accrue.errors import AccrueError, Elsewhere, Unavailable
from accrue.web.address import sent_path
from accrue.web.body import App, Message, Receive, Scope, Send, read_body, replaying
from accrue.web.circuit import CircuitBreaker
from accrue.web.problems import ELSEWHERE, answer_of
from accrue.web.traffic import Traffic

CIRCUITS_MAX = 1_000
WORKER_RETRY_S = 2.0

Rung = App
"""Raises `Unavailable` when it has not answered."""


class Forwards(Protocol):
    """See `Forwarder`, which this does not import: its HTTP client is an extra."""

    async def forward(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the process at `address` answers. Raises `Unavailable` when there is no answer."""
        ...


class Neighbours(Struct, frozen=True, kw_only=True):
    """What is known of the other processes. `address_of` is that of the tenant's worker, empty when nobody knows."""

    is_here: Callable[[str], bool]
    address_of: Callable[[str], str]
    forwarder: Forwards
    clock: Clock


class Ladder:
    """See above. `shares_boards` says whether all processes read the same boards; `traffic` counts what was answered
    elsewhere."""

    def __init__(
        self, own: App, stale: App, neighbours: Neighbours, *, shares_boards: bool, traffic: Traffic | None = None
    ) -> None:
        self._own, self._book, self._neighbours, self._shares_boards = own, stale, neighbours, shares_boards
        self._traffic = Traffic() if traffic is None else traffic
        self._circuits: dict[str, CircuitBreaker] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _asked(scope) if scope["type"] == "http" else None
        if asked is None:
            await self._own(scope, receive, send)
            return None
        rungs = self._rungs(asked)
        try:
            body: bytes | None = None
            if len(rungs) > 1 and scope["method"] == "POST":  # each rung reads it
                body = await read_body(receive, dict(scope["headers"]))
            while True:
                rung = rungs.pop(0)
                try:
                    return await rung(scope, receive if body is None else replaying(body, receive), send)
                except Unavailable as error:
                    if not rungs:
                        raise
                    if rung == self._attempt and not isinstance(error, Elsewhere):
                        rungs = rungs[-1:]  # the worker reads the same boards
        except AccrueError as error:
            status, headers, body = answer_of(error)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _rungs(self, asked: _Asked) -> list[Rung]:
        is_here, is_shared = self._neighbours.is_here(asked.tenant), asked.is_board and self._shares_boards

        async def forward(scope: Scope, receive: Receive, send: Send) -> None:
            address = self._neighbours.address_of(asked.tenant)
            if not address:
                raise Unavailable("No worker has this tenant just now.", retry_after_s=2)
            # How long a worker takes to come to a position says nothing of those who want what it has.
            with nullcontext() if asked.waits else self._circuit(address).asking():
                await self._neighbours.forwarder.forward(address, scope, receive, send)
            self._traffic.forwarded += 1

        own: Rung = self._attempt
        rungs: list[Rung] = [own] if is_here else [own, forward] if is_shared else [forward]
        if asked.may_be_stale:
            rungs.append(self._stale)
        elif len(rungs) == 1 and is_here:
            rungs = [self._own]  # whatever it says is the answer
        return rungs

    async def _stale(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The book's answer."""
        self._traffic.stale += 1
        await self._book(scope, receive, send)

    def _circuit(self, address: str) -> CircuitBreaker:
        """That of a worker: while it does not answer nobody waits for it."""
        if address not in self._circuits:
            if len(self._circuits) >= CIRCUITS_MAX:  # workers come and go, each with an address of its own
                del self._circuits[next(iter(self._circuits))]
            self._circuits[address] = CircuitBreaker(address, self._neighbours.clock, retry_s=WORKER_RETRY_S)
        return self._circuits[address]

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


def _asked(scope: Scope) -> _Asked | None:
    """What a request asks of a tenant; None for what is this process's own business."""
    path, method = sent_path(scope), scope["method"]
    is_read = method in ("GET", "HEAD") or (method == "POST" and path.endswith("/ranks"))
    if not path.startswith("/v1/") or path in ("/v1/events", "/v1/admin/program") or path.endswith("/scores"):
        return None
    query = parse_qs(scope["query_string"].decode("latin-1")) if scope["query_string"] else {}
    header = dict(scope["headers"]).get(b"accrue-tenant", b"")
    tenant = query.get("tenant", [header.decode("utf-8", "replace")])[0] or DEFAULT_TENANT
    is_admin = path.startswith("/v1/admin/")
    waits = "after" in query
    return _Asked(tenant, path.startswith("/v1/boards/"), is_read and not is_admin and not waits, waits)
