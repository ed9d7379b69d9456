"""Asking a running server over HTTP, with nothing but the standard library: for `accrue query --url`.

A server's problem document becomes the error it was made from, as far as the command line tells errors apart.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

import msgspec
from msgspec import Struct

from accrue.core.ranking import Style
from accrue.errors import Misconfigured, NotFound, Rejected, Unavailable
from accrue.serve.answers import BoardPage, Profile, Tally

TIMEOUT_S = 30.0
TENANT_HEADER = "Accrue-Tenant"

Answer = TypeVar("Answer")


class _Problem(Struct):
    detail: str = ""
    title: str = ""


class Remote:
    """The reads of one tenant that the HTTP API has. Calls wait; `url` is that of the server, without a path."""

    def __init__(self, url: str, tenant: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise Misconfigured(f"--url is the address of a server, such as http://127.0.0.1:8080, not {url!r}.")
        self._url = url.rstrip("/")
        self._tenant = tenant

    def board(self, name: str, *, period: str, at: str | None, limit: int, style: Style) -> BoardPage:
        """A page of a board."""
        parameters = {"period": period, "at": at, "limit": str(limit), "style": style}
        return self._get(BoardPage, ["boards", name], parameters)

    def user(self, id: str, *, at: str | None) -> Profile:
        """All about a user."""
        return self._get(Profile, ["users", id], {"at": at})

    def object(self, id: str, *, at: str | None) -> Profile:
        """All about an object."""
        return self._get(Profile, ["objects", id], {"at": at})

    def tally(self, metric: str, subject: str, *, period: str, at: str | None) -> Tally:
        """One number."""
        return self._get(Tally, ["tallies", metric, subject], {"period": period, "at": at})

    def _get(self, shape: type[Answer], path: list[str], parameters: dict[str, str | None]) -> Answer:
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        address = f"{self._url}/v1/{'/'.join(quote(part, safe='') for part in path)}"
        request = Request(f"{address}?{query}" if query else address, headers={TENANT_HEADER: self._tenant})
        try:
            with urlopen(request, timeout=TIMEOUT_S) as response:
                body = response.read()
        except HTTPError as error:
            raise _refusal(error) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(f"No server answers at {self._url}: {reason}.") from error
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            raise Misconfigured(f"What answers at {self._url} is not a server of Accrue: {error}.") from error


def _refusal(error: HTTPError) -> Exception:
    try:
        problem = msgspec.json.decode(error.read(), type=_Problem)
    except (msgspec.MsgspecError, OSError):
        problem = _Problem()
    detail = problem.detail or problem.title or f"The server answered {error.code} {error.reason}."
    if error.code == 404:
        return NotFound(detail)
    return Unavailable(detail) if error.code >= 500 else Rejected(detail)
