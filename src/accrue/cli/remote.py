"""Asking a running server over HTTP, with nothing but the standard library: what `--url` does.

A server's problem document becomes the error it was made from, as far as the command line tells errors apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

import msgspec
from msgspec import Struct

from accrue.core.program import Problem, ProgramError
from accrue.core.ranking import Style
from accrue.errors import Misconfigured, NotFound, Rejected, Unavailable
from accrue.ingest.accept import FailedAct
from accrue.ingest.failed import FailedEvents, FailedOutcomes
from accrue.serve.answers import Badge, BoardPage, Profile, Tally
from accrue.serve.kept import Conflict, ConflictPage, FailedEvent, FailedPage, Programs, ProgramVersion

TIMEOUT_S = 60.0
TENANT_HEADER = "Accrue-Tenant"
NOTHING: Mapping[str, str | None] = {}

Answer = TypeVar("Answer")


class _Problem(Struct):
    detail: str = ""
    title: str = ""
    problems: list[Problem] = []


class _Changed(Struct):
    changed: bool


class Remote:
    """One tenant of a server. Calls block, since a command has nothing else to do; `url` is without a path."""

    def __init__(self, url: str, tenant: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise Misconfigured(f"--url is the address of a server, such as http://127.0.0.1:8080, not {url!r}.")
        self._url = url.rstrip("/")
        self._tenant = tenant

    async def board(self, name: str, *, period: str, at: str | None, limit: int, style: Style) -> BoardPage:
        """A page of a board."""
        return self._get(BoardPage, ["boards", name], period=period, at=at, limit=str(limit), style=style)

    async def user(self, id: str, *, at: str | None) -> Profile:
        """All about a user."""
        return self._get(Profile, ["users", id], at=at)

    async def object(self, id: str, *, at: str | None) -> Profile:
        """All about an object."""
        return self._get(Profile, ["objects", id], at=at)

    async def tally(self, metric: str, subject: str, *, period: str, at: str | None) -> Tally:
        """One number."""
        return self._get(Tally, ["tallies", metric, subject], period=period, at=at)

    async def tallies(self, metric: str, *, period: str, at: str | None) -> list[Tally]:
        """What everybody has, in no order."""
        return self._get_lines(Tally, ["tallies", metric], period=period, at=at)

    async def awards(self) -> list[Badge]:
        """Every badge that is held."""
        return self._get_lines(Badge, ["awards"])

    async def failed(self, *, type: str, limit: int, cursor: str | None) -> FailedPage:
        """A page of failed events."""
        return self._get(FailedPage, ["failed"], type=type or None, limit=str(limit), cursor=cursor)

    async def failed_event(self, sequence: int) -> FailedEvent:
        """One failed event."""
        return self._get(FailedEvent, ["failed", str(sequence)])

    async def act(self, act: FailedAct, sequences: Sequence[int]) -> FailedOutcomes:
        """Replay or drop failed events."""
        body = msgspec.json.encode(FailedEvents(list(sequences)))
        return _read(FailedOutcomes, self._answer("POST", ["failed", act], body=body, media_type="application/json"))

    async def conflicts(self, *, limit: int, cursor: str | None) -> ConflictPage:
        """A page of conflicts."""
        return self._get(ConflictPage, ["conflicts"], limit=str(limit), cursor=cursor)

    async def conflict(self, sequence: int) -> Conflict:
        """One conflict, with both bodies."""
        return self._get(Conflict, ["conflicts", str(sequence)])

    async def programs(self) -> Programs:
        """Every version of the program."""
        return self._get(Programs, ["programs"])

    async def program(self, version: int) -> ProgramVersion:
        """One version, with its text."""
        return self._get(ProgramVersion, ["programs", str(version)])

    async def use_program(self, text: str) -> bool:
        """Put a program in force. False when it is already."""
        answer = self._answer("PUT", ["admin", "program"], body=text.encode(), media_type="application/toml")
        return _read(_Changed, answer).changed

    def _get(self, shape: type[Answer], path: list[str], **parameters: str | None) -> Answer:
        return _read(shape, self._answer("GET", path, parameters))

    def _get_lines(self, shape: type[Answer], path: list[str], **parameters: str | None) -> list[Answer]:
        return [_read(shape, line) for line in self._answer("GET", path, parameters).splitlines()]

    def _answer(
        self,
        method: str,
        path: list[str],
        parameters: Mapping[str, str | None] = NOTHING,
        *,
        body: bytes | None = None,
        media_type: str = "",
    ) -> bytes:
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        address = f"{self._url}/v1/{'/'.join(quote(part, safe='') for part in path)}"
        headers = {TENANT_HEADER: self._tenant, **({"Content-Type": media_type} if media_type else {})}
        request = Request(f"{address}?{query}" if query else address, method=method, data=body, headers=headers)
        try:
            with urlopen(request, timeout=TIMEOUT_S) as response:
                answer: bytes = response.read()
        except HTTPError as error:
            raise _refusal(error) from None
        except HTTPException as error:
            raise Unavailable(f"The answer of {self._url} broke off: {error!r}.") from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(f"No server answers at {self._url}: {reason}.") from error
        return answer


def _read(shape: type[Answer], body: bytes) -> Answer:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"What answers there is not a server of Accrue of this version: {error}.") from error


def _refusal(error: HTTPError) -> Exception:
    try:
        problem = msgspec.json.decode(error.read(), type=_Problem)
    except (msgspec.MsgspecError, OSError):
        problem = _Problem()
    detail = problem.detail or problem.title or f"The server answered {error.code} {error.reason}."
    if problem.problems:
        return ProgramError(problem.problems)
    if error.code == 404:
        return NotFound(detail)
    return Unavailable(detail) if error.code >= 500 else Rejected(detail)
