"""Counts requests where their answers leave a process that asks others: each once, with the status that the client got.

What stands behind may be asked several times for one request, or not at all (ladder.py, cached.py). A request that
another process handed on is counted there, where the client asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from accrue.web.address import sent_path
from accrue.web.body import App, Message, Receive, Scope, Send
from accrue.web.parameters import FORWARDED
from accrue.web.traffic import METHODS, NO_ROUTE, Request, Traffic


class Noting:
    """A `send` that notes the status of the answer: 500 as long as there is none."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class Counted:
    """Answers as `app` does. `templates` are the addresses there are, as `/v1/users/{id:str}`."""

    def __init__(self, app: App, traffic: Traffic, templates: Iterable[str]) -> None:
        self._app, self._requests = app, traffic.requests
        self._fixed: set[str] = set()
        self._routes: defaultdict[int, list[tuple[list[str | None], str]]] = defaultdict(list)  # by the number of parts
        for template in templates:
            route = template.replace(":str}", "}")
            parts = [None if part.startswith("{") else part for part in route.split("/")]
            if None in parts:
                self._routes[len(parts)].append((parts, route))
            else:
                self._fixed.add(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(name == FORWARDED for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        noting = Noting(send)
        try:
            await self._app(scope, receive, noting)
        finally:
            method = scope["method"]
            self._requests[Request(method if method in METHODS else "other", self._route(scope), noting.status)] += 1

    def _route(self, scope: Scope) -> str:
        path = sent_path(scope)
        if path in self._fixed:  # above all events
            return path
        sent = path.split("/")
        for parts, route in self._routes.get(len(sent), ()):
            if all(part in (None, word) for part, word in zip(parts, sent, strict=True)):
                return route
        return NO_ROUTE
