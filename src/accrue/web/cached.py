"""Reads that many want at once cost one: their answers are kept for a moment and shared.

    GET or HEAD of a board, a profile, a tally
        kept, and asked for less than `fresh_s` ago ----------------------------> that, with its Age
        being asked for by somebody else just now: wait for the same answer ----> that, with its Age
        else ask, and keep the answer if it is a 200

Every 200 has a strong ETag, made of the bytes of its body, and If-None-Match is answered with 304.

A read with `after` must show what was written before it, so it is never answered from here; neither is one that another
process handed on, or it would be kept twice as long as is said. Age is rounded up, so that a cache behind this one
does not keep for another second what was kept here for almost one.

Answers are shared by all who may read a tenant, hence no `private`. They are not `public` either: that word would let
shared caches give an answer to a request with Authorization to others. Whoever checks access stands in front of this.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import OrderedDict
from typing import Any

from xxhash import xxh3_128_hexdigest

from accrue.clock import Clock
from accrue.web.body import App, Message, Receive, Scope, Send
from accrue.web.parameters import FORWARDED
from accrue.web.problems import Headers

FRESH_S = 1.0
ENTRIES_MAX = 10_000
SIZE_BYTES_MAX = 64 << 20
ANSWER_SIZE_BYTES_MAX = 1 << 20
"""An answer in pieces that grows past this is sent on as it comes, unshared and without ETag: an export."""

ENTRY_SIZE_BYTES = 1_500
"""What an entry takes beside its body and its key, roughly."""

Key = tuple[bytes, bytes, bytes]
"""Tenant header, path and query, all as sent: what two spellings of one address cost is one entry more."""


class Cached:
    """Answers reads for `app`, some of them without asking it. `fresh_s` 0 keeps and shares nothing.

    It may stand inside another application: what the framework notes in the scope about a request it answered
    (the route) is noted for one that it did not see, too. Every limit that `app` has on its time is one here: who
    waits for somebody else's answer waits as long as that one.
    """

    def __init__(
        self,
        app: App,
        clock: Clock,
        *,
        fresh_s: float = FRESH_S,
        entries_max: int = ENTRIES_MAX,
        size_bytes_max: int = SIZE_BYTES_MAX,
        answer_size_bytes_max: int = ANSWER_SIZE_BYTES_MAX,
    ) -> None:
        self._app, self._now_s, self._fresh_s = app, clock.monotonic_s, fresh_s
        self._entries_max, self._size_bytes_max = entries_max, size_bytes_max
        self._answer_size_bytes_max = answer_size_bytes_max
        self._max_age = b"max-age=%d" % int(fresh_s)
        self._kept: OrderedDict[Key, _Answer] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}
        self.size_bytes = 0
        self.hits = 0
        self.shared = 0
        self.misses = 0

    @property
    def entries(self) -> int:
        """How many answers are kept, those that are no longer fresh among them."""
        return len(self._kept)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not _is_read(scope):
            await self._app(scope, receive, send)
            return
        tenant, wanted = b"", None
        for name, value in scope["headers"]:
            if name == b"accrue-tenant":
                tenant = tenant + b"\n" + value if tenant else value
            elif name == b"if-none-match":
                wanted = value if wanted is None else wanted + b"," + value
            elif name == FORWARDED:
                await self._app(scope, receive, send)
                return
        query = scope["query_string"]
        reply = _Reply(scope, send, wanted)
        if not self._fresh_s or (query and _ANEW.search(query)):
            await self._ask(scope, receive, reply, b"no-cache")
            return
        key = (tenant, scope.get("raw_path") or scope["path"].encode(), query)
        kept = self._fresh(key)
        if kept is None:
            await self._share(key, scope, receive, reply)
        else:
            await reply.give(kept, self._now_s() - kept.asked_s)

    def _fresh(self, key: Key) -> _Answer | None:
        kept = self._kept.get(key)
        if kept is None or self._now_s() - kept.asked_s >= self._fresh_s:
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return kept

    async def _share(self, key: Key, scope: Scope, receive: Receive, reply: _Reply) -> None:
        """Ask, or wait for the one who asks. When that one is cancelled, the first to notice asks instead."""
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.answer is not None:
                self.shared += 1
                await reply.give(flight.answer, self._now_s() - flight.answer.asked_s)
                return
            if flight.alone:
                await self._ask(scope, receive, reply, b"no-cache")
                return
            if (kept := self._fresh(key)) is not None:  # whoever asked instead has it already
                await reply.give(kept, self._now_s() - kept.asked_s)
                return
        flight = self._flights[key] = _Flight()
        try:
            flight.answer = await self._answer(scope, receive, reply, self._max_age, flight)
            if flight.answer is not None and flight.answer.status == 200:
                self._keep(key, flight.answer)
        except Exception:
            flight.alone = True  # who waited finds out for itself, all of them at once
            raise
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.landed.set()
        if flight.answer is not None:
            await reply.give(flight.answer, None)

    async def _ask(self, scope: Scope, receive: Receive, reply: _Reply, cache_control: bytes) -> None:
        """Answer from the application, and nobody else with it."""
        answer = await self._answer(scope, receive, reply, cache_control, None)
        if answer is not None:
            await reply.give(answer, None)

    async def _answer(
        self, scope: Scope, receive: Receive, reply: _Reply, cache_control: bytes, flight: _Flight | None
    ) -> _Answer | None:
        """What the application answers; None when it was sent on already, or is not whole. Asked as for the first
        time: its condition, a range or the method HEAD is this request's alone."""
        self.misses += 1
        asked_s = self._now_s()
        headers = [header for header in scope["headers"] if header[0] not in _ONLY_ITS_OWN]
        inner = {**scope, "method": "GET", "headers": headers}
        held = _Held(reply, self._answer_size_bytes_max, flight)
        await self._app(inner, receive, held)
        noted = {name: inner[name] for name in _NOTED if name in inner}
        scope.update(noted)
        if not held.whole:
            return None
        return _Answer(held, asked_s, cache_control, noted)

    def _keep(self, key: Key, answer: _Answer) -> None:
        """Keep it, and drop what was used longest ago: all of it that is not fresh, and more while there is no room."""
        answer.size_bytes = ENTRY_SIZE_BYTES + len(answer.body) + sum(map(len, key))
        if answer.size_bytes > self._answer_size_bytes_max:
            return
        before = self._kept.pop(key, None)
        if before is not None:
            self.size_bytes -= before.size_bytes
        self._kept[key] = answer
        self.size_bytes += answer.size_bytes
        old_s = self._now_s() - self._fresh_s
        while self._kept:
            oldest = next(iter(self._kept.values()))
            full = len(self._kept) > self._entries_max or self.size_bytes > self._size_bytes_max
            if not full and oldest.asked_s > old_s:
                return
            self._kept.popitem(last=False)
            self.size_bytes -= oldest.size_bytes


