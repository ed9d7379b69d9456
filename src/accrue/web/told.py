"""The other side of asking.py: what a worker tells other processes of the records it has applied.

It stands in front of the application of every process, because any of them may come to work on a partition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from accrue.errors import AccrueError, NotFound, Rejected
from accrue.web.address import query_of
from accrue.web.body import App, Receive, Scope, Send
from accrue.web.problems import Answer, WrongMethod, answer_of

PATH = "/node/outcomes"
PARAMETERS = ("partition", "position")
DIGITS_MAX = 18

HERE_S_MAX = 2.0
"""How long a question waits here for its record to be applied; after that it has to be asked again."""

Outcomes = Callable[[int, int], Awaitable[bytes | None]]
"""What became of the events of a record, by (partition, position), waited for up to `HERE_S_MAX`; None when it is no
longer remembered. Raises `Unavailable` while it is not applied, and when the partition is not worked on here."""


class Told:
    """Answers questions about outcomes, and gives everything else to `app`."""

    def __init__(self, app: App, outcomes: Outcomes) -> None:
        self._app, self._outcomes = app, outcomes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        try:
            status, headers, body = await self._answer(scope)
        except AccrueError as error:
            status, headers, body = answer_of(error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> Answer:
        if scope["method"] != "GET":
            raise WrongMethod(f"{scope['method'][:20]} is not possible here; GET is.", allowed="GET")
        parameters = query_of(scope["query_string"], PARAMETERS)
        found = await self._outcomes(*(_number(parameters.get(name, ""), name) for name in PARAMETERS))
        if found is None:
            raise NotFound("What became of that record is no longer remembered.", field="position")
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(found))]
        return 200, headers, found


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise Rejected(f"{name} is a number.", field=name)
    return int(text)