class _Flight:
    """One question under way. When it has `landed` there is an answer for all who waited; or none, and the next one
    asks; or none that can be shared, and each asks `alone`."""

    def __init__(self) -> None:
        self.landed = asyncio.Event()
        self.answer: _Answer | None = None
        self.alone = False


class _Answer:
    """A whole answer, with the headers we give it."""

    def __init__(self, held: _Held, asked_s: float, cache_control: bytes, noted: dict[str, Any]) -> None:
        self.asked_s, self.noted = asked_s, noted
        self.status = held.status
        self.body = b"".join(held.parts)
        self.size_bytes = 0
        headers = [header for header in held.headers if header[0] not in _OURS]
        headers.append((b"content-length", b"%d" % len(self.body)))
        if self.status == 200:
            self.etag = b'"%b"' % xxh3_128_hexdigest(self.body).encode()
            self.unchanged: Headers = [(b"etag", self.etag), (b"cache-control", cache_control), _VARY]
            self.headers = [*headers, *self.unchanged]
        else:
            self.etag, self.unchanged = b"", []
            self.headers = [*headers, (b"cache-control", b"no-store"), _VARY]


class _Reply:
    """Where one request's answer goes: with or without its body, or 304 when the client has it."""

    def __init__(self, scope: Scope, send: Send, wanted: bytes | None) -> None:
        self._scope, self.send, self._wanted = scope, send, wanted

    async def give(self, answer: _Answer, age_s: float | None) -> None:
        """Send it. `age_s` None: it was made for this request."""
        scope, status, headers, body = self._scope, answer.status, answer.headers, answer.body
        scope.update(answer.noted)
        if self._wanted is not None and answer.etag and _matches(self._wanted, answer.etag):
            status, headers, body = 304, answer.unchanged, b""
        elif scope["method"] == "HEAD":
            body = b""
        age = [] if age_s is None else [(b"age", b"%d" % math.ceil(age_s))]
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *age]})
        await self.send({"type": "http.response.body", "body": body})


class _Held:
    """Takes an answer from the application and holds it until it is whole, or too large: from then on it goes to the
    client as it comes, and nobody waits for it any more."""

    def __init__(self, reply: _Reply, size_bytes_max: int, flight: _Flight | None) -> None:
        self._reply, self._size_bytes_max, self._flight = reply, size_bytes_max, flight
        self._size_bytes, self._passing = 0, False
        self.status, self.whole = 0, False
        self.headers: Headers = []
        self.parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if self._passing:
            await self._reply.send(message)
        elif message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        else:
            self.parts.append(message.get("body", b""))
            self._size_bytes += len(self.parts[-1])
            self.whole = not message.get("more_body", False)
            if not self.whole and self._size_bytes > self._size_bytes_max:
                await self._pass()

    async def _pass(self) -> None:
        self._passing = True
        if self._flight is not None:
            self._flight.alone = True
            self._flight.landed.set()
        headers = [*self.headers, (b"cache-control", b"no-cache"), _VARY]
        await self._reply.send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._reply.send({"type": "http.response.body", "body": b"".join(self.parts), "more_body": True})
        self.parts.clear()


_READS = ("/v1/boards/", "/v1/users/", "/v1/objects/", "/v1/tallies/")
_VARY = (b"vary", b"accrue-tenant")
_OURS = frozenset((b"content-length", b"etag", b"cache-control", b"age", b"date"))
_ONLY_ITS_OWN = frozenset(
    (b"if-none-match", b"if-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range")
)
_NOTED = ("path_template", "path_params")

_ANEW = re.compile(rb"(?:^|&)(?:after(?:[=&]|$)|[^=&]*%)")
"""A query with the parameter `after`, or with a name that may be that once it is decoded."""

_TAG = re.compile(rb'"[^"]*"')


def _is_read(scope: Scope) -> bool:
    path: str = scope["path"]
    root = scope.get("root_path")
    if root and path.startswith(root):
        path = path[len(root) :]
    return path.startswith(_READS)


def _matches(wanted: bytes, etag: bytes) -> bool:
    """RFC 9110, 13.1.2: any of a list, compared weakly, or `*` for whatever there is."""
    return wanted == etag or wanted.strip() == b"*" or etag in _TAG.findall(wanted)
